"""OpenAI's own client, which holds answers to its types, with custom tools and namespaces, also over a WebSocket."""

from typing import Any

import openai

from backends.fake.engine import FakeOptions
from tests.support.fake_openai import FakeFront, with_front

PATCH = '<tool_call>\n{"name": "apply_patch", "arguments": {"input": "a\\nb"}}\n</tool_call>'
READ = '<tool_call>\n{"name": "read", "arguments": {}}\n</tool_call>'
ENGINE = FakeOptions(answers=(("patch it", PATCH), ("read it", READ)))
FUNCTION = {"type": "function", "name": "read", "parameters": {"type": "object", "properties": {}}, "strict": False}
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": 'start: "x"'}
TOOLS: Any = [
    {"type": "custom", "name": "apply_patch", "format": GRAMMAR},
    {"type": "namespace", "name": "mcp__fs", "description": "d", "tools": [FUNCTION]},
    {"type": "web_search"},
]


def client_of(front: FakeFront) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{front.client.base_url}/v1/", api_key="x", _strict_response_validation=True)


@with_front(llamacpp=ENGINE)
async def test_calls_come_back_as_the_client_knows_them(front: FakeFront) -> None:
    async with client_of(front) as client:
        read: Any = await client.responses.create(model="m", input="read it", tools=TOOLS)
        (call,) = read.output
        assert (call.type, call.name, call.namespace) == ("function_call", "read", "mcp__fs")
        assert [tool.type for tool in read.tools] == ["custom", "namespace"]
        async with client.responses.stream(model="m", input="patch it", tools=TOOLS) as stream:
            kinds = {event.type async for event in stream}
            final: Any = await stream.get_final_response()
        (patched,) = final.output
        assert {"response.custom_tool_call_input.delta", "response.custom_tool_call_input.done"} <= kinds
        assert (patched.type, patched.input) == ("custom_tool_call", "a\nb")


async def ended(connection: Any) -> Any:
    """Return the response of the turn that runs."""
    async for event in connection:
        if event.type == "response.completed":
            return event.response
    raise AssertionError


@with_front(llamacpp=ENGINE)
async def test_a_websocket_of_the_client_answers_turn_after_turn(front: FakeFront) -> None:
    async with client_of(front) as client, client.responses.connect() as connection:
        opened: Any = connection
        await opened.response.create(model="m", input="patch it", tools=TOOLS, store=False)
        first = await ended(opened)
        (call,) = first.output
        assert (call.type, call.input) == ("custom_tool_call", "a\nb")
        output = {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "done"}
        await opened.response.create(model="m", input=[output], tools=TOOLS, store=False, previous_response_id=first.id)
        assert (await ended(opened)).previous_response_id == first.id
