import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from router.cli.client.base import Client
from router.cli.client.errors import ClientError, ServerAnswerError, ServerUnreachableError
from router.config.instance import RunningInstance, read_instance
from router.config.paths import Paths
from router.protocols.openai.answer_schemas import ChatChunk
from router.status import StopResponse
from tests.router.cli.stub_gateway import TIMINGS, StubGateway, chunk, running_stub, unused_port, worker
from tests.support.waiting import WITHIN_S

BODY: dict[str, Any] = {"model": "m", "messages": []}
DONE = "data: [DONE]\n\n"


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    return Paths.under(tmp_path)


@pytest.fixture
def stub(paths: Paths) -> Iterator[StubGateway]:
    with running_stub(paths) as gateway:
        yield gateway


@pytest.fixture
def client(stub: StubGateway, paths: Paths) -> Iterator[Client]:
    del stub
    instance = read_instance(paths)
    assert instance is not None
    with Client(instance) as client:
        yield client


def test_status_is_read_and_unknown_fields_are_ignored(stub: StubGateway, client: Client) -> None:
    stub.status["workers"] = [worker("m", state="generating", further=1)]
    status = client.status()
    assert status.engine_setting == "auto"
    assert (status.workers[0].model, status.workers[0].state) == ("m", "generating")
    assert client.get("/v1/mlxr/status", dict[str, Any]) == stub.status


def test_stopping_a_model(stub: StubGateway, client: Client) -> None:
    answer = {"stopped": True, "freed_bytes": 5, "unload_ms": 1.5}
    stub.answers["/v1/mlxr/models/stop"] = (200, json.dumps(answer))
    assert client.stop_model("m") == StopResponse(stopped=True, freed_bytes=5, unload_ms=1.5)
    assert stub.requests[-1][:2] == ("/v1/mlxr/models/stop", {"model": "m"})


def test_a_stream_gives_text_reasoning_reason_and_timings(stub: StubGateway, client: Client) -> None:
    stub.events = [
        ": keep-alive\n\n",
        *(told := [chunk("a"), chunk(reasoning="r"), chunk(reason="stop", timings=TIMINGS)]),
        DONE,
    ]
    assert list(client.stream_chat(BODY, engine="mlx")) == told
    _, body, headers = stub.requests[-1]
    assert body == BODY | {"stream": True}
    assert {key.lower(): value for key, value in headers.items()}["x-mlxr-engine"] == "mlx"


def test_an_error_in_mid_stream_is_raised_after_the_text(stub: StubGateway, client: Client) -> None:
    error = {"error": {"message": "The engine died.", "type": "server_error", "code": "engine_crashed"}}
    stub.events = [chunk("a"), f"data: {json.dumps(error)}\n\n"]
    stream = client.stream_chat(BODY)
    assert next(stream).choices[0].delta.content == "a"
    with pytest.raises(ServerAnswerError, match="The engine died") as caught:
        next(stream)
    assert caught.value.code == "engine_crashed"


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ([], "ended before"),
        ([chunk("a")], "ended before"),
        (["data: {nonsense\n\n"], "not JSON"),
        (["data: {}\n\n"], "does not understand"),
    ],
)
def test_a_stream_without_its_end_is_an_error(
    stub: StubGateway, client: Client, events: list[ChatChunk | str], message: str
) -> None:
    stub.events = events
    with pytest.raises(ServerAnswerError, match=message):
        list(client.stream_chat(BODY))


def test_closing_the_stream_hangs_up(stub: StubGateway, client: Client) -> None:
    stub.is_endless = True
    stream = client.stream_chat(BODY)
    assert next(stream).choices[0].delta.content == "more "
    stream.close()
    assert stub.was_hung_up.wait(WITHIN_S)


@pytest.mark.parametrize(
    ("status", "text", "message", "code"),
    [
        (404, '{"error": {"message": "No model x.", "code": "model_not_found"}}', "No model x.", "model_not_found"),
        (500, "oops", "status 500 and no explanation", "unexpected_answer"),
        (500, '{"error": "text"}', "status 500 and no explanation", "unexpected_answer"),
        (429, '{"error": {"message": "Full.", "code": 3}}', "Full.", "unexpected_answer"),
    ],
)
def test_the_error_envelope_becomes_one_sentence(
    *, stub: StubGateway, client: Client, status: int, text: str, message: str, code: str
) -> None:
    stub.answers["/v1/mlxr/status"] = stub.answers["/v1/chat/completions"] = (status, text)
    for call in (client.status, lambda: list(client.stream_chat(BODY))):
        with pytest.raises(ServerAnswerError, match=message) as caught:
            call()
        assert (caught.value.status, caught.value.code) == (status, code)


@pytest.mark.parametrize("text", ["", "[]", "{}", "not json"])
def test_an_answer_of_another_shape_is_an_error(stub: StubGateway, client: Client, text: str) -> None:
    stub.answers["/v1/mlxr/status"] = (200, text)
    with pytest.raises(ServerAnswerError, match="does not understand"):
        client.status()


def test_a_server_that_is_not_there_is_named() -> None:
    url = f"http://127.0.0.1:{unused_port()}"
    instance = RunningInstance(pid=1, url=url, version="0", started_at=0.0)
    with Client(instance) as client, pytest.raises(ServerUnreachableError, match=url):
        client.status()
    with Client(instance) as client, pytest.raises(ClientError, match=url):
        list(client.stream_chat(BODY))


def test_a_unix_socket_is_used_where_there_is_one(tmp_path: Path) -> None:
    paths = Paths.under(tmp_path)
    with running_stub(paths, unix_socket=tmp_path / "s"):
        instance = read_instance(paths)
        assert instance is not None
        with Client(instance) as client:
            assert client.status().pid == 7


def test_the_environments_proxies_are_ignored(
    stub: StubGateway, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_port()}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{unused_port()}")
    assert client.status().pid == stub.status["pid"]
