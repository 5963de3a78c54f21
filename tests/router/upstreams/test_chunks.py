"""An upstream's stream as an answer: any cut of its bytes, any garbage in it, and one end."""

import contextlib
import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.messages import SequenceTimings
from backends.wire.output import Output
from router.errors import UpstreamError
from router.upstreams.chunks import Answer
from router.upstreams.lines import MAX_LINE_BYTES, Lines, event_data
from tests.support.scripted_upstream import chunk, usage

NO_TIME = SequenceTimings(0.0, 0.0, 0.0)
STREAM = b"".join(
    b"data: " + json.dumps(each).encode() + end
    for each, end in [
        (chunk(content="Grüße, "), b"\n\n"),
        (chunk(content="日本"), b"\r\n\r\n"),
        (chunk("stop"), b"\n\n"),
        (usage(4, 2), b"\n\n"),
    ]
)


def taken(answer: Answer, *pieces: bytes) -> list[Output]:
    lines = Lines()
    data = [event_data(line) for piece in pieces for line in lines.feed(piece)]
    outputs = [None if each is None else answer.take(each) for each in data]
    return [output for output in outputs if output is not None]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_however_the_bytes_are_cut_the_answer_is_the_same(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    answer = Answer()
    outputs = taken(answer, *(STREAM[a:b] for a, b in itertools.pairwise(places)))
    assert [each.text for each in outputs] == ["Grüße, ", "日本"]
    end = answer.end(NO_TIME)
    assert (end.reason, end.usage.num_prompt_tokens, end.usage.num_output_tokens) == ("stop", 4, 2)


_KEYS = ("choices", "delta", "content", "tool_calls", "function", "name", "index", "id", "usage", "error")
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=4) | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "delta", "content", "tool_calls", "function", "name", "index", "id", "usage", "error"]
            )
            | st.text(max_size=2),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.lists(_JSON, max_size=4))
def test_whatever_json_comes_the_answer_ends_well_or_in_an_error_of_ours(chunks: list[Any]) -> None:
    answer = Answer()
    with contextlib.suppress(UpstreamError):
        for each in chunks:
            answer.take(json.dumps(each).encode())
        answer.end(NO_TIME)


@pytest.mark.parametrize("data", [b"{", b"\xff", b"nothing", b"[]", b"3", b'{"choices": 3}', b'{"choices": [3]}'])
def test_what_is_no_chunk_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(UpstreamError, match="it has sent"):
        Answer().take(data)


def test_an_answer_without_a_reason_for_its_end_has_been_cut() -> None:
    answer = Answer()
    taken(answer, b"data: " + json.dumps(chunk(content="a")).encode() + b"\n")
    with pytest.raises(UpstreamError, match="in the middle of the answer"):
        answer.end(NO_TIME)
    assert answer.is_cut


def test_a_reason_that_nobody_knows_is_said() -> None:
    answer = Answer()
    answer.take(json.dumps(chunk("content_filter")).encode())
    with pytest.raises(UpstreamError, match="content_filter"):
        answer.end(NO_TIME)


def test_fragments_of_calls_find_their_call_also_without_an_index() -> None:
    answer = Answer({"look_": "look"})

    def call(**fields: Any) -> Any:
        output = answer.take(json.dumps(chunk(tool_calls=[fields])).encode())
        assert output is not None
        return output.tool_calls[0]

    first = call(id="a", function={"name": "look_", "arguments": "{"})
    assert (first.index, first.call_id, first.name) == (0, "a", "look")
    assert call(function={"arguments": "}"}).index == 0
    second = call(function={"name": "go", "arguments": {"x": 1}})
    assert (second.index, second.name, second.arguments) == (1, "go", '{"x":1}')
    assert second.call_id.startswith("call_")
    answer.take(json.dumps(chunk("stop")).encode())
    assert answer.end(NO_TIME).reason == "tool_calls"


@pytest.mark.parametrize(("reason", "is_error"), [("tool_calls", True), ("length", False)])
def test_arguments_that_are_no_object_end_in_an_error_unless_they_were_cut(reason: str, is_error: bool) -> None:  # noqa: FBT001
    answer = Answer()
    answer.take(json.dumps(chunk(tool_calls=[{"id": "a", "function": {"name": "f", "arguments": '{"a'}}])).encode())
    answer.take(json.dumps(chunk(reason)).encode())
    if is_error:
        with pytest.raises(UpstreamError, match="no JSON object"):
            answer.end(NO_TIME)
    else:
        assert answer.end(NO_TIME).reason == "length"


def test_counts_that_contradict_each_other_stay_possible() -> None:
    answer = Answer()
    counts = {"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 9}}
    answer.take(json.dumps({"choices": [], "usage": counts}).encode())
    assert answer.usage is not None
    assert (answer.usage.num_cached_tokens, answer.usage.num_prompt_tokens) == (3, 3)


def test_likelihoods_have_either_form() -> None:
    top = {"token": "b", "logprob": -2.0}
    position = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [top]}
    chat = {"choices": [{"delta": {"content": "a"}, "logprobs": {"content": [position]}}]}
    text = {
        "choices": [
            {"text": "a", "logprobs": {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": [{"b": -2.0}]}}
        ]
    }
    for body in (chat, text):
        output = Answer().take(json.dumps(body).encode())
        assert output is not None
        (found,) = output.logprobs
        assert (found.drawn.piece, found.drawn.logprob, found.top[0].piece) == (b"a", -0.5, b"b")


def test_a_line_that_does_not_end_is_refused() -> None:
    lines = Lines()
    assert list(lines.feed(b"x" * MAX_LINE_BYTES)) == []
    with pytest.raises(UpstreamError, match="does not end"):
        list(lines.feed(b"x"))
