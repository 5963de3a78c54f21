import msgspec
import pytest

from backends.wire.messages import SequenceEnd, SequenceTimings, Usage
from backends.wire.output import Output, PositionLogprobs, TokenLogprob, ToolCallDelta
from router.errors import EngineCrashedError
from router.requests.collected import CallPart, CollectedOutput, WholeAnswer
from router.requests.generation import OutputEvent, ProgressEvent

END = SequenceEnd("stop", Usage(1, 0, 1), SequenceTimings(0.0, 0.0, 0.0))


def collected(*outputs: Output) -> CollectedOutput:
    found = CollectedOutput()
    for output in outputs:
        found.add(OutputEvent(0, output, 1))
    return found


def parts(*outputs: Output) -> list[tuple[str, str]]:
    return [(part.kind, part.text) for part in collected(*outputs).parts]


def test_pieces_join_to_parts_in_the_order_in_which_they_were_written() -> None:
    call = ToolCallDelta(0, "c", "f", "{")
    rest = ToolCallDelta(0, arguments="}")
    outputs = (Output(reasoning="h"), Output("a", "m", (call,)), Output(tool_calls=(rest,)), Output("b"), Output("c"))
    assert parts(*outputs) == [("reasoning", "hm"), ("text", "a"), ("call", "{}"), ("text", "bc")]
    found = collected(*outputs)
    assert (found.text, found.reasoning) == ("abc", "hm")
    assert found.calls == {0: CallPart("call", ["{", "}"], 0, "c", "f")}


def test_the_rest_of_a_call_comes_before_the_text_behind_it() -> None:
    begun = Output(tool_calls=(ToolCallDelta(0, "c", "f", "{"),))
    ended = Output("so", tool_calls=(ToolCallDelta(0, arguments="}"), ToolCallDelta(1, "d", "g", "{}")))
    assert parts(begun, ended) == [("call", "{}"), ("text", "so"), ("call", "{}")]


def test_fragments_of_a_new_call_in_one_output_are_one_call() -> None:
    fragments = (ToolCallDelta(0, "c", "f"), ToolCallDelta(0, arguments='{"a"'), ToolCallDelta(0, arguments=":1}"))
    assert parts(Output(tool_calls=fragments)) == [("call", '{"a":1}')]


def test_log_probabilities_and_the_end_are_kept() -> None:
    found = collected(Output("a", logprobs=(PositionLogprobs(TokenLogprob(1, b"a", -0.5)),)))
    with pytest.raises(EngineCrashedError):
        _ = found.end
    found.add(OutputEvent(0, Output(), 0, END))
    assert found.end is END
    assert [each.drawn.piece for each in found.logprobs] == [b"a"]


class Texts(msgspec.Struct):
    texts: list[str]


def test_a_whole_answer_is_made_of_each_sequences_output_when_all_have_ended() -> None:
    def write(outputs: list[CollectedOutput]) -> Texts:
        assert all(output.end for output in outputs)
        return Texts([output.text for output in outputs])

    answer = WholeAnswer(2, write)
    assert (
        answer.encode([ProgressEvent(0, 1, 1, 0), OutputEvent(1, Output("b"), 1), OutputEvent(0, Output("a"))]) == b""
    )
    answer.encode([OutputEvent(1, Output(), 0, END)])
    with pytest.raises(EngineCrashedError):
        answer.tail()
    answer.encode([OutputEvent(0, Output("!"), 0, END)])
    assert answer.tail() == b'{"texts":["a!","b"]}'
