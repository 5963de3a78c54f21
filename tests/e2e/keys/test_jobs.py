"""Pulls, conversions and benchmarks are there for the keys that asked for them, and for administrators."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.support.gateway_process import sse_events
from tests.support.keyed_server import KeyedServer
from tests.support.stub_hub import StubHub
from tests.support.tiny_model import write_gguf
from tests.support.waiting import wait_until

pytestmark = pytest.mark.slow

REPO: Final = "tester/Tiny-GGUF"
PULL: Final = "/v1/mlxr/models/pull"
PULLS: Final = "/v1/mlxr/models/pulls"
EVENTS: Final = "/v1/mlxr/events"
HELD: Final = 100_000
"""Bytes of a file that come before it stands still."""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[StubHub]:
    gguf = write_gguf(tmp_path / "tiny-F32.gguf").read_bytes()
    with StubHub({REPO: {"tiny-F32.gguf": gguf}}) as hub:
        yield hub


@pytest.fixture
def pulling(tmp_path: Path, tiny_gguf: Path, hub: StubHub) -> Iterator[KeyedServer]:
    server = KeyedServer(tmp_path / "home", tiny_gguf, config={"hub": {"endpoint": hub.url}})
    for name in ("mine", "theirs"):
        server.key(name, "--scope", "models")
    yield server
    assert server.gateway.stop() == 0


class Stream:
    """Events of a stream, read one by one."""

    def __init__(self, response: httpx.Response) -> None:
        self._lines = response.iter_lines()
        self.last_id = ""

    def next(self) -> dict[str, Any]:
        for line in self._lines:
            if line.startswith("id: "):
                self.last_id = line.removeprefix("id: ")
            if line.startswith("data: "):
                found: dict[str, Any] = json.loads(line.removeprefix("data: "))
                return found
        raise AssertionError("the stream has ended")

    def until(self, **fields: Any) -> list[dict[str, Any]]:
        found = [self.next()]
        while any(found[-1].get(name) != value for name, value in fields.items()):
            found.append(self.next())
        return found


@contextlib.contextmanager
def events(server: KeyedServer, kind: str, last_id: str | None = None) -> Iterator[Stream]:
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    with server.client(kind=kind) as client, client.stream("GET", EVENTS, headers=headers) as response:
        assert response.status_code == 200
        yield Stream(response)


def begin(client: httpx.Client) -> int:
    """Ask for the pull, and leave it when it says its number."""
    with client.stream("POST", PULL, json={"reference": REPO}) as response:
        number: int = json.loads(next(sse_events(response.iter_lines())))["id"]
    return number


def states(client: httpx.Client) -> list[str]:
    return [pull["state"] for pull in client.get(PULLS).json()["pulls"]]


def test_a_pull_is_there_for_those_who_asked_for_it(pulling: KeyedServer, hub: StubHub) -> None:
    hub.held_after = HELD
    clients = {kind: pulling.client(kind=kind) for kind in ("mine", "theirs", "admin")}
    mine, theirs, admin = clients.values()
    number = begin(mine)
    wait_until(lambda: states(mine) == ["running"], "the pull runs")
    assert (states(theirs), states(admin)) == ([], ["running"])
    for act in ("pause", "resume", "cancel"):
        refused, missing = (theirs.post(f"{PULLS}/{one}/{act}", json={}) for one in (number, number + 1))
        assert refused.status_code == missing.status_code == 404
        assert refused.text.replace(str(number), "N") == missing.text.replace(str(number + 1), "N")
    assert begin(theirs) == number, "they share it"
    assert states(theirs) == ["running"]
    assert mine.post(f"{PULLS}/{number}/pause", json={}).status_code == 409
    assert mine.post(f"{PULLS}/{number}/cancel", json={}).json()["state"] == "cancelled"
    assert (states(mine), states(theirs)) == ([], ["running"])
    pulling.gateway.stop()
    pulling.start()
    for client in clients.values():
        client.base_url = pulling.gateway.url
    wait_until(lambda: states(theirs) == ["running"], "the pull goes on")
    assert (states(mine), states(admin)) == ([], ["running"])
    hub.held_after = None
    wait_until(lambda: states(theirs) == ["done"], "the pull has ended")
    for client in clients.values():
        client.close()


def test_events_of_a_pull_are_told_to_those_who_asked_for_it_and_told_them_again(
    pulling: KeyedServer, hub: StubHub
) -> None:
    hub.held_after = HELD
    with (
        events(pulling, "mine") as mine,
        events(pulling, "theirs") as theirs,
        events(pulling, "admin") as admin,
        pulling.client(kind="mine") as me,
        pulling.client(kind="theirs") as them,
    ):
        first = {stream: (stream.next(), stream.last_id) for stream in (mine, theirs, admin)}
        number = begin(me)
        assert mine.until(type="job", id=str(number))[-1]["state"] == "running"
        with events(pulling, "theirs") as late:
            assert late.next()["jobs"] == []
        assert begin(them) == number
        assert [each["type"] for each in theirs.until(type="job")] == ["job"]
        with events(pulling, "theirs") as late:
            assert [job["id"] for job in late.next()["jobs"]] == [str(number)]
        me.post(f"{PULLS}/{number}/cancel", json={})
        left = mine.until(state="stopped")
        hub.held_after = None
        ended = theirs.until(state="done")
        whole = admin.until(state="done")
    assert len([each for each in whole if each.get("state") == "stopped"]) == 1
    with events(pulling, "mine", first[mine][1]) as again:
        assert again.until(state="stopped")[-1] == left[-1]
    with events(pulling, "theirs", first[theirs][1]) as again:
        assert again.until(state="done")[-1] == ended[-1]


def test_a_benchmark_is_there_for_the_key_that_asked_for_it(pulling: KeyedServer) -> None:
    body = {"model": "tiny", "contestants": ["llamacpp"], "scenarios": ["short-chat"], "repeats": 1, "minutes": 1}
    clients = {kind: pulling.client(kind=kind) for kind in ("mine", "theirs", "admin")}
    mine, theirs, _ = clients.values()
    with mine.stream("POST", "/v1/mlxr/bench", json=body) as response:
        lines = sse_events(response.iter_lines())
        told = [json.loads(next(lines))]
        bench_id = told[0]["bench_id"]
        assert theirs.post("/v1/mlxr/bench/stop", json={}).status_code == 404
        assert theirs.get("/v1/mlxr/bench").json()["running"] is None
        assert mine.get("/v1/mlxr/bench").json()["running"] in {bench_id, None}, "it may have ended"
        told += [json.loads(line) for line in lines]
    assert told[-1]["type"] == "done"
    assert [head["bench_id"] for head in mine.get("/v1/mlxr/bench").json()["benches"]] == [bench_id]
    assert theirs.get("/v1/mlxr/bench").json()["benches"] == []
    statuses = {kind: client.get(f"/v1/mlxr/bench/{bench_id}").status_code for kind, client in clients.items()}
    assert statuses == {"mine": 200, "theirs": 404, "admin": 200}
    assert theirs.get(f"/v1/mlxr/bench/{bench_id[:4]}").status_code == 404
    for client in clients.values():
        client.close()
