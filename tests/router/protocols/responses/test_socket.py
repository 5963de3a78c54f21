"""The Responses API over a WebSocket, with a real client of the protocol, on the fake engine."""

import asyncio
import json
import socket
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from backends.fake.engine import FakeOptions
from router.protocols.responses import socket as responses_socket
from router.protocols.responses.event_schemas import StreamEvent
from tests.support.fake_fleet import make_config
from tests.support.fake_openai import FakeFront, with_front
from tests.support.metric_values import values
from tests.support.waiting import WITHIN_S, until

SHORT = FakeOptions(answer_tokens=6)
PLAIN = {"type": "response.create", "model": "m", "input": "hi", "temperature": 0}


def opened(front: FakeFront, path: str = "/v1/responses", **options: Any) -> connect:
    return connect(str(front.client.base_url).replace("http", "ws", 1).rstrip("/") + path, compression=None, **options)


async def send(client: ClientConnection, **fields: Any) -> None:
    await client.send(json.dumps(PLAIN | fields))


async def events(client: ClientConnection) -> list[dict[str, Any]]:
    """Return the events of one response, each of which is of the API's types."""
    found: list[dict[str, Any]] = []
    while not found or found[-1]["type"] not in {
        "response.completed",
        "response.incomplete",
        "response.failed",
        "error",
    }:
        text = await client.recv()
        found.append(json.loads(text))
        if found[-1]["type"] != "error":
            msgspec.json.decode(text, type=StreamEvent)
    return found


def text_of(response: dict[str, Any]) -> str:
    return "".join(part["text"] for item in response["output"] for part in item["content"])


@with_front(llamacpp=SHORT)
async def test_events_are_those_of_a_stream_and_turns_follow_each_other(front: FakeFront) -> None:
    async with opened(front) as client:
        await send(client)
        first = await events(client)
        assert [event["type"] for event in first][:3] == [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
        ]
        assert [event["sequence_number"] for event in first] == list(range(len(first)))
        for _ in range(2):
            await send(client)
        both = [await events(client), await events(client)]
        assert [text_of(turn[-1]["response"]) for turn in both] == [text_of(first[-1]["response"])] * 2


@with_front(llamacpp=SHORT)
async def test_the_last_response_can_be_gone_on_from_although_nothing_is_stored(front: FakeFront) -> None:
    async with opened(front) as client:
        await send(client, store=False)
        first = (await events(client))[-1]["response"]
        await send(client, store=False, input="more", previous_response_id=first["id"])
        second = (await events(client))[-1]["response"]
        assert second["usage"]["input_tokens"] > 2 * first["usage"]["input_tokens"]
        assert second["usage"]["input_tokens_details"]["cached_tokens"] > 0
        # Only the last one.
        await send(client, store=False, previous_response_id=first["id"])
        (error,) = await events(client)
        assert (error["status"], error["error"]["code"]) == (400, "previous_response_not_found")
    async with opened(front) as other:
        await send(other, previous_response_id=second["id"])
        assert (await events(other))[-1]["error"]["code"] == "previous_response_not_found"


@with_front(llamacpp=SHORT)
async def test_input_can_be_kept_without_an_answer(front: FakeFront) -> None:
    async with opened(front) as client:
        await send(client, store=False, generate=False, instructions="Be kind.")
        created, completed = await events(client)
        assert (created["type"], completed["response"]["output"]) == ("response.created", [])
        assert completed["response"]["status"] == "completed"
        await send(client, store=False, previous_response_id=completed["response"]["id"])
        assert (await events(client))[-1]["type"] == "response.completed"


@with_front(llamacpp=SHORT)
async def test_what_nobody_runs_or_knows_is_left_out_unless_the_handshake_wants_it_refused(front: FakeFront) -> None:
    unknown = {"tools": [{"type": "web_search"}], "client_metadata": {"a": "b"}, "colour": "red"}
    async with opened(front) as client:
        await send(client, **unknown)
        assert (await events(client))[-1]["type"] == "response.completed"
    async with opened(front, additional_headers={"X-Mlxr-Strict": "true"}) as client:
        await send(client, **unknown)
        (error,) = await events(client)
        assert error["error"]["param"] == "colour"


@with_front(llamacpp=SHORT)
async def test_what_is_wrong_is_an_error_and_the_connection_goes_on(front: FakeFront) -> None:
    wrong: list[tuple[Any, str]] = [
        ("{", "invalid_json"),
        (json.dumps({"type": "session.update"}), "invalid_request"),
        (json.dumps(PLAIN | {"model": "nobody"}), "model_not_found"),
        (json.dumps(PLAIN | {"background": True}), "invalid_request"),
        (b"{}", "invalid_request"),
    ]
    async with opened(front) as client:
        for message, code in wrong:
            await client.send(message)
            (error,) = await events(client)
            assert (error["type"], error["error"]["code"]) == ("error", code), error
            assert error["status"] in {400, 404}
        await send(client)
        assert (await events(client))[-1]["type"] == "response.completed"


@with_front(llamacpp=FakeOptions())
async def test_a_client_that_goes_away_ends_its_response(front: FakeFront) -> None:
    async with opened(front) as client:
        await send(client)
        await client.recv()
        await front.fleet.until(lambda: bool(front.running), "it runs")
    await front.fleet.until(lambda: not front.running, "it has ended")


@with_front(llamacpp=FakeOptions(context_length=1 << 20), config=make_config(context_length=1 << 20), write_stall_s=0.5)
async def test_a_client_that_takes_nothing_is_cut_off_and_its_response_ends(front: FakeFront) -> None:
    with socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect(("127.0.0.1", front.client.base_url.port))
        async with opened(front, sock=plain, max_queue=1, close_timeout=0.1) as client:
            await send(client)
            await front.fleet.until(lambda: bool(front.running), "it runs")
            await front.fleet.until(lambda: not front.running, "it has ended")


@with_front(llamacpp=SHORT)
async def test_one_connection_has_only_so_many_requests_wait(front: FakeFront) -> None:
    front.fleet.hold("decode")
    async with opened(front) as client:
        for _ in range(responses_socket.MAX_WAITING + 2):
            await send(client)
        found: list[dict[str, Any]] = []
        while not found or found[-1]["type"] != "error":
            found.append(json.loads(await client.recv()))
        assert "wait already" in found[-1]["error"]["message"]
        front.fleet.let_go("decode")


@with_front(llamacpp=SHORT)
async def test_an_old_connection_is_ended_before_the_next_response(
    front: FakeFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(front) as client:
        await send(client)
        await events(client)
        monkeypatch.setattr(responses_socket, "MAX_AGE_S", -1.0)
        await send(client)
        (error,) = await events(client)
        assert error["error"]["code"] == "websocket_connection_limit_reached"
        with pytest.raises(ConnectionClosed):
            await client.recv()


@with_front(llamacpp=SHORT)
async def test_the_servers_end_waits_for_the_answer_that_is_being_given(front: FakeFront) -> None:
    front.fleet.hold("decode")
    async with opened(front) as client, opened(front) as idle:
        await send(client)
        await client.recv()
        front.server.stop()
        with pytest.raises(ConnectionClosed):
            await idle.recv()
        front.fleet.let_go("decode")
        assert (await events(client))[-1]["type"] == "response.completed"
        with pytest.raises(ConnectionClosed):
            await client.recv()


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/v1/responses", {"Origin": "http://evil.com"}, 403),
        ("/v1/responses", {"Host": "evil.com"}, 400),  # beside the client's own
        ("/v1/responses", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("/v1/responses", {"X": "y" * 7000, "Y": "y" * 7000, "Z": "y" * 7000, "A": "y" * 7000, "B": "y" * 7000}, 431),
        ("/v1/responses", {"X": "y" * 9000}, 426),
        ("/v1/chat/completions", {}, 426),
        ("/v1/responses/x", {}, 426),
        ("//v1/responses", {}, 426),
        ("/", {}, 426),
        ("/api/chat", {}, 426),
    ],
)
@with_front(llamacpp=SHORT)
async def test_handshakes_are_judged_like_requests_and_refused_where_there_is_no_socket(
    front: FakeFront, path: str, headers: dict[str, str], status: int
) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with asyncio.timeout(WITHIN_S), opened(front, path, additional_headers=headers):
            raise AssertionError
    assert caught.value.response.status_code == status
    assert front.fleet.num_launches == {"mlx": 0, "llamacpp": 0}


@with_front(llamacpp=SHORT)
async def test_a_foreign_host_is_refused(front: FakeFront) -> None:
    url = front.client.base_url
    with pytest.raises(InvalidStatus) as caught:
        async with connect("ws://evil.com/v1/responses", host=url.host, port=url.port):
            raise AssertionError
    assert caught.value.response.status_code == 403


@with_front(llamacpp=SHORT)
async def test_a_local_origin_may_connect_and_asks_nothing_in_a_kept_conversation(front: FakeFront) -> None:
    key = (await front.client.post("/v1/conversations", json={})).json()["id"]
    async with opened(front, additional_headers={"Origin": "http://localhost:3000"}) as client:
        await send(client)
        assert (await events(client))[-1]["type"] == "response.completed"
        await send(client, conversation=key)
        assert (await events(client))[-1]["error"]["code"] == "origin_not_allowed"
    own = str(front.client.base_url).rstrip("/")
    async with opened(front, additional_headers={"Origin": own}) as client:
        await send(client, conversation=key)
        assert (await events(client))[-1]["type"] == "response.completed"


@with_front(llamacpp=SHORT)
async def test_each_request_is_logged_and_counted_as_one(front: FakeFront, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "tests.access")
    async with opened(front, additional_headers={"X-Request-Id": "of-the-handshake"}) as client:
        await send(client)
        answered = (await events(client))[-1]["response"]["id"]
        await send(client, generate=False)
        await events(client)
        await send(client, temperature=-1)
        await events(client)
        await client.send(b"binary")
        await events(client)
    async with opened(front) as client:
        front.fleet.hold("decode")
        await send(client)
        await client.recv()
    front.fleet.let_go("decode")
    await until(lambda: len(caplog.records) >= 5, "the last one is logged")
    lines = [record.http for record in caplog.records if hasattr(record, "http")]
    assert [(line["method"], line["path"]) for line in lines] == [("WEBSOCKET", "/v1/responses")] * 5
    assert [line["status"] for line in lines] == [200, 200, 400, 400, 200]
    assert [line.get("error") for line in lines] == [
        None,
        None,
        "invalid_request",
        "invalid_request",
        "client_disconnected",
    ]
    assert (lines[0]["request_id"], lines[0]["tokens_out"], lines[0]["engine"]) == (answered, 7, "llamacpp")
    found = await values(front.client)
    assert found.of("mlxr_requests_total") == {
        ("responses", "m", "llamacpp", "200"): 1,
        ("responses", "m", "none", "200"): 1,
        ("responses", "unknown", "none", "400"): 2,
        ("responses", "m", "llamacpp", "499"): 1,
    }
    assert found.one("gen_ai_server_request_duration_seconds_count") == 2


@with_front()
async def test_a_handshake_that_is_refused_is_logged_and_counted(
    front: FakeFront, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tests.access")
    with pytest.raises(InvalidStatus):
        async with opened(front, additional_headers={"Origin": "http://evil.com"}):
            pass
    (line,) = [record.http for record in caplog.records if hasattr(record, "http")]
    assert (line["method"], line["status"]) == ("GET", 403)
