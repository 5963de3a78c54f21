"""Open Responses' own compliance cases (2026-04-24) by their names, but those about compaction.

What a response object must have is written down here anew, from the published document, so that the project's own types
cannot agree with themselves. Source: openresponses.org, OpenAPI document, `ResponseResource`; its compliance tests.
"""

import json
from typing import Any, Literal

import httpx
import msgspec
import pytest
from websockets.asyncio.client import ClientConnection, connect

from backends.fake.engine import FakeOptions
from tests.support.fake_openai import FakeFront, with_front
from tests.support.seeing_model import SEEING, add_seeing_model, data_uri, photo

CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"location": "San Francisco, CA"}}\n</tool_call>'
ENGINE = FakeOptions(answers=(("weather", CALL), ("", "Hello there, friend.")))
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "description": "Get the current weather for a location",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
}


class Text(msgspec.Struct, tag_field="type", tag="output_text"):
    text: str
    annotations: list[Any]
    logprobs: list[Any]


class Message(msgspec.Struct, tag_field="type", tag="message"):
    id: str
    status: Literal["in_progress", "completed", "incomplete"]
    role: Literal["assistant"]
    content: list[Text]


class Call(msgspec.Struct, tag_field="type", tag="function_call"):
    id: str
    call_id: str
    name: str
    arguments: str
    status: Literal["in_progress", "completed", "incomplete"]


class Function(msgspec.Struct, tag_field="type", tag="function"):
    name: str
    description: str | None
    parameters: dict[str, Any] | None
    strict: bool | None


class Cached(msgspec.Struct):
    cached_tokens: int


class Reasoned(msgspec.Struct):
    reasoning_tokens: int


class Used(msgspec.Struct):
    input_tokens: int
    output_tokens: int
    total_tokens: int
    input_tokens_details: Cached
    output_tokens_details: Reasoned


class Format(msgspec.Struct, tag_field="type", tag="text"):
    """Any text."""


class TextField(msgspec.Struct):
    format: Format
    verbosity: Literal["low", "medium", "high"] = "medium"


class Reasoning(msgspec.Struct):
    effort: Literal["none", "low", "medium", "high", "xhigh"] | None
    summary: Literal["concise", "detailed", "auto"] | None


class Resource(msgspec.Struct):
    """What is required of a response; no field has a default."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: str
    incomplete_details: dict[str, str] | None
    model: str
    previous_response_id: str | None
    instructions: str | None
    output: list[Message | Call]
    error: dict[str, str] | None
    tools: list[Function]
    tool_choice: Literal["none", "auto", "required"]
    truncation: Literal["auto", "disabled"]
    parallel_tool_calls: bool
    text: TextField
    top_p: float
    presence_penalty: float
    frequency_penalty: float
    top_logprobs: int
    temperature: float
    reasoning: Reasoning | None
    user: str | None
    usage: Used | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    store: bool
    background: bool
    service_tier: str
    metadata: dict[str, str]
    safety_identifier: str | None
    prompt_cache_key: str | None


STATES = {"response.created", "response.in_progress", "response.completed"}
REQUIRED = {
    "response.output_item.added": {"output_index", "item"},
    "response.output_item.done": {"output_index", "item"},
    "response.content_part.added": {"item_id", "output_index", "content_index", "part"},
    "response.content_part.done": {"item_id", "output_index", "content_index", "part"},
    "response.output_text.delta": {"item_id", "output_index", "content_index", "delta", "logprobs"},
    "response.output_text.done": {"item_id", "output_index", "content_index", "text", "logprobs"},
    "response.function_call_arguments.delta": {"item_id", "output_index", "delta"},
    "response.function_call_arguments.done": {"item_id", "output_index", "arguments"},
}
"""Per event, the fields that it must have beside `type` and `sequence_number`."""


def resource(value: Any) -> Resource:
    return msgspec.convert(value, Resource)


def message(role: str, text: str, **more: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": text, **more}


def checked(events: list[dict[str, Any]]) -> Resource:
    """Return the response of a stream whose events are as they must be."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    for event in events:
        if event["type"] in STATES:
            resource(event["response"])
        else:
            assert REQUIRED[event["type"]] <= set(event), event
    assert events[-1]["type"] == "response.completed"
    return resource(events[-1]["response"])


def events_of(stream: httpx.Response) -> list[dict[str, Any]]:
    assert stream.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in stream.text.split("\n\n"):
        name, _, data = block.partition("\ndata: ")
        if data:
            found.append(json.loads(data))
            assert name == f"event: {found[-1]['type']}"
    return found


HTTP: dict[str, tuple[dict[str, Any], type]] = {
    "basic-response": ({"input": [message("user", "Say hello in exactly 3 words.")]}, Message),
    "assistant-phase": (
        {
            "input": [
                message("user", "Hello"),
                message("assistant", "Looking.", phase="commentary"),
                message("assistant", "Hi!", phase="final_answer"),
                message("user", "Again."),
            ]
        },
        Message,
    ),
    "system-prompt": ({"input": [message("system", "You are a pirate."), message("user", "Say hello.")]}, Message),
    "tool-calling": ({"input": [message("user", "How is the weather?")], "tools": [WEATHER]}, Call),
    "image-input": (
        {
            "model": SEEING,
            "input": [
                {
                    "type": "message",
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "What do you see in this image? Answer in one sentence."},
                        {"type": "input_image", "image_url": data_uri(photo())},
                    ],
                }
            ],
        },
        Message,
    ),
    "multi-turn": (
        {
            "input": [
                message("user", "My name is Alice."),
                message("assistant", "Hello Alice! Nice to meet you."),
                message("user", "What is my name?"),
            ]
        },
        Message,
    ),
}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streaming-response"])
@pytest.mark.parametrize("name", HTTP)
@with_front(llamacpp=ENGINE)
async def test_http(front: FakeFront, name: str, *, stream: bool) -> None:
    body, kind = HTTP[name]
    add_seeing_model(front.registry)
    answer = await front.client.post("/v1/responses", json={"model": "m", **body, "stream": stream})
    assert answer.status_code == 200, answer.text
    found = checked(events_of(answer)) if stream else resource(answer.json())
    assert found.status == "completed"
    assert any(isinstance(item, kind) for item in found.output)
    if stream and kind is Call:
        told = {event["type"] for event in events_of(answer)}
        assert {"response.function_call_arguments.delta", "response.function_call_arguments.done"} <= told


def opened(front: FakeFront) -> connect:
    return connect(str(front.client.base_url).replace("http", "ws", 1).rstrip("/") + "/v1/responses")


async def turn(client: ClientConnection, **fields: Any) -> Resource:
    """Return the response to one message."""
    await client.send(json.dumps({"type": "response.create", "model": "m", "store": False, **fields}))
    found: list[dict[str, Any]] = []
    while not found or found[-1]["type"] not in {"response.completed", "response.failed", "error"}:
        found.append(json.loads(await client.recv()))
    return checked(found)


async def refused(client: ClientConnection, **fields: Any) -> str:
    """Return the code of the error that one message is answered with."""
    await client.send(json.dumps({"type": "response.create", "model": "m", "store": False, **fields}))
    event = json.loads(await client.recv())
    assert event["type"] == "error", event
    assert set(event["error"]) >= {"type", "code", "message", "param"}
    code: str = event["error"]["code"]
    return code


@with_front(llamacpp=ENGINE)
async def test_websocket_responses_sequential_and_continued(front: FakeFront) -> None:
    async with opened(front) as client:
        first = await turn(client, input=[message("user", "Remember the word ember.")])
        await turn(client, input="Another thing.")
        second = await turn(client, input="Say hello.")
        third = await turn(client, input="Which word?", previous_response_id=second.id)
        assert third.previous_response_id == second.id
        assert await refused(client, input="x", previous_response_id=first.id) == "previous_response_not_found"


@with_front(llamacpp=ENGINE)
async def test_websocket_reconnect_store_false_recovery(front: FakeFront) -> None:
    async with opened(front) as client:
        first = await turn(client, input="Seed.")
    async with opened(front) as client:
        assert await refused(client, input="On.", previous_response_id=first.id) == "previous_response_not_found"
        await turn(client, input="A fresh start.")


@with_front(llamacpp=ENGINE)
async def test_websocket_previous_response_not_found(front: FakeFront) -> None:
    async with opened(front) as client:
        missing = "resp_openresponses_missing_12345"
        assert await refused(client, input="x", previous_response_id=missing) == "previous_response_not_found"


@with_front(llamacpp=ENGINE)
async def test_websocket_failed_continuation_evicts_cache(front: FakeFront) -> None:
    async with opened(front) as client:
        first = await turn(client, input="Remember the word ember.")
        orphan = {"type": "function_call_output", "call_id": "call_nobody_made", "output": "{}"}
        assert await refused(client, input=[orphan], previous_response_id=first.id) == "invalid_request"
        assert await refused(client, input="x", previous_response_id=first.id) == "previous_response_not_found"


@with_front(llamacpp=ENGINE)
async def test_websocket_generate_false(front: FakeFront) -> None:
    async with opened(front) as client:
        first = await turn(client, input="Remember the word ember.", generate=False)
        assert first.output == []
        assert (await turn(client, input="Which?", previous_response_id=first.id)).output
