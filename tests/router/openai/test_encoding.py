"""Golden bytes: what goes over the wire, to the letter."""

from typing import Any, cast

import msgspec

from backends.messages import SequenceTimings, Usage
from router.generation import Generation, SequenceEnd, TextEvent
from router.openai.encoding import AnswerHead, StreamEncoder, full_answer, timings_of, usage_of
from router.targets import Choice, EngineReason, Target

CHAT = AnswerHead(answer_id="chatcmpl-1", created=7, model="m", is_chat=True)
TEXT = AnswerHead(answer_id="cmpl-1", created=7, model="m", is_chat=False)
END = SequenceEnd("stop", Usage(10, 4, 3), SequenceTimings(1.0, 12.0, 8.0))
TIMINGS = (
    b'{"cache_n":4,"prompt_n":6,"prompt_ms":12.0,"prompt_per_token_ms":2.0,"prompt_per_second":500.0,'
    b'"predicted_n":3,"predicted_ms":8.0,"predicted_per_token_ms":4.0,"predicted_per_second":250.0,'
    b'"engine":"mlx","engine_reason":"request","load_ms":5.0,"queue_ms":3.0}'
)
HEAD = b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,"model":"m",'
TEXT_HEAD = b'data: {"id":"cmpl-1","object":"text_completion","created":7,"model":"m",'


class Served:
    """What the encoders read of a generation."""

    choice = Choice(Target("m", "mlx", 1, "/m"), EngineReason.REQUEST)
    queue_ms = 2.0
    load_ms = 5.0


SERVED = cast("Generation", Served())


def test_a_chat_stream() -> None:
    encoder = StreamEncoder(CHAT, SERVED, includes_usage=False)
    assert encoder.encode([TextEvent(0, 'a"\n')]) == (
        HEAD
        + b'"choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}'
        b"\n\n" + HEAD + b'"choices":[{"index":0,"delta":{"content":"a\\"\\n"},"logprobs":null,"finish_reason":null}]}'
        b"\n\n"
    )
    assert encoder.encode([TextEvent(0, "b", END)]) == (
        HEAD
        + b'"choices":[{"index":0,"delta":{"content":"b"},"logprobs":null,"finish_reason":null}]}\n\n'
        + HEAD
        + b'"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"timings":'
        + TIMINGS
        + b"}\n\n"
    )
    assert encoder.tail() == b"data: [DONE]\n\n"


def test_a_chat_stream_with_usage_has_null_before_and_the_figures_in_a_chunk_without_choices() -> None:
    encoder = StreamEncoder(CHAT, SERVED, includes_usage=True)
    chunks = encoder.encode([TextEvent(0, "", END)])
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
        b'"prompt_tokens_details":{"cached_tokens":4}}}\n\ndata: [DONE]\n\n'
    )


def test_a_text_stream_of_two_prompts() -> None:
    encoder = StreamEncoder(TEXT, SERVED, includes_usage=False)
    assert encoder.encode([TextEvent(1, "x"), TextEvent(0, "y", END)]) == (
        TEXT_HEAD
        + b'"choices":[{"index":1,"text":"x","logprobs":null,"finish_reason":null}]}\n\n'
        + TEXT_HEAD
        + b'"choices":[{"index":0,"text":"y","logprobs":null,"finish_reason":null}]}\n\n'
        + TEXT_HEAD
        + b'"choices":[{"index":0,"text":"","logprobs":null,"finish_reason":"stop"}],"timings":'
        + TIMINGS
        + b"}\n\n"
    )


def test_whole_answers() -> None:
    usage = (
        b'"usage":{"prompt_tokens":10,"completion_tokens":3,"total_tokens":13,'
        b'"prompt_tokens_details":{"cached_tokens":4}},"timings":' + TIMINGS + b"}"
    )
    assert full_answer(CHAT, SERVED, ["ab"], [END]) == (
        b'{"id":"chatcmpl-1","object":"chat.completion","created":7,"model":"m","choices":[{"index":0,"message":'
        b'{"role":"assistant","content":"ab","refusal":null},"logprobs":null,"finish_reason":"stop"}],' + usage
    )
    assert full_answer(TEXT, SERVED, ["ab"], [END]) == (
        b'{"id":"cmpl-1","object":"text_completion","created":7,"model":"m","choices":[{"index":0,"text":"ab",'
        b'"logprobs":null,"finish_reason":"stop"}],' + usage
    )


def test_several_sequences_add_up() -> None:
    assert usage_of([END, END])["total_tokens"] == 26
    timings = timings_of([END, END], SERVED)
    assert (timings["predicted_n"], timings["predicted_ms"], timings["predicted_per_second"]) == (6, 16.0, 250.0)


def test_a_rate_without_a_measured_time_is_absent() -> None:
    one_token = SequenceEnd("length", Usage(1, 1, 1), SequenceTimings(0.0, 0.0, 0.0))
    timings: dict[str, Any] = timings_of([one_token], SERVED)
    for name in ("prompt_per_token_ms", "prompt_per_second", "predicted_per_token_ms", "predicted_per_second"):
        assert timings[name] is None


def test_heads_are_unique_and_say_what_they_are() -> None:
    assert AnswerHead.new("m", is_chat=True).answer_id.startswith("chatcmpl-")
    assert AnswerHead.new("m", is_chat=False).answer_id.startswith("cmpl-")
    assert len({AnswerHead.new("m", is_chat=True).answer_id for _ in range(100)}) == 100
    assert msgspec.json.decode(msgspec.json.encode(AnswerHead.new("a\x1b", is_chat=True).body("x")))["model"] == "a\x1b"
