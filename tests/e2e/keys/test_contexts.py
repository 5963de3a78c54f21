"""Two keys with equal conversations that fill their context: what is told of them is each key's own."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.support.gateway_process import run_cli
from tests.support.keyed_server import KeyedServer
from tests.support.waiting import wait_until

LIMIT: Final = 4000
ALL: Final = "/v1/mlxr/contexts"
SECRET: Final = "the code of door 7 is 4711"
TALK: Final = [
    {"role": role, "content": f"{SECRET}. Then came chapter {number}. " + "It was long. " * 20}
    for number in range(10)
    for role in ("user", "assistant")
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, tiny_gguf: Path) -> Iterator[KeyedServer]:
    answers = (("Summarize", f"Facts: {SECRET}"), ("", "I see."))
    server = KeyedServer(
        tmp_path_factory.mktemp("contexts") / "home",
        tiny_gguf,
        config={"context": {"mode": "wind"}, "generation": {"context_length": LIMIT}},
        fake_options={"context_length": LIMIT, "answers": answers, "answer_tokens": None},
    )
    for name in ("anne", "bert", "chief"):
        server.key(name, "--scope", "admin" if name == "chief" else "models")
    yield server
    assert server.gateway.stop() == 0


@pytest.fixture(autouse=True)
def nothing_told(server: KeyedServer) -> None:
    """Begin without what another test had told, whichever came before."""
    with server.client(kind="chief") as client:
        assert client.delete(ALL).status_code == 200


def ask(server: KeyedServer, kind: str, *, num: int = 20, path: str = "/v1/chat/completions", **body: Any) -> Any:
    """Send the beginning of the talk and a question; return what is told of the context."""
    messages = [*TALK[:num], {"role": "user", "content": "And then?"}]
    said = {"input": messages} if path == "/v1/responses" else {"messages": messages, "max_tokens": 40}
    with server.client(kind=kind) as client:
        answer = client.post(path, json={"model": "tiny", **said, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()["timings"]["context"]


def ids(server: KeyedServer, kind: str) -> set[str]:
    with server.client(kind=kind) as client:
        return {each["id"] for each in client.get(ALL, params={"limit": 200}).json()["contexts"]}


def files_of(server: KeyedServer) -> bytes:
    return b"".join(each.read_bytes() for each in (server.home / "data").glob("contexts.sqlite3*"))


def test_equal_beginnings_of_two_keys_are_told_apart(server: KeyedServer) -> None:
    first = {kind: ask(server, kind) for kind in ("anne", "bert", "chief")}
    assert len({each["id"] for each in first.values()}) == 3
    assert all(each["wound"]["ms"] > 0 for each in first.values()), "each key's was told anew"
    assert all(each["wound"]["by"] == "tiny" for each in first.values())
    again = {kind: ask(server, kind) for kind in first}
    assert all(again[kind]["id"] == first[kind]["id"] and not again[kind]["wound"]["ms"] for kind in first)
    assert (ids(server, "anne"), ids(server, "bert")) == ({first["anne"]["id"]}, {first["bert"]["id"]})
    assert ids(server, "chief") == {each["id"] for each in first.values()}, "an administrator may look"


def test_what_was_told_of_another_keys_conversation_is_not_there(server: KeyedServer) -> None:
    own = ask(server, "anne")["id"]
    with server.client(kind="bert") as bert, server.client(kind="anne") as anne:
        for refused in (bert.get(f"{ALL}/{own}"), bert.delete(f"{ALL}/{own}"), bert.get(ALL, params={"after": own})):
            assert (refused.status_code, refused.json()["error"]["code"]) == (404, "context_not_found")
            assert SECRET not in refused.text
        shown = anne.get(f"{ALL}/{own}").json()
        assert shown["narrative"] == f"Facts: {SECRET}"
        assert any(shown["narrative"] in message["content"] for message in shown["messages"])
        bert.delete(ALL)
        assert ids(server, "bert") == set()
        assert anne.get(f"{ALL}/{own}").status_code == 200
    assert ask(server, "bert")["wound"]["ms"] > 0, "its own was deleted, and nobody else's is found"


def test_what_was_deleted_is_in_no_byte_and_is_told_anew(server: KeyedServer) -> None:
    for kind in ("anne", "bert"):
        ask(server, kind)
    assert SECRET.encode() in files_of(server)
    run = run_cli(server.home, "conversations", "rm", "--all", "--yes", "--json")
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["num_contexts"] >= 2
    wait_until(lambda: SECRET.encode() not in files_of(server), "nothing of it is left")
    assert ask(server, "anne")["wound"]["ms"] > 0


def test_what_is_not_stored_is_told_once_and_is_in_no_file(server: KeyedServer) -> None:
    wait_until(lambda: SECRET.encode() not in files_of(server), "nothing of it is left")
    first = ask(server, "bert", path="/v1/responses", store=False)
    again = ask(server, "bert", path="/v1/responses", store=False)
    assert first["wound"]["ms"] > 0
    assert (again["id"], again["wound"]["ms"]) == (first["id"], 0)
    assert SECRET.encode() not in files_of(server)
    with server.client(kind="bert") as client:
        assert client.get(f"{ALL}/{first['id']}").json()["is_stored"] is False


def test_the_command_line_shows_what_the_model_sees_and_deletes_it(server: KeyedServer) -> None:
    own = ask(server, "anne")["id"]
    assert own in run_cli(server.home, "context").stdout
    shown = run_cli(server.home, "context", own).stdout
    assert f"Facts: {SECRET}" in shown
    assert "tiny in" in shown
    assert run_cli(server.home, "conversations", "rm", own).stdout == "1 conversation deleted.\n"
    gone = run_cli(server.home, "context", own)
    assert (gone.returncode, gone.stderr) == (1, f"mlxr: Context with id '{own}' not found.\n")


def test_winds_are_told_to_their_own_key(server: KeyedServer) -> None:
    with server.client(kind="bert") as bert, bert.stream("GET", "/v1/mlxr/events") as stream:
        lines = stream.iter_lines()
        assert any(line == "event: snapshot" for line in lines)
        ask(server, "anne")
        own = ask(server, "bert")["id"]
        told = next(json.loads(line.removeprefix("data: ")) for line in lines if '"context_wound"' in line)
    assert told["context"] == own
