"""Content blocks from outputs that may be cut anywhere."""

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.output import Output, ToolCallDelta
from router.protocols.anthropic.answer_schemas import (
    BlockEvent,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
)
from router.protocols.anthropic.blocks import BlockWriter, blocks_of
from router.requests.collected import CollectedOutput
from router.requests.generation import OutputEvent
from tests.support.anthropic_stream import content_of

CALL = Output(tool_calls=(ToolCallDelta(0, "call_1", "weather"), ToolCallDelta(0, arguments='{"town": "Bern"}')))
SECOND = Output(tool_calls=(ToolCallDelta(1, "call_2", "weather"), ToolCallDelta(1, arguments="{}")))
ANSWER = [Output(reasoning="hm, well"), Output("Let me look."), CALL, SECOND, Output("Done.")]


def events_of(outputs: list[Output], **options: bool) -> list[BlockEvent]:
    writer = BlockWriter(**options)
    return [event for output in outputs for event in writer.write(output)] + writer.finish()


def streamed(outputs: list[Output], **options: bool) -> list[dict[str, Any]]:
    return content_of(msgspec.to_builtins(events_of(outputs, **options)))


def whole(outputs: list[Output], **options: bool) -> list[dict[str, Any]]:
    collected = CollectedOutput()
    for output in outputs:
        collected.add(OutputEvent(0, output))
    blocks: list[dict[str, Any]] = msgspec.to_builtins(blocks_of(collected, **options))
    return blocks


def pieces_of(output: Output, size: int) -> list[Output]:
    """Cut an output into pieces of `size` characters."""

    def cut(text: str) -> list[str]:
        return [text[start : start + size] for start in range(0, len(text), size)]

    if output.reasoning:
        return [Output(reasoning=piece) for piece in cut(output.reasoning)]
    if output.text:
        return [Output(piece) for piece in cut(output.text)]
    head, arguments = output.tool_calls
    pieces = [ToolCallDelta(head.index, arguments=piece) for piece in cut(arguments.arguments)]
    return [Output(tool_calls=(call,)) for call in (head, *pieces)]


def merged(outputs: list[Output], borders: list[bool]) -> list[Output]:
    """Put neighbours together as a worker does that was read late: thinking, text and calls of one look are one."""
    grouped: list[Output] = []
    for output, is_border in zip(outputs, borders, strict=True):
        last = grouped[-1] if grouped and not is_border else None
        if last is None or not can_follow(last, output):
            grouped.append(output)
        else:
            grouped[-1] = Output(
                last.text + output.text, last.reasoning + output.reasoning, last.tool_calls + output.tool_calls
            )
    return grouped


def can_follow(last: Output, output: Output) -> bool:
    """Whether one output can say both: its parts have an order, which text behind a call that began in it breaks."""
    if output.tool_calls:
        return True
    if output.text:
        return all(call.name is None for call in last.tool_calls)
    return not last.text and not last.tool_calls


def test_an_answer_has_its_blocks_in_order() -> None:
    thinking, text, first, second, last = whole(ANSWER)
    assert thinking.pop("signature").startswith("mlxr:")
    assert thinking == {"type": "thinking", "thinking": "hm, well"}
    assert text == {"type": "text", "text": "Let me look."}
    assert first == {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"town": "Bern"}}
    assert second == {"type": "tool_use", "id": "call_2", "name": "weather", "input": {}}
    assert last == {"type": "text", "text": "Done."}


@given(st.data())
def test_any_cut_gives_the_same_message_streamed_or_whole(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 8))
    pieces = [piece for output in ANSWER for piece in pieces_of(output, size)]
    borders = data.draw(st.lists(st.booleans(), min_size=len(pieces), max_size=len(pieces)))
    for answer in (pieces, merged(pieces, borders)):
        assert streamed(answer) == whole(answer) == whole(ANSWER)


@given(size=st.integers(1, 8))
def test_blocks_open_grow_and_close_one_after_the_other(size: int) -> None:
    open_block: int | None = None
    num_blocks = 0
    for event in events_of([piece for output in ANSWER for piece in pieces_of(output, size)]):
        match event:
            case ContentBlockStart(index=index):
                assert (open_block, index) == (None, num_blocks)
                open_block, num_blocks = index, num_blocks + 1
            case ContentBlockDelta(index=index, delta=delta):
                assert index == open_block
                assert all(msgspec.structs.astuple(delta))
            case ContentBlockStop(index=index):
                assert index == open_block
                open_block = None
    assert open_block is None


def test_hidden_thinking_leaves_its_signature_only() -> None:
    shown, hidden = whole(ANSWER)[0], whole(ANSWER, hides_thinking=True)[0]
    assert hidden == streamed(ANSWER, hides_thinking=True)[0] == shown | {"thinking": ""}


def test_nothing_is_no_block() -> None:
    assert events_of([Output()]) == []


def test_a_cut_call_has_what_was_complete() -> None:
    cut = Output(tool_calls=(ToolCallDelta(0, "c", "f"), ToolCallDelta(0, arguments='{"a": 1, "b": "x')))
    assert whole([cut])[0]["input"] == {"a": 1}
