"""Keys that are made, listed and ended over HTTP, and what a key is told of itself."""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.gateway_process import GatewayProcess, run_cli
from tests.support.keyed_server import KeyedServer

KEYS: Final = "/v1/mlxr/keys"
ASKED: Final = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}


def test_a_key_is_made_shown_once_used_listed_and_revoked(server: KeyedServer) -> None:
    wishes = {
        "name": "page",
        "models": ["tin*"],
        "expires": "30d",
        "priority": "background",
        "requests_per_minute": 5,
        "tokens_per_minute": 1000,
    }
    with server.client(kind="admin") as admin, server.client() as client:
        answer = admin.post(KEYS, json=wishes)
        made = answer.json()
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        assert (made["name"], made["scope"], made["models"], made["is_first"]) == ("page", "inference", ["tin*"], False)
        assert made["secret"].startswith(made["prefix"])
        client.headers["Authorization"] = f"Bearer {made['secret']}"
        used = client.post("/v1/chat/completions", json=ASKED).json()["usage"]
        own = client.get(f"{KEYS}/me").json()
        assert (own["id"], own["name"], own["scope"], own["models"]) == (made["id"], "page", "inference", ["tin*"])
        assert (own["priority"], own["expires_at"]) == ("background", made["expires_at"])
        left = {each["what"]: (each["limit"], each["remaining"]) for each in own["limits"]}
        assert left["requests"] == (5, 4)
        assert 1000 - used["total_tokens"] <= left["tokens"][1] < 1000
        (day,) = own["usage"]
        assert (day["key_id"], day["num_requests"]) == (made["id"], 1)
        assert (day["num_prompt_tokens"], day["num_answer_tokens"]) == (
            used["prompt_tokens"],
            used["completion_tokens"],
        )
        assert day in admin.get(f"{KEYS}/usage", params={"days": 1}).json()["usage"]
        listed = {key["name"]: key for key in admin.get(KEYS).json()["keys"]}
        assert (listed["page"]["state"], listed["revoked"]["state"], listed["expired"]["state"]) == (
            *("good", "revoked", "expired"),
        )
        assert listed["page"]["last_used_at"] == day["last_used_at"]
        told = json.loads(run_cli(server.home, "keys", "list", "--json").stdout)
        assert {key["name"]: key for key in told} == listed
        assert made["secret"] not in json.dumps(listed)
        assert admin.delete(f"{KEYS}/page").json()["revoked_at"] is not None
        assert client.get(f"{KEYS}/me").status_code == 401
        assert admin.delete(f"{KEYS}/nobody").status_code == 404


@pytest.mark.parametrize(
    ("wishes", "status", "word"),
    [
        ({}, 400, "name"),
        ({"name": "a b"}, 400, "cannot be a key's name"),
        ({"name": "x", "scope": "public"}, 400, "scope"),
        ({"name": "x", "scope": "admin", "models": ["a"]}, 400, "may everything"),
        ({"name": "x", "expires": "soon"}, 400, "expires"),
        ({"name": "x", "requests_per_minute": 0}, 400, "requests_per_minute"),
        ({"name": "x", "models": []}, 400, "models"),
        ({"name": "x", "rate": 60}, 400, "'rate' is not known"),
        ({"name": "admin"}, 409, "already"),
    ],
)
def test_what_cannot_be_made_is_refused_by_its_field(
    server: KeyedServer, wishes: dict[str, Any], status: int, word: str
) -> None:
    with server.client(kind="admin") as admin:
        refused = admin.post(KEYS, json=wishes)
        assert refused.status_code == status, refused.text
        assert word in refused.text
        assert admin.get(f"{KEYS}/usage", params={"days": 0}).status_code == 400


def test_every_key_knows_itself_and_only_administrators_the_others(server: KeyedServer) -> None:
    for kind in ("metrics", "inference", "models", "admin"):
        with server.client(kind=kind) as client:
            assert client.get(f"{KEYS}/me").json()["name"] == kind
            for path in (KEYS, f"{KEYS}/usage"):
                assert client.get(path).status_code == (200 if kind == "admin" else 403)


def test_a_page_of_another_origin_makes_no_keys(server: KeyedServer) -> None:
    headers = {"Origin": "https://evil.example"}
    with server.client(kind="admin") as admin:
        for method, path in (("POST", KEYS), ("DELETE", f"{KEYS}/inference"), ("GET", KEYS)):
            assert admin.request(method, path, json={"name": "evil"}, headers=headers).status_code == 403
        assert "evil" not in {key["name"] for key in admin.get(KEYS).json()["keys"]}


@pytest.mark.slow
def test_the_first_key_closes_the_server_and_what_was_used_outlives_it(tmp_path: Path, tiny_gguf: Path) -> None:
    home = tmp_path / "home"
    run_cli(home, "models", "add", str(tiny_gguf), "--name", "tiny")
    gateway = GatewayProcess(home, fake_options={"answer_tokens": 4})
    with gateway.client() as client:
        anybody = client.get(f"{KEYS}/me").json()
        assert (anybody["id"], anybody["name"], anybody["scope"], anybody["limits"]) == (None, "owner", "admin", [])
        made = client.post(KEYS, json={"name": "first", "scope": "admin", "requests_per_minute": 2}).json()
        assert made["is_first"]
        assert client.get(f"{KEYS}/me").status_code == 401
        client.headers["x-api-key"] = made["secret"]
        assert client.post("/v1/chat/completions", json=ASKED).status_code == 200
    assert gateway.stop() == 0
    gateway = GatewayProcess(home, fake_options={"answer_tokens": 4})
    with gateway.client() as client:
        client.headers["x-api-key"] = made["secret"]
        own = client.get(f"{KEYS}/me").json()
    assert gateway.stop() == 0
    assert [day["num_requests"] for day in own["usage"]] == [1], "what was used stays"
    assert own["limits"][0]["remaining"] == 2, "a minute's limit is full at the start"
