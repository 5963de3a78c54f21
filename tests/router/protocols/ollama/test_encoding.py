"""Golden bytes: what goes over the wire, to the letter."""

from typing import Any, cast

import msgspec
import pytest

from backends.wire.messages import SequenceEnd, SequenceTimings, Usage
from backends.wire.output import Output, PositionLogprobs, TokenLogprob, ToolCallDelta
from router.protocols.ollama.encoding import OllamaHead, OllamaStream, whole_line
from router.requests.collected import WholeAnswer
from router.requests.generation import Generation, GenerationEvent, OutputEvent, ProgressEvent

NOW_NS = 1_700_000_000_000_000_001
HEAD = b'{"model":"m:1b","created_at":"2023-11-14T22:13:20.000000001Z",'
END = SequenceEnd("stop", Usage(10, 4, 3), SequenceTimings(1.0, 12.0, 8.5))
METRICS = (
    b'"total_duration":250000000,"load_duration":5000000,"prompt_eval_count":10,"prompt_cached_count":4,'
    b'"prompt_computed_count":6,'
    b'"prompt_eval_duration":12000000,"eval_count":3,"eval_duration":8500000}'
)
CALLS = (ToolCallDelta(0, "id0", "f", '{"a"'), ToolCallDelta(0, None, None, ":1}"), ToolCallDelta(1, "id1", "g", "{}"))
LOGPROBS = (PositionLogprobs(TokenLogprob(5, b"x", -0.5), (TokenLogprob(6, b"\xff", -1.5),)),)


class _Served:
    choice = None
    worker = None
    load_ms = 4.0
    context = None
    kept = None
    queue_ms = 1.0


SERVED = cast("Generation", _Served())


def head(*, is_chat: bool) -> OllamaHead:
    return OllamaHead(
        answer_id="ollama-1",
        model="m:1b",
        is_chat=is_chat,
        started_at=100.0,
        clock=lambda: NOW_NS,
        monotonic=lambda: 100.25,
    )


def streamed(*outputs: Output, end: SequenceEnd = END, is_chat: bool = True) -> bytes:
    encoder = OllamaStream(head(is_chat=is_chat), SERVED)
    events: list[list[GenerationEvent]] = [[OutputEvent(0, output, 1)] for output in outputs[:-1]]
    events.append([OutputEvent(0, outputs[-1], 0, end)])
    return b"".join(encoder.encode(batch) for batch in events) + encoder.tail()


def whole(*outputs: Output, end: SequenceEnd = END, is_chat: bool = True) -> Any:
    encoder = WholeAnswer(1, lambda outputs: whole_line(head(is_chat=is_chat), SERVED, outputs[0]))
    for output in outputs[:-1]:
        assert encoder.encode([OutputEvent(0, output, 1)]) == b""
    assert encoder.encode([OutputEvent(0, outputs[-1], 0, end)]) == b""
    return msgspec.json.decode(encoder.tail())


def lines(stream: bytes) -> list[dict[str, Any]]:
    assert stream.endswith(b"\n")
    return [msgspec.json.decode(line) for line in stream.splitlines()]


def test_a_chat_stream() -> None:
    assert streamed(Output('a"\n'), Output("b")) == (
        HEAD
        + b'"message":{"role":"assistant","content":"a\\"\\n"},"done":false}\n'
        + HEAD
        + b'"message":{"role":"assistant","content":"b"},"done":false}\n'
        + HEAD
        + b'"message":{"role":"assistant","content":""},"done":true,"done_reason":"stop",'
        + METRICS
        + b"\n"
    )


def test_a_text_stream_ends_with_the_context() -> None:
    end = msgspec.structs.replace(END, reason="length", token_ids=[1, 2, 3])
    assert streamed(Output("a"), Output(), end=end, is_chat=False) == (
        HEAD
        + b'"response":"a","done":false}\n'
        + HEAD
        + b'"response":"","done":true,"done_reason":"length","context":[1,2,3],'
        + METRICS
        + b"\n"
    )


def test_thoughts_stand_apart() -> None:
    first, second, _ = lines(streamed(Output("", "why"), Output("so")))
    assert first["message"] == {"role": "assistant", "content": "", "thinking": "why"}
    assert second["message"] == {"role": "assistant", "content": "so"}
    assert whole(Output("", "why"), Output("so"))["message"] == {**second["message"], "thinking": "why"}
    assert whole(Output("", "why"), Output("so"), is_chat=False)["thinking"] == "why"


def test_calls_come_whole_with_their_arguments_as_objects() -> None:
    end = msgspec.structs.replace(END, reason="tool_calls")
    parts = [Output("", tool_calls=(call,)) for call in CALLS]
    first, second, last = lines(streamed(*parts, Output(), end=end))
    calls = [
        {"id": "id0", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}},
        {"id": "id1", "function": {"index": 1, "name": "g", "arguments": {}}},
    ]
    assert first["message"] == {"role": "assistant", "content": "", "tool_calls": calls[:1]}
    assert second["message"]["tool_calls"] == calls[1:]
    assert not first["done"]
    assert not second["done"]
    assert last["done_reason"] == "stop"
    body = whole(*parts, Output(), end=end)
    assert body["message"]["tool_calls"] == calls
    assert body["done_reason"] == "stop"


def test_a_call_that_the_end_has_cut_is_told_as_text() -> None:
    end = msgspec.structs.replace(END, reason="length")
    parts = [Output("", tool_calls=CALLS[:1]), Output()]
    first, last = lines(streamed(*parts, end=end))
    assert first["message"] == {"role": "assistant", "content": '{"name": "f", "arguments": {"a"'}
    assert last["done_reason"] == "length"
    assert whole(*parts, end=end)["message"] == first["message"]


def test_tokens_are_told_once_with_the_likeliest_at_their_place() -> None:
    expected = [
        {
            "token": "x",
            "logprob": -0.5,
            "bytes": [120],
            "top_logprobs": [{"token": "bytes:\\xff", "logprob": -1.5, "bytes": [255]}],
        }
    ]
    first, second, last = lines(streamed(Output("a", "why", (), LOGPROBS), Output()))
    assert first["logprobs"] == expected
    assert "logprobs" not in second
    assert "logprobs" not in last
    silent, _ = lines(streamed(Output("", "", (), LOGPROBS), Output()))
    assert silent["logprobs"] == expected
    assert whole(Output("a"), Output("b", "", (), LOGPROBS))["logprobs"] == expected


@pytest.mark.parametrize("is_chat", [True, False])
def test_a_line_that_keeps_a_stream_alive_adds_nothing(*, is_chat: bool) -> None:
    (line,) = lines(OllamaStream(head(is_chat=is_chat), SERVED).keep_alive)
    content = {"message": {"role": "assistant", "content": ""}} if is_chat else {"response": ""}
    assert line == {"model": "m:1b", "created_at": "2023-11-14T22:13:20.000000001Z", **content, "done": False}


def test_progress_is_not_told() -> None:
    assert OllamaStream(head(is_chat=True), SERVED).encode([ProgressEvent(0, 1, 2, 0)]) == b""


def test_a_whole_answer_is_the_stream_in_one() -> None:
    body = whole(Output("a"), Output("b"))
    *parts, last = lines(streamed(Output("a"), Output("b")))
    assert body["message"]["content"] == "".join(part["message"]["content"] for part in parts)
    assert {key: value for key, value in body.items() if key != "message"} == {
        key: value for key, value in last.items() if key != "message"
    }
