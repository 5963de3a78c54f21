"""What was made with a key is there for that key, and for administrators."""

import json
from typing import Any, Final

import pytest

from tests.support.keyed_server import KeyedServer
from tests.support.waiting import wait_until


@pytest.fixture(scope="session")
def owned(server: KeyedServer) -> dict[str, str]:
    """Things that belong to the key `mine`, by what they are."""
    server.secrets["mine"], server.secrets["theirs"] = server.make("mine"), server.make("theirs")
    with server.client(kind="mine") as client:
        made = {}
        body = {"model": "tiny", "input": "my secret question", "max_output_tokens": 2}
        made["response"] = client.post("/v1/responses", json=body).json()["id"]
        items = client.get(f"/v1/responses/{made['response']}/input_items").json()
        made["item"] = items["data"][0]["id"]
        message = {"role": "user", "content": "my secret question"}
        made["conversation"] = client.post("/v1/conversations", json={"items": [message]}).json()["id"]
        made["said"] = client.get(f"/v1/conversations/{made['conversation']}/items").json()["last_id"]
        background = client.post("/v1/responses", json=body | {"background": True, "stream": False}).json()
        made["background"] = background["id"]
        line: dict[str, Any] = {
            "custom_id": "a",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "tiny"},
        }
        line["body"] |= {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
        content = {"file": ("f.jsonl", json.dumps(line).encode())}
        made["file"] = client.post("/v1/files", files=content, data={"purpose": "batch"}).json()["id"]
        batch = {"input_file_id": made["file"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        made["batch"] = client.post("/v1/batches", json=batch).json()["id"]

        def batch_now() -> Any:
            return client.get(f"/v1/batches/{made['batch']}").json()

        wait_until(lambda: batch_now()["status"] in {"completed", "failed"}, "the batch has ended")
        final = batch_now()
        assert final["status"] == "completed", final
        made["output"] = final["output_file_id"]
    return made


PLACES: Final = [
    ("GET", "/v1/responses/{response}"),
    ("GET", "/v1/responses/{response}/input_items"),
    ("GET", "/v1/responses/{background}"),
    ("POST", "/v1/responses/{background}/cancel"),
    ("GET", "/v1/files/{file}"),
    ("GET", "/v1/files/{file}/content"),
    ("GET", "/v1/files/{output}/content"),
    ("GET", "/v1/batches/{batch}"),
    ("POST", "/v1/batches/{batch}/cancel"),
    ("GET", "/v1/mlxr/batches/{batch}/ends"),
    ("GET", "/v1/conversations/{conversation}"),
    ("GET", "/v1/conversations/{conversation}/items"),
    ("GET", "/v1/conversations/{conversation}/items/{said}"),
    ("GET", "/v1/mlxr/conversations/{conversation}"),
    ("GET", "/v1/mlxr/conversations/{conversation}/export"),
    ("DELETE", "/v1/conversations/{conversation}/items/{said}"),
    ("DELETE", "/v1/conversations/{conversation}"),
    ("DELETE", "/v1/responses/{response}"),
    ("DELETE", "/v1/files/{file}"),
]


@pytest.mark.parametrize(("method", "place"), PLACES)
@pytest.mark.parametrize("kind", ["theirs", "models"])
def test_what_belongs_to_another_key_is_not_there(
    server: KeyedServer, owned: dict[str, str], method: str, place: str, kind: str
) -> None:
    with server.client(kind=kind) as client:
        refused = client.request(method, place.format_map(owned))
        missing = client.request(method, place.format_map({name: f"{value[:-4]}0000" for name, value in owned.items()}))
    assert refused.status_code == missing.status_code == 404
    assert "secret question" not in refused.text


@pytest.mark.parametrize("kind", ["mine", "admin"])
@pytest.mark.parametrize("place", [place for method, place in PLACES if method == "GET"])
def test_it_is_there_for_its_key_and_for_administrators(
    server: KeyedServer, owned: dict[str, str], place: str, kind: str
) -> None:
    with server.client(kind=kind) as client:
        assert client.get(place.format_map(owned)).status_code == 200


def test_lists_have_what_belongs_to_the_key(server: KeyedServer, owned: dict[str, str]) -> None:
    for kind, has in (("mine", True), ("theirs", False), ("admin", True)):
        with server.client(kind=kind) as client:
            files = {file["id"] for file in client.get("/v1/files").json()["data"]}
            batches = {batch["id"] for batch in client.get("/v1/batches").json()["data"]}
            lists = ("", "?q=secret", "/export")
            talks = [client.get(f"/v1/mlxr/conversations{query}").text for query in lists]
        assert ({owned["file"], owned["output"]} <= files) is has
        assert (owned["batch"] in batches) is has
        assert [owned["conversation"] in text for text in talks] == [has] * len(lists)


def test_nobody_goes_on_from_what_is_anothers(server: KeyedServer, owned: dict[str, str]) -> None:
    with server.client(kind="theirs") as client:
        body = {"model": "tiny", "input": "go on", "max_output_tokens": 2}
        refused = client.post("/v1/responses", json=body | {"previous_response_id": owned["response"]})
        assert refused.json()["error"]["code"] == "previous_response_not_found"
        refused = client.post("/v1/responses", json=body | {"conversation": owned["conversation"]})
        assert refused.json()["error"]["code"] == "conversation_not_found"
        reference = [{"type": "item_reference", "id": owned["item"]}]
        assert client.post("/v1/responses", json=body | {"input": reference}).status_code == 400
        batch = {"input_file_id": owned["file"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
        assert client.post("/v1/batches", json=batch).status_code == 404
    with server.client(kind="mine") as client:
        assert client.post("/v1/responses", json=body | {"previous_response_id": owned["response"]}).status_code == 200
