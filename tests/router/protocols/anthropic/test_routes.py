"""The Anthropic API over HTTP, with real worker processes of the fake engine behind it."""

import asyncio
import re
from typing import Any

import httpx
import msgspec
import pytest

from backends.fake.engine import FakeOptions
from registry.engines import Engine, EngineKind
from router.requests.register import RunningRequest
from tests.support.anthropic_stream import content_of
from tests.support.fake_fleet import make_config
from tests.support.fake_openai import FakeFront, with_front

MESSAGES = "/v1/messages"
BODY: dict[str, Any] = {
    "model": "m",
    "max_tokens": 6,
    "temperature": 0,
    "messages": [{"role": "user", "content": "hi"}],
}
TOOL = {"name": "f", "input_schema": {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}}}


async def send(front: FakeFront, **fields: Any) -> httpx.Response:
    return await front.client.post(MESSAGES, json=BODY | fields)


def events_of(stream: httpx.Response | str) -> list[Any]:
    if isinstance(stream, httpx.Response):
        assert stream.headers["content-type"].startswith("text/event-stream")
        stream = stream.text
    blocks = stream.split("\n\n")
    assert blocks.pop() == "", "every event ends with an empty line"
    events = []
    for block in blocks:
        name, data = block.split("\n")
        event = msgspec.json.decode(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    return events


def message_of(events: list[Any]) -> dict[str, Any]:
    """Put a stream together as clients do."""
    message: dict[str, Any] = {}
    for event in events:
        match event["type"]:
            case "message_start":
                message = event["message"]
            case "message_delta":
                message |= event["delta"] | {"usage": event["usage"], "mlxr": event["mlxr"]}
    return message | {"content": content_of(events)}


def without_id(message: dict[str, Any]) -> dict[str, Any]:
    assert message["id"].startswith("msg_")
    return {name: value for name, value in message.items() if name not in {"id", "mlxr"}}


USAGE = {
    "input_tokens": 21,
    "cache_creation_input_tokens": 0,
    "cache_read_input_tokens": 0,
    "output_tokens": 5,
    "output_tokens_details": {"thinking_tokens": 0},
    "service_tier": "standard",
}
INPUT_TOKENS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
CACHED = USAGE | {"input_tokens": 1, "cache_read_input_tokens": 20}


@with_front(llamacpp=FakeOptions(answer_tokens=4))
async def test_a_whole_answer_to_the_letter_and_what_it_cost_the_second_time(front: FakeFront) -> None:
    response = await send(front)
    assert response.headers["request-id"] == response.headers["x-request-id"] == response.json()["id"]
    expected = {
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "syxz"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": USAGE,
    }
    assert without_id(response.json()) == expected
    assert response.json()["mlxr"]["engine"] == "llamacpp"
    assert without_id((await send(front)).json()) == expected | {"usage": CACHED}


@with_front(llamacpp=FakeOptions(answer_tokens=4))
async def test_a_stream_to_the_letter(front: FakeFront) -> None:
    events = events_of(await send(front, stream=True))
    assert events[-2].pop("mlxr")["engine"] == "llamacpp"
    message = without_id(events[0]["message"])
    assert message == {
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": USAGE | {"output_tokens": 0},
    }
    assert events[1:] == [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *[
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
            for text in "syxz"
        ],
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": USAGE},
        {"type": "message_stop"},
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"stop_sequences": ["x"], "max_tokens": 50},
        {"tools": [TOOL], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}, "max_tokens": 300},
        {"tools": [TOOL], "tool_choice": {"type": "any"}, "max_tokens": 12},
    ],
)
@with_front()
async def test_a_stream_says_what_a_whole_answer_says(front: FakeFront, fields: dict[str, Any]) -> None:
    await send(front, **fields)
    whole = (await send(front, **fields)).json()
    streamed = message_of(events_of(await send(front, stream=True, **fields)))
    for message in (whole, streamed):
        for block in message["content"]:
            block.pop("id", None)
    assert without_id(streamed) == without_id(whole)
    assert streamed["mlxr"] == whole["mlxr"]
    assert whole["content"]


@with_front(llamacpp=FakeOptions(answer_tokens=4))
async def test_why_an_answer_ended(front: FakeFront) -> None:
    async def stop(**fields: Any) -> tuple[str, str | None]:
        message = (await send(front, **fields)).json()
        return message["stop_reason"], message["stop_sequence"]

    assert await stop() == ("end_turn", None)
    assert await stop(max_tokens=2) == ("max_tokens", None)
    assert await stop(max_tokens=0) == ("max_tokens", None)
    assert await stop(stop_sequences=["q", "yx"]) == ("stop_sequence", "yx")


@with_front()
async def test_no_tokens_at_all_fill_the_cache(front: FakeFront) -> None:
    """Source: Anthropic API reference, "Create a Message": "Set to 0 to populate the prompt cache"."""
    first = (await send(front, max_tokens=0)).json()
    assert (first["content"], first["usage"]["output_tokens"]) == ([], 0)
    events = events_of(await send(front, max_tokens=0, stream=True))
    assert content_of(events) == []
    later = (await send(front, max_tokens=2)).json()
    assert later["usage"]["cache_read_input_tokens"] == first["usage"]["input_tokens"] - 1


@with_front(llamacpp=FakeOptions(context_length=30))
async def test_a_full_context_is_told_apart_from_max_tokens(front: FakeFront) -> None:
    message = (await send(front, max_tokens=500)).json()
    assert message["stop_reason"] == "model_context_window_exceeded"
    assert message["usage"]["output_tokens"] == 30 - 21


@with_front(keepalive_s=0.05, llamacpp=FakeOptions(answer_tokens=3))
async def test_pings_come_while_a_model_loads_and_a_prompt_is_evaluated(front: FakeFront) -> None:
    text = await front.stream_past(["load", "prefill"], "event: ping\n", MESSAGES, BODY | {"stream": True})
    kinds = [event["type"] for event in events_of(text)]
    start = kinds.index("message_start")
    assert kinds[:start] == ["ping"] * start
    assert start >= 4
    assert kinds[-1] == "message_stop"


@with_front(llamacpp=[FakeOptions(crash_at_token=2)] * 3)
async def test_an_error_in_a_stream_is_an_event(front: FakeFront) -> None:
    *_, last = events_of(await send(front, stream=True))
    assert last["type"] == "error"
    assert last["error"]["type"] == "api_error"
    assert set(last["error"]) == {"type", "message"}


@with_front()
async def test_errors_before_the_answer_have_a_status(front: FakeFront) -> None:
    unknown = await send(front, model="nobody", stream=True)
    assert (unknown.status_code, unknown.json()["error"]["type"]) == (404, "not_found_error")
    assert unknown.json()["type"] == "error"
    long = await send(front, stream=True, messages=[{"role": "user", "content": "x" * 20_000}])
    assert (long.status_code, long.json()["error"]["type"]) == (400, "invalid_request_error")
    assert re.match(r"prompt is too long: \d+ tokens > \d+ maximum; ", long.json()["error"]["message"])
    batches = await front.client.post(f"{MESSAGES}/batches", json={})
    assert (batches.status_code, batches.json()["error"]["type"]) == (404, "not_found_error")
    thread = (await send(front, thread={"type": "create"})).json()["error"]["details"]
    assert thread["error_code"] == "thread_unsupported_request"


@with_front()
async def test_tokens_are_counted_without_an_answer(front: FakeFront) -> None:
    body = {name: BODY[name] for name in ("model", "messages")} | {"system": "Be brief."}
    count = (await front.client.post(f"{MESSAGES}/count_tokens", json=body)).json()
    usage = (await send(front, system="Be brief.")).json()["usage"]
    assert count == {"input_tokens": usage["input_tokens"] + usage["cache_read_input_tokens"]}


@with_front()
async def test_headers_mean_what_they_mean_everywhere(front: FakeFront) -> None:
    labels = {"anthropic-version": "2023-06-01", "anthropic-beta": "a,b", "x-api-key": "k"}
    on_mlx = await front.client.post(MESSAGES, json=BODY, headers=labels | {"X-Mlxr-Engine": "mlx"})
    assert on_mlx.status_code == 200
    assert front.fleet.holder is not None
    assert front.fleet.holder.target is not None
    assert front.fleet.holder.target.engine == Engine(EngineKind.MLX)
    wrong = await front.client.post(MESSAGES, json=BODY, headers={"X-Mlxr-Priority": "high"})
    assert wrong.status_code == 400
    assert wrong.json()["error"]["message"].startswith("X-Mlxr-Priority")


@with_front(config=make_config(reattach_s=60))
async def test_the_same_prompt_sent_again_joins_the_one_that_runs(front: FakeFront) -> None:
    content = msgspec.json.encode(BODY | {"stream": True, "max_tokens": 100})
    seen: list[str] = []
    front.fleet.hold("token-12")
    async with front.client.stream("POST", MESSAGES, content=content) as response:
        async for line in response.aiter_lines():
            seen += [line] if line else []
            if len(seen) == 10:
                break
    request_id = response.headers["request-id"]
    running = front.services.serving.requests.get(request_id)
    assert isinstance(running, RunningRequest)
    assert running.facts.protocol == "anthropic"
    await front.fleet.until(lambda: not running.has_reader, "its client is gone")
    front.fleet.let_go("token-12")
    # A client that tries again counts so in a header.
    again = await front.client.post(MESSAGES, content=content, headers={"x-stainless-retry-count": "1"})
    assert again.headers["request-id"] == request_id
    assert [line for line in again.text.split("\n") if line][:10] == seen
    assert message_of(events_of(again))["usage"]["output_tokens"] == 100


@pytest.mark.parametrize(
    ("headers", "session_id"),
    [
        ({"X-Claude-Code-Session-Id": "agent"}, "agent"),
        ({"X-Claude-Code-Session-Id": "agent", "X-Session-Id": "own"}, "own"),
        ({"X-Claude-Code-Session-Id": "x" * 600}, None),
        ({}, None),
    ],
)
@with_front()
async def test_agents_name_their_conversation(
    front: FakeFront, headers: dict[str, str], session_id: str | None
) -> None:
    front.fleet.hold("decode")
    request = asyncio.create_task(front.client.post(MESSAGES, json=BODY | {"max_tokens": 5}, headers=headers))
    await front.fleet.until(lambda: bool(list(front.services.serving.requests)), "it is registered")
    (running,) = front.services.serving.requests
    assert isinstance(running, RunningRequest)
    assert running.generation.request.spec.session_id == session_id
    front.fleet.let_go("decode")
    await request


@with_front()
async def test_a_client_that_leaves_ends_its_request(front: FakeFront) -> None:
    front.fleet.hold("decode")
    request = asyncio.create_task(send(front))
    await front.fleet.until(lambda: bool(list(front.services.serving.requests)), "it is registered")
    request.cancel()
    await front.fleet.until(lambda: not list(front.services.serving.requests), "it has ended")


@with_front()
async def test_models_have_anthropics_shape_for_its_clients_only(front: FakeFront) -> None:
    version = {"anthropic-version": "2023-06-01"}
    page = (await front.client.get("/v1/models", params={"limit": "1"}, headers=version)).json()
    assert (len(page["data"]), page["has_more"]) == (1, True)
    assert (await front.client.get("/v1/models/nick", headers=version)).json()["type"] == "model"
    assert (await front.client.get("/v1/models")).json()["object"] == "list"
    assert (await front.client.get("/v1/models/m")).json()["object"] == "model"
    wrong = await front.client.get("/v1/models", params={"limit": "x"}, headers=version)
    assert wrong.status_code == 400


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"null", b'{"model":', b"\xff", b'{"model": "m", "model": "m"}', b"[" * 2000, b'{"a": ' * 500],
)
@with_front()
async def test_hostile_bodies_are_refused(front: FakeFront, content: bytes) -> None:
    for path in (MESSAGES, f"{MESSAGES}/count_tokens"):
        response = await front.client.post(path, content=content)
        assert response.status_code == 400
        assert response.json()["error"]["type"] == "invalid_request_error"


def rounds(num: int) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = [{"role": "user", "content": "go"}]
    for number in range(num):
        call = {"type": "tool_use", "id": f"c{number}", "name": "f", "input": {}}
        result = {"type": "tool_result", "tool_use_id": f"c{number}", "content": f"result {number} " * 20}
        said += [{"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    return said


CLEARS = {"type": "clear_tool_uses_20250919", "trigger": {"type": "tool_uses", "value": 4}}


@with_front(llamacpp=FakeOptions(answer_tokens=4))
async def test_results_of_tools_are_cleared_and_the_answer_says_so(front: FakeFront) -> None:
    wanted: list[Any] = []
    front.services.serving.requests.ended.add(lambda running: wanted.append(running.generation.request))
    fields = {"messages": rounds(6), "tools": [TOOL]}
    plain = (await send(front, **fields)).json()
    assert "context_management" not in plain
    cleared = (await send(front, **fields, context_management={"edits": [CLEARS]})).json()
    (edit,) = cleared["context_management"]["applied_edits"]
    num_before, num_after = (sum(each["usage"][name] for name in INPUT_TOKENS) for each in (plain, cleared))
    assert edit == {
        "type": "clear_tool_uses_20250919",
        "cleared_tool_uses": 3,
        "cleared_input_tokens": num_before - num_after,
    }
    shown = [message["content"] for message in wanted[-1].prompts[0].messages if message["role"] == "tool"]
    assert [text.startswith("result") for text in shown] == [False, False, False, True, True, True]
    streamed = events_of(await send(front, **fields, context_management={"edits": [CLEARS]}, stream=True))
    (delta,) = (event for event in streamed if event["type"] == "message_delta")
    assert delta["context_management"] == cleared["context_management"]
    fewer = fields | {"messages": rounds(4)}
    untouched = (await send(front, **fewer, context_management={"edits": [CLEARS]})).json()
    assert untouched["context_management"] == {"applied_edits": []}


@with_front(llamacpp=FakeOptions(answer_tokens=4))
async def test_what_edits_leave_is_counted(front: FakeFront) -> None:
    body = {"model": "m", "messages": rounds(6), "tools": [TOOL]}
    path = f"{MESSAGES}/count_tokens"
    original = (await front.client.post(path, json=body)).json()["input_tokens"]
    by_tokens = CLEARS | {"trigger": {"type": "input_tokens", "value": 1}}
    left = (await front.client.post(path, json=body | {"context_management": {"edits": [by_tokens]}})).json()
    assert left["input_tokens"] < original
    assert left["context_management"] == {"original_input_tokens": original}
    too_few = by_tokens | {"clear_at_least": {"type": "input_tokens", "value": original}}
    same = (await front.client.post(path, json=body | {"context_management": {"edits": [too_few]}})).json()
    assert same["input_tokens"] == original
