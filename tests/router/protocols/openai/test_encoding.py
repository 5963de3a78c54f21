"""Golden bytes: what goes over the wire, to the letter."""

import itertools
from typing import Any, cast

import msgspec

from backends.wire.messages import SequenceEnd, SequenceTimings, Usage
from backends.wire.output import Output, PositionLogprobs, PromptToken, TokenLogprob, ToolCallDelta
from backends.wire.prompts import TextPrompt
from backends.wire.request import OutputSpec, SamplingParams, SequenceSpec, Tool, ToolUse
from registry.engines import Engine, EngineKind
from router.models.model_request import ModelRequest
from router.models.targets import Choice, EngineReason, LocalArtifact, Target
from router.protocols.openai.answer import CompletionHead
from router.protocols.openai.encoding import CompletionStream, StreamOptions
from router.requests.generation import Generation, GenerationEvent, OutputEvent, ProgressEvent, PromptEvent
from router.requests.request import GenerationRequest
from router.status import WorkerRef

CHAT = CompletionHead(answer_id="chatcmpl-1", created=7, model="m", is_chat=True)
TEXT = CompletionHead(answer_id="cmpl-1", created=7, model="m", is_chat=False)
END = SequenceEnd("stop", Usage(10, 4, 3), SequenceTimings(1.0, 12.0, 8.0))
TIMINGS = (
    b'{"cache_n":4,"prompt_n":6,"prompt_ms":12.0,"prompt_per_token_ms":2.0,"prompt_per_second":500.0,'
    b'"predicted_n":3,"predicted_ms":8.0,"predicted_per_token_ms":4.0,"predicted_per_second":250.0,'
    b'"engine":"mlx","engine_reason":"request","worker":{"id":3,"pid":4711},"load_ms":5.0,"queue_ms":3.0}'
)
HEAD = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"m",'
TEXT_HEAD = b'data: {"id":"cmpl-1","object":"text_completion","created":7,"model":"m",'
PLAIN = StreamOptions()


def served(**headers: Any) -> Generation:
    """What the encoders read of a generation that mlx serves."""
    request: dict[str, Any] = {
        "model_request": ModelRequest("m"),
        "prompts": (TextPrompt("p"),),
        "sampling": SamplingParams(),
    } | headers
    spec = SequenceSpec(**{name: request.pop(name) for name in SequenceSpec.__struct_fields__ if name in request})

    class Served:
        choice = Choice(Target("m", Engine(EngineKind.MLX), LocalArtifact(1, "/m")), EngineReason.REQUEST)
        worker = WorkerRef(3, 4711)
        queue_ms = 2.0
        load_ms = 5.0
        context = None
        kept = None

    found = Served()
    found.request = GenerationRequest(spec=spec, **request)  # type: ignore[attr-defined]
    return cast("Generation", found)


def text_event(index: int, text: str, end: SequenceEnd | None = None) -> OutputEvent:
    return OutputEvent(index, Output(text), 1, end)


def decoded(chunks: bytes) -> list[dict[str, Any]]:
    blocks = chunks.decode().split("\n\n")
    assert blocks.pop() == ""
    assert all(block.startswith("data: ") for block in blocks)
    return [msgspec.json.decode(block.removeprefix("data: ")) for block in blocks]


def deltas(chunks: bytes) -> list[dict[str, Any]]:
    return [chunk["choices"][0]["delta"] for chunk in decoded(chunks)]


def test_a_chat_stream() -> None:
    encoder = CompletionStream(CHAT, served(), PLAIN)
    assert encoder.encode([text_event(0, 'a"\n')]) == (
        HEAD
        + b'"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}'
        b"\n\n" + HEAD + b'"choices":[{"index":0,"delta":{"content":"a\\"\\n"},"logprobs":null,"finish_reason":null}]}'
        b"\n\n"
    )
    assert encoder.encode([text_event(0, "b", END)]) == (
        HEAD
        + b'"choices":[{"index":0,"delta":{"content":"b"},"logprobs":null,"finish_reason":null}]}\n\n'
        + HEAD
        + b'"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"timings":'
        + TIMINGS
        + b"}\n\n"
    )
    assert encoder.tail() == b"data: [DONE]\n\n"


def test_a_chat_stream_with_usage_has_null_before_and_the_figures_in_a_chunk_without_choices() -> None:
    encoder = CompletionStream(CHAT, served(), StreamOptions(includes_usage=True))
    chunks = encoder.encode([text_event(0, "", END)])
    assert chunks == (
        HEAD
        + b'"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],'
        b'"usage":null}\n\n'
        + HEAD
        + b'"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null,"timings":'
        + TIMINGS
        + b"}\n\n"
    )
    assert encoder.tail() == (
        HEAD + b'"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":3,"total_tokens":13,'
        b'"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":0}},"timings":'
        + TIMINGS
        + b"}\n\ndata: [DONE]\n\n"
    )


def test_a_text_stream_of_two_prompts() -> None:
    encoder = CompletionStream(TEXT, served(), PLAIN)
    assert encoder.encode([text_event(1, "x"), text_event(0, "y", END)]) == (
        TEXT_HEAD
        + b'"choices":[{"index":1,"text":"x","logprobs":null,"finish_reason":null}]}\n\n'
        + TEXT_HEAD
        + b'"choices":[{"index":0,"text":"y","logprobs":null,"finish_reason":null}]}\n\n'
        + TEXT_HEAD
        + b'"choices":[{"index":0,"text":"","logprobs":null,"finish_reason":"stop"}],"timings":'
        + TIMINGS
        + b"}\n\n"
    )


def test_choices_of_one_prompt_interleave_and_count_the_prompt_once() -> None:
    encoder = CompletionStream(CHAT, served(num_choices=2), StreamOptions(includes_usage=True))
    chunks = encoder.encode([text_event(1, "b"), text_event(0, "a"), text_event(1, "", END), text_event(0, "", END)])
    shown = [(c["choices"][0]["index"], c["choices"][0]["delta"].get("content")) for c in decoded(chunks)]
    assert shown == [(1, ""), (1, "b"), (0, ""), (0, "a"), (1, None), (0, None)]
    usage = decoded(encoder.tail().removesuffix(b"data: [DONE]\n\n"))[0]["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]) == (10, 6, 16)


def test_reasoning_comes_in_a_field_of_its_own_before_the_text() -> None:
    encoder = CompletionStream(CHAT, served(), PLAIN)
    chunks = encoder.encode([OutputEvent(0, Output("so", "hm"), 2)])
    assert deltas(chunks) == [{"role": "assistant", "content": ""}, {"reasoning_content": "hm"}, {"content": "so"}]


G = {"name": "g", "arguments": "{}"}


def test_tool_calls_have_id_type_and_name_in_their_first_fragment_only() -> None:
    calls = (
        ToolCallDelta(0, "call_1", "f", ""),
        ToolCallDelta(0, arguments='{"a":'),
        ToolCallDelta(0, arguments="1}"),
        ToolCallDelta(1, "call_2", "g", "{}"),
    )
    tools = OutputSpec(tools=ToolUse((Tool("f", {}), Tool("g", {}))))
    encoder = CompletionStream(CHAT, served(output=tools), PLAIN)
    end = SequenceEnd("tool_calls", END.usage, END.timings)
    chunks = encoder.encode([OutputEvent(0, Output(tool_calls=calls), 4, end)])
    assert deltas(chunks) == [
        {"role": "assistant", "content": None},
        {"tool_calls": [{"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"a":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
        {
            "tool_calls": [
                {"index": 1, "id": "call_2", "type": "function", "function": {"name": "g", "arguments": "{}"}}
            ]
        },
        {},
    ]
    assert decoded(chunks)[-1]["choices"][0]["finish_reason"] == "tool_calls"


ONE = PositionLogprobs(TokenLogprob(1, b"a", -0.5), (TokenLogprob(1, b"a", -0.5), TokenLogprob(2, b"\xe2", -1.5)))
TWO = PositionLogprobs(TokenLogprob(3, b"bc", -0.25))


def test_log_probabilities_come_with_the_text_of_their_tokens_once() -> None:
    encoder = CompletionStream(CHAT, served(sampling=SamplingParams(num_logprobs=2)), PLAIN)
    chunks = decoded(
        encoder.encode([OutputEvent(0, Output("a", "t", logprobs=(ONE,)), 1), OutputEvent(0, Output(logprobs=(TWO,)))])
    )
    choices = [chunk["choices"][0] for chunk in chunks]
    assert [choice["delta"] for choice in choices] == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "t"},
        {"content": "a"},
        {"content": ""},
    ]
    told = [choice["logprobs"] for choice in choices]
    assert told[0] is told[2] is None
    assert [entry["token"] for entry in told[1]["content"] + told[3]["content"]] == ["a", "bc"]


def test_offsets_run_through_the_chunks_of_a_text_completion() -> None:
    encoder = CompletionStream(TEXT, served(sampling=SamplingParams(num_logprobs=0)), PLAIN)
    events = [OutputEvent(0, Output("a", logprobs=(ONE,)), 1), OutputEvent(0, Output("bc", logprobs=(TWO, ONE)), 2)]
    told = [chunk["choices"][0]["logprobs"]["text_offset"] for chunk in decoded(encoder.encode([*events]))]
    assert told == [[0], [1, 3]]


def test_an_echo_comes_first_in_every_choice_of_its_prompt() -> None:
    generation = served(num_choices=2, prompts=(TextPrompt("p"), TextPrompt("q")))
    encoder = CompletionStream(TEXT, generation, PLAIN)
    events: list[GenerationEvent] = [
        PromptEvent(3, 0, "q", ()),
        text_event(3, "x"),
        PromptEvent(0, 0, "p", ()),
        text_event(0, "y"),
    ]
    chunks = decoded(encoder.encode([*events, text_event(3, "z")]))
    shown = [(chunk["choices"][0]["index"], chunk["choices"][0]["text"]) for chunk in chunks]
    assert shown == [(3, "q"), (3, "x"), (0, "p"), (0, "y"), (3, "z")]


def test_log_probabilities_of_an_echo_come_as_they_are_computed() -> None:
    encoder = CompletionStream(TEXT, served(sampling=SamplingParams(num_logprobs=0)), PLAIN)
    pieces: list[GenerationEvent] = [
        PromptEvent(0, 0, "abc", (PromptToken(1, b"ab"),)),
        PromptEvent(0, 1, "", (PromptToken(2, b"c", -1.0, 2),)),
    ]
    chunks = decoded(encoder.encode([*pieces, OutputEvent(0, Output("bc", logprobs=(TWO,)), 1)]))
    choices = [chunk["choices"][0] for chunk in chunks]
    assert [choice["text"] for choice in choices] == ["abc", "", "bc"]
    assert [choice["logprobs"]["token_logprobs"] for choice in choices] == [[None], [-1.0], [-0.25]]
    assert [choice["logprobs"]["text_offset"] for choice in choices] == [[0], [2], [3]]


def test_usage_grows_with_every_chunk_where_it_is_wanted() -> None:
    options = StreamOptions(includes_usage=True, has_running_usage=True)
    encoder = CompletionStream(CHAT, served(), options)
    events: list[GenerationEvent] = [
        ProgressEvent(0, 10, 10, 4),
        OutputEvent(0, Output("a"), 1),
        OutputEvent(0, Output("b"), 1),
        OutputEvent(0, Output("c"), 0, END),
    ]
    chunks = decoded(encoder.encode(events))
    told = [
        chunk["usage"] and (chunk["usage"]["prompt_tokens"], chunk["usage"]["completion_tokens"]) for chunk in chunks
    ]
    assert told == [None, (10, 1), (10, 2), (10, 3), (10, 3)]


def test_token_ids_come_with_the_end() -> None:
    end = msgspec.structs.replace(END, token_ids=[*range(13)])
    for head in (CHAT, TEXT):
        encoder = CompletionStream(head, served(), StreamOptions(has_token_ids=True))
        *others, last = decoded(encoder.encode([OutputEvent(0, Output("a"), 1), OutputEvent(0, Output(), 0, end)]))
        assert all("token_ids" not in chunk["choices"][0] for chunk in others)
        assert last["choices"][0]["token_ids"] == [10, 11, 12]
        assert (last if head is CHAT else last["choices"][0])["prompt_token_ids"] == [*range(10)]


def test_prompt_progress_is_llama_servers_and_ends_at_the_total() -> None:
    clock = itertools.count(100.0, 0.5)
    encoder = CompletionStream(CHAT, served(), StreamOptions(has_progress=True), clock=lambda: next(clock))
    chunks = encoder.encode([ProgressEvent(0, 0, 10, 0), ProgressEvent(0, 6, 10, 2)])
    assert chunks.startswith(
        HEAD + b'"choices":[{"index":0,"delta":{"role":"assistant","content":null},"logprobs":null,'
        b'"finish_reason":null}],"prompt_progress":{"total":10,"cache":2,"processed":2,"time_ms":'
    )
    later = decoded(encoder.encode([text_event(0, "a")]))
    progress = [chunk["prompt_progress"] for chunk in decoded(chunks) + later[:1]]
    assert [(p["total"], p["cache"], p["processed"]) for p in progress] == [(10, 2, 2), (10, 2, 6), (10, 2, 10)]
    assert [p["time_ms"] for p in progress] == sorted(p["time_ms"] for p in progress)
    assert [chunk["choices"][0]["delta"] for chunk in later[1:]] == [{"content": "a"}], "the role was there already"


def test_progress_is_told_once_per_prompt_and_only_when_wanted() -> None:
    quiet = CompletionStream(CHAT, served(), PLAIN)
    assert quiet.encode([ProgressEvent(0, 1, 2, 0)]) == b""
    encoder = CompletionStream(CHAT, served(num_choices=2), StreamOptions(has_progress=True))
    chunks = decoded(encoder.encode([ProgressEvent(0, 1, 2, 0), ProgressEvent(1, 1, 2, 0)]))
    assert [(c["choices"][0]["index"], c["prompt_progress"]["processed"]) for c in chunks] == [(0, 0), (0, 1)]


def test_timings_in_every_chunk_count_up() -> None:
    now = [0.0]
    encoder = CompletionStream(CHAT, served(), StreamOptions(has_timings=True), clock=lambda: now[0])
    encoder.encode([ProgressEvent(0, 0, 10, 0)])
    now[0] = 0.1
    first = decoded(encoder.encode([text_event(0, "a")]))[-1]["timings"]
    now[0] = 0.3
    second = decoded(encoder.encode([text_event(0, "b")]))[-1]["timings"]
    assert (first["prompt_n"], first["prompt_ms"], first["predicted_n"]) == (10, 100.0, 1)
    assert first["predicted_per_second"] is None
    assert (second["predicted_n"], second["predicted_ms"], second["predicted_per_second"]) == (2, 200.0, 5.0)
    last = decoded(encoder.encode([text_event(0, "", END)]))[-1]["timings"]
    assert last == msgspec.json.decode(TIMINGS)
