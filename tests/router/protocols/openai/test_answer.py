import math
from typing import Any

import msgspec

from backends.wire.messages import SequenceEnd, SequenceTimings, Usage
from backends.wire.output import Output, PositionLogprobs, PromptToken, TokenLogprob, ToolCallDelta
from backends.wire.prompts import TextPrompt
from backends.wire.request import SamplingParams
from router.protocols.fields.logprobs import FLOOR
from router.protocols.openai.answer import (
    NOTHING_MORE,
    CompletionHead,
    PromptParts,
    TextLogprobsWriter,
    completion_of,
    timings_of,
    usage_of,
)
from router.requests.collected import CollectedOutput
from router.requests.generation import Generation, OutputEvent, PromptEvent
from tests.router.protocols.openai.test_encoding import CHAT, END, TEXT, TIMINGS, served


def collected(*outputs: Output) -> CollectedOutput:
    found = CollectedOutput()
    for output in outputs:
        found.add(OutputEvent(0, output))
    found.add(OutputEvent(0, Output(), 0, END))
    return found


def full_answer(
    head: CompletionHead,
    generation: Generation,
    outputs: list[CollectedOutput],
    wanted: PromptParts = NOTHING_MORE,
) -> bytes:
    return msgspec.json.encode(completion_of(head, generation, outputs, wanted))


def message(*outputs: Output) -> dict[str, Any]:
    body = msgspec.json.decode(full_answer(CHAT, served(), [collected(*outputs)]))
    found: dict[str, Any] = body["choices"][0]["message"]
    return found


def test_whole_answers_to_the_letter() -> None:
    usage = (
        b'"usage":{"prompt_tokens":10,"completion_tokens":3,"total_tokens":13,"prompt_tokens_details":'
        b'{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":0}},"timings":' + TIMINGS + b"}"
    )
    texts = [collected(Output("a"), Output("b"))]
    assert full_answer(CHAT, served(), texts) == (
        b'{"id":"chatcmpl-1","object":"chat.completion","created":7,"model":"m","choices":[{"index":0,"message":'
        b'{"role":"assistant","content":"ab","refusal":null},"logprobs":null,"finish_reason":"stop"}],' + usage
    )
    assert full_answer(TEXT, served(), texts) == (
        b'{"id":"cmpl-1","object":"text_completion","created":7,"model":"m","choices":[{"index":0,"text":"ab",'
        b'"logprobs":null,"finish_reason":"stop"}],' + usage
    )


def test_fragments_join_to_reasoning_and_to_whole_calls() -> None:
    found = message(
        Output(reasoning="h"),
        Output(reasoning="m"),
        Output(tool_calls=(ToolCallDelta(1, "call_b", "g", "{}"), ToolCallDelta(0, "call_a", "f", '{"x"'))),
        Output(tool_calls=(ToolCallDelta(0, arguments=":1}"),)),
    )
    assert found == {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "reasoning_content": "hm",
        "tool_calls": [
            {"id": "call_a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
            {"id": "call_b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ],
    }


def test_text_beside_calls_stays_and_an_empty_answer_is_an_empty_text() -> None:
    assert message(Output("so", tool_calls=(ToolCallDelta(0, "c", "f", "{}"),)))["content"] == "so"
    assert message(Output()) == {"role": "assistant", "content": "", "refusal": None}


def test_log_probabilities_are_there_when_asked_for_even_if_there_are_none() -> None:
    position = PositionLogprobs(TokenLogprob(1, b"a", -0.5))
    generation = served(sampling=SamplingParams(num_logprobs=0))
    body = msgspec.json.decode(full_answer(CHAT, generation, [collected(Output("a", logprobs=(position,)))]))
    assert body["choices"][0]["logprobs"]["content"][0]["logprob"] == -0.5
    empty = msgspec.json.decode(full_answer(CHAT, generation, [collected()]))
    assert empty["choices"][0]["logprobs"] == {"content": [], "refusal": None}


def test_an_echo_stands_before_each_answer_of_its_prompt() -> None:
    generation = served(num_choices=2, prompts=(TextPrompt("p"), TextPrompt("q")))
    texts = [collected(Output(letter)) for letter in "abcd"]
    for index, echo in ((0, "p"), (2, "q")):
        texts[index].add_prompt(PromptEvent(index, 0, echo, ()))
    body = msgspec.json.decode(full_answer(TEXT, generation, texts))
    assert [choice["text"] for choice in body["choices"]] == ["pa", "pb", "qc", "qd"]


def test_answers_add_up_and_each_prompt_counts_once() -> None:
    thinking = SequenceEnd("stop", Usage(10, 4, 3, 2), END.timings)
    two_prompts = usage_of([thinking, END])
    assert two_prompts.total_tokens == 26
    assert two_prompts.completion_tokens_details.reasoning_tokens == 2
    one_prompt = usage_of([END] * 4, num_choices=4)
    assert (one_prompt.prompt_tokens, one_prompt.completion_tokens) == (10, 12)
    assert one_prompt.prompt_tokens_details.cached_tokens == 4
    timings = timings_of([END, END], served())
    assert (timings.predicted_n, timings.predicted_ms, timings.predicted_per_second) == (6, 16.0, 250.0)
    assert timings_of([END, END], served(), num_choices=2).prompt_n == 6


def test_drafts_are_told_where_there_were_any() -> None:
    drafted = SequenceEnd("stop", Usage(10, 4, 30, num_drafted_tokens=12, num_accepted_tokens=9), END.timings)
    timings = timings_of([drafted, END], served())
    assert (timings.draft_n, timings.draft_n_accepted) == (12, 9)
    assert b"draft_n_model" not in msgspec.json.encode(timings)
    by_model = SequenceEnd("stop", Usage(10, 4, 30, 0, 0, 12, 9, 8, 5), END.timings)
    timings = timings_of([by_model, drafted], served())
    assert (timings.draft_n, timings.draft_n_model, timings.draft_n_model_accepted) == (24, 8, 5)
    assert b"draft_n" not in msgspec.json.encode(timings_of([END], served()))


def test_a_rate_without_a_measured_time_is_absent() -> None:
    one_token = SequenceEnd("length", Usage(1, 1, 1), SequenceTimings(0.0, 0.0, 0.0))
    timings = timings_of([one_token], served())
    for name in ("prompt_per_token_ms", "prompt_per_second", "predicted_per_token_ms", "predicted_per_second"):
        assert getattr(timings, name) is None


def test_heads_are_unique_and_say_what_they_are() -> None:
    assert CompletionHead.new("m", is_chat=True).answer_id.startswith("chatcmpl-")
    assert CompletionHead.new("m", is_chat=False).answer_id.startswith("cmpl-")
    assert len({CompletionHead.new("m", is_chat=True).answer_id for _ in range(100)}) == 100


def position(piece: bytes, *top: tuple[bytes, float]) -> PositionLogprobs:
    tokens = tuple(TokenLogprob(index, each, logprob) for index, (each, logprob) in enumerate(top))
    return PositionLogprobs(TokenLogprob(9, piece, -0.5), tokens)


def test_log_probabilities_of_texts_have_the_drawn_token_among_the_likeliest() -> None:
    assert msgspec.to_builtins(TextLogprobsWriter().write([position(b"a", (b"b", -0.25)), position(b"xy")])) == {
        "tokens": ["a", "xy"],
        "token_logprobs": [-0.5, -0.5],
        "top_logprobs": [{"a": -0.5, "b": -0.25}, {"xy": -0.5}],
        "text_offset": [0, 1],
    }
    impossible = PositionLogprobs(TokenLogprob(1, b"a", -math.inf), (TokenLogprob(1, b"a", -math.inf),))
    assert TextLogprobsWriter().write([impossible]).top_logprobs == [{"a": FLOOR}]


def test_offsets_count_characters_even_where_tokens_cut_them() -> None:
    writer, euro = TextLogprobsWriter(), "€".encode()
    first = writer.write([position(b"a"), position(euro[:2])])
    second = writer.write([position(euro[2:]), position(b"b")])
    assert first.text_offset + second.text_offset == [0, 1, 1, 2]


SCORED = (
    PromptToken(7, b"a"),
    PromptToken(8, b"b", -2.0, 3, (TokenLogprob(5, b"x", -0.5), TokenLogprob(8, b"b", -2.0))),
)


def test_an_echo_with_log_probabilities_has_those_of_the_prompt_first() -> None:
    shown = TextLogprobsWriter(1).write([position(b"c")], SCORED)
    assert msgspec.to_builtins(shown) == {
        "tokens": ["a", "b", "c"],
        "token_logprobs": [None, -2.0, -0.5],
        "top_logprobs": [None, {"b": -2.0, "x": -0.5}, {"c": -0.5}],
        "text_offset": [0, 1, 2],
    }


def test_log_probabilities_of_the_prompt_are_in_the_choice_of_a_text_and_at_the_top_of_a_chat() -> None:
    output = collected(Output("c"))
    output.add_prompt(PromptEvent(0, 0, "", SCORED[:1]))
    output.add_prompt(PromptEvent(0, 1, "", SCORED[1:]))
    expected = [
        None,
        {
            "8": {"logprob": -2.0, "rank": 3, "decoded_token": "b"},
            "5": {"logprob": -0.5, "rank": 1, "decoded_token": "x"},
        },
    ]
    text = msgspec.json.decode(full_answer(TEXT, served(), [output], PromptParts(1)))
    assert text["choices"][0]["prompt_logprobs"] == expected
    assert text["choices"][0]["text"] == "c", "no echo was wanted"
    chat = msgspec.json.decode(full_answer(CHAT, served(), [output], PromptParts(2)))
    assert chat["prompt_logprobs"] == expected
