"""The unmodified Anthropic Python client against a real server, on both engines."""

import base64
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest
from anthropic.types import DocumentBlockParam, Message, MessageParam, ToolParam, ToolUseBlock

from tests.support.documents import pdf
from tests.support.gateway_process import GatewayProcess
from tests.support.plain_http import NO_TLS
from tests.support.waiting import WITHIN_S

ENGINES = pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
FOX: list[MessageParam] = [{"role": "user", "content": "Say hello to the fox."}]
WEATHER: ToolParam = {
    "name": "weather",
    "description": "Tell the weather of a town.",
    "input_schema": {
        "type": "object",
        "properties": {"town": {"type": "string", "maxLength": 6}},
        "required": ["town"],
        "additionalProperties": False,
    },
}
NO_THOUGHT = len("<think>\n\n</think>\n\n")
"""What the template writes, and forgets in the next turn, for a model that is not to think; a byte is a token."""
GREEDY: Any = {"extra_body": {"temperature": 0}}


@pytest.fixture
def client(tooled_gateway: GatewayProcess) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=tooled_gateway.url, api_key="none", max_retries=0) as client:
        yield client


def text_of(message: Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def prompt_tokens(message: Message) -> int:
    usage = message.usage
    assert usage.cache_creation_input_tokens == 0
    return usage.input_tokens + (usage.cache_read_input_tokens or 0)


@ENGINES
def test_whole_streamed_and_openai_give_the_same_greedy_text(
    client: anthropic.Anthropic, tooled_gateway: GatewayProcess, engine: str
) -> None:
    model = f"tooled@{engine}"
    whole = client.messages.create(model=model, max_tokens=16, messages=FOX, **GREEDY)
    with client.messages.stream(model=model, max_tokens=16, messages=FOX, **GREEDY) as stream:
        streamed_text = "".join(stream.text_stream)
        final = stream.get_final_message()
    with openai.OpenAI(base_url=f"{tooled_gateway.url}/v1", api_key="none") as other:
        chat = other.chat.completions.create(
            model=model,
            max_tokens=16,
            temperature=0,
            messages=[{"role": "user", "content": "Say hello to the fox."}],
            extra_body={"enable_thinking": False},
        )
    assert text_of(whole) == streamed_text == text_of(final) == chat.choices[0].message.content != ""
    assert whole.stop_reason == final.stop_reason == "max_tokens"
    assert chat.usage is not None
    assert prompt_tokens(whole) == prompt_tokens(final) == chat.usage.prompt_tokens
    assert whole.usage.output_tokens == final.usage.output_tokens == 16
    assert whole.id != final.id
    assert whole._request_id == whole.id


@ENGINES
def test_the_events_of_a_stream_come_in_anthropics_order(client: anthropic.Anthropic, engine: str) -> None:
    events = list(client.messages.create(model=f"tooled@{engine}", max_tokens=4, messages=FOX, stream=True, **GREEDY))
    kinds = [event.type for event in events]
    deltas = kinds.count("content_block_delta")
    assert kinds == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * deltas,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert events[0].type == "message_start"
    assert events[0].message.usage.output_tokens == 0
    assert prompt_tokens(events[0].message) > 0


def test_a_stop_sequence_is_named(client: anthropic.Anthropic) -> None:
    whole = text_of(client.messages.create(model="tooled@llamacpp", max_tokens=16, messages=FOX, **GREEDY))
    stop = whole[4:6]
    message = client.messages.create(
        model="tooled@llamacpp", max_tokens=16, messages=FOX, stop_sequences=["never there", stop], **GREEDY
    )
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", stop)
    assert text_of(message) == whole.partition(stop)[0]


@ENGINES
def test_a_begun_answer_is_continued(client: anthropic.Anthropic, engine: str) -> None:
    model = f"tooled@{engine}"
    whole = text_of(client.messages.create(model=model, max_tokens=16, messages=FOX, **GREEDY))
    begun: list[MessageParam] = [*FOX, {"role": "assistant", "content": whole[:2]}]
    rest = client.messages.create(model=model, max_tokens=14, messages=begun, **GREEDY)
    assert whole[:2].isascii()
    assert whole[:2] + text_of(rest) == whole


@ENGINES
def test_a_tool_is_called_streamed_and_whole_and_takes_its_result(client: anthropic.Anthropic, engine: str) -> None:
    common: Any = {
        "model": f"tooled@{engine}",
        "max_tokens": 400,
        "tools": [WEATHER],
        "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
        "extra_body": {"temperature": 0},
    }
    whole = client.messages.create(messages=FOX, **common)
    with client.messages.stream(messages=FOX, **common) as stream:
        streamed = stream.get_final_message()
    (call,), (again,) = whole.content, streamed.content
    assert isinstance(call, ToolUseBlock)
    assert isinstance(again, ToolUseBlock)
    assert whole.stop_reason == streamed.stop_reason == "tool_use"
    assert call.name == "weather"
    assert call.input == again.input
    assert set(call.input) == {"town"}
    turns: list[MessageParam] = [
        *FOX,
        {"role": "assistant", "content": whole.content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}]},
    ]
    answer = client.messages.create(messages=turns, **common)
    assert answer.stop_reason == "tool_use"
    assert (answer.usage.cache_read_input_tokens or 0) >= prompt_tokens(whole) - NO_THOUGHT


@ENGINES
def test_the_clients_own_tool_runner_loops(client: anthropic.Anthropic, engine: str) -> None:
    asked: list[str] = []

    @anthropic.beta_tool(
        name="weather", description="Tell the weather of a town.", input_schema=dict(WEATHER["input_schema"])
    )
    def weather(town: str) -> str:
        asked.append(town)
        return "sunny"

    runner = client.beta.messages.tool_runner(
        model=f"tooled@{engine}",
        max_tokens=400,
        tools=[weather],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        messages=[{"role": "user", "content": "How is the weather?"}],
        max_iterations=3,
        **GREEDY,
    )
    messages = list(runner)
    assert [message.stop_reason for message in messages] == ["tool_use"] * 3
    assert len(asked) >= 2


def test_tokens_are_counted_as_they_are_used(client: anthropic.Anthropic) -> None:
    common: Any = {"model": "tooled", "messages": FOX, "system": "Be brief.", "tools": [WEATHER]}
    message = client.messages.create(max_tokens=1, **common, **GREEDY)
    assert client.messages.count_tokens(**common).input_tokens == prompt_tokens(message)


@ENGINES
def test_each_turn_of_a_coding_agent_prefills_only_what_is_new(client: anthropic.Anthropic, engine: str) -> None:
    """Long system prompt, many tools, parallel calls, an error among the results, streams; labels that change."""
    tools: list[ToolParam] = [{**WEATHER, "name": f"mcp__server__tool_{number}"} for number in range(8)]
    turns: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "Mend the bug."}]}]
    previous = 0
    for turn in range(4):
        with client.messages.stream(
            model=f"tooled@{engine}",
            max_tokens=8,
            system=[
                {"type": "text", "text": f"x-anthropic-billing-header: cc_version=2.1; cch={turn:05x};"},
                {"type": "text", "text": "You mend bugs. " * 30, "cache_control": {"type": "ephemeral"}},
            ],
            tools=tools,
            messages=turns,
            metadata={"user_id": f"session-{turn}"},
            thinking={"type": "adaptive"},
            output_config={"effort": "high"},
            extra_headers={"anthropic-beta": "context-management-2025-06-27,fine-grained-tool-streaming-2025-05-14"},
            extra_body={"temperature": 0, "context_management": {"edits": []}},
        ) as stream:
            message = stream.get_final_message()
        read = message.usage.cache_read_input_tokens or 0
        assert read >= previous - 1
        previous = prompt_tokens(message)
        ids = [f"toolu_{turn}_{number}" for number in range(2)]
        turns += [
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "Let me look."},
                    *[{"type": "tool_use", "id": i, "name": tools[0]["name"], "input": {"town": "a"}} for i in ids],
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": ids[0], "content": [{"type": "text", "text": "one"}]},
                    {"type": "tool_result", "tool_use_id": ids[1], "content": "no such file", "is_error": True},
                    {"type": "text", "text": "<system-reminder>Go on.</system-reminder>"},
                ],
            },
        ]
    assert previous > 1000


@ENGINES
def test_an_answer_can_be_held_to_a_schema(client: anthropic.Anthropic, engine: str) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    message = client.messages.create(
        model=f"tooled@{engine}",
        max_tokens=200,
        messages=FOX,
        output_config={"format": {"type": "json_schema", "schema": {**schema, "additionalProperties": False}}},
        **GREEDY,
    )
    assert text_of(message).replace(" ", "").replace("\n", "") in {'{"ok":true}', '{"ok":false}'}
    assert message.stop_reason == "end_turn"


def test_errors_are_the_clients_exceptions(client: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as missing:
        client.messages.create(model="nobody", max_tokens=1, messages=FOX)
    assert isinstance(missing.value.body, dict)
    assert missing.value.body["type"] == "error"
    assert missing.value.body["error"]["type"] == "not_found_error"
    with pytest.raises(anthropic.BadRequestError, match=r"temperature"):
        client.messages.create(model="tooled", max_tokens=1, messages=FOX, extra_body={"temperature": 2})
    with pytest.raises(anthropic.BadRequestError, match=r"web_search_20250305.*input_schema"):
        client.messages.create(
            model="tooled", max_tokens=1, messages=FOX, tools=[{"type": "web_search_20250305", "name": "web_search"}]
        )
    long: list[MessageParam] = [{"role": "user", "content": "fox " * 20_000}]
    with pytest.raises(anthropic.BadRequestError, match=r"(?i)context"):
        client.messages.create(model="tooled", max_tokens=1, messages=long, stream=True)


def test_models_are_listed_in_pages(client: anthropic.Anthropic) -> None:
    names = [model.id for model in client.models.list(limit=1)]
    assert sorted(names) == ["tiny", "tooled"]
    model = client.models.retrieve("tooled")
    assert (model.id, model.type, model.max_input_tokens) == ("tooled", "model", 8192)
    assert model.created_at.tzinfo is not None


def test_keys_and_versions_are_accepted_in_any_form(tooled_gateway: GatewayProcess) -> None:
    body = {"model": "tooled", "max_tokens": 1, "messages": FOX}
    for headers in ({}, {"x-api-key": "k"}, {"authorization": "Bearer k", "anthropic-version": "2023-06-01"}):
        assert (
            httpx.post(
                f"{tooled_gateway.url}/v1/messages", json=body, headers=headers, timeout=WITHIN_S, verify=NO_TLS
            ).status_code
            == 200
        )


def test_documents_are_read_quoted_and_counted(
    start_gateway: Callable[..., GatewayProcess],
) -> None:
    gateway = start_gateway(fake_options={"answers": [("The answer is 42", "found")], "answer_tokens": 6})
    encoded = base64.b64encode(pdf(["The answer is 42."])).decode()
    blocks: list[DocumentBlockParam] = [
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": encoded}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "The answer is 42."}},
    ]
    with anthropic.Anthropic(base_url=gateway.url, api_key="none", max_retries=0) as client:
        for block in blocks:
            asked: list[MessageParam] = [{"role": "user", "content": [block, {"type": "text", "text": "What is it?"}]}]
            answer = client.messages.create(model="tiny", max_tokens=16, messages=asked)
            assert text_of(answer) == "found"
            counted = client.messages.count_tokens(model="tiny", messages=asked).input_tokens
            assert counted == prompt_tokens(answer)
        address: DocumentBlockParam = {
            "type": "document",
            "source": {"type": "url", "url": "https://example.com/a.pdf"},
        }
        with pytest.raises(anthropic.BadRequestError, match="nothing is fetched here"):
            client.messages.create(model="tiny", max_tokens=16, messages=[{"role": "user", "content": [address]}])
