"""The content blocks of an answer: what opens, grows and closes as it is generated, and whole ones. Pure."""

import base64
import hashlib
from typing import Final

from backends.wire.output import Output, ToolCallDelta
from router.protocols.anthropic.answer_schemas import (
    AnswerBlock,
    AnswerCompaction,
    AnswerText,
    AnswerThinking,
    AnswerToolUse,
    BlockEvent,
    BlockPart,
    CompactionDelta,
    ContentBlockDelta,
    ContentBlockStart,
    ContentBlockStop,
    InputJsonDelta,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
)
from router.protocols.fields.call_arguments import complete_part
from router.requests.collected import CallPart, CollectedOutput

_NO_TEXT: Final = AnswerText("")
_NO_THINKING: Final = AnswerThinking("", "")


class Signature:
    """Signs thinking: clients want that and send it back. It is a checksum, by no key: it proves nothing."""

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=24)

    def add(self, thinking: str) -> None:
        """Take in more of it."""
        self._digest.update(thinking.encode())

    @property
    def text(self) -> str:
        """As it stands in a block."""
        return "mlxr:" + base64.urlsafe_b64encode(self._digest.digest()).decode()


class BlockWriter:
    """Turns the output of one sequence into blocks, which never overlap: what comes next closes what was open.

    Args:
        hides_thinking: Whether thinking blocks are to be empty but for their signature.
    """

    def __init__(self, *, hides_thinking: bool = False) -> None:
        self._hides_thinking = hides_thinking
        self._num_blocks = 0
        self._open: AnswerBlock | None = None
        self._call_index: int | None = None
        self._signature = Signature()

    def write(self, output: Output) -> list[BlockEvent]:
        """Return what new output comes to.

        Parts of one output come in the order in which models write them: thinking, text, calls; but the rest of a call
        that is open comes before the text behind it.
        """
        events: list[BlockEvent] = []
        calls = list(output.tool_calls)
        while calls and self._is_open(calls[0]):
            self._write_call(calls.pop(0), events)
        if output.reasoning:
            self._ensure_open(_NO_THINKING, events)
            self._signature.add(output.reasoning)
            if not self._hides_thinking:
                events.append(self._delta(ThinkingDelta(output.reasoning)))
        if output.text:
            self._ensure_open(_NO_TEXT, events)
            events.append(self._delta(TextDelta(output.text)))
        for call in calls:
            self._write_call(call, events)
        return events

    def write_compaction(self, block: AnswerCompaction) -> list[BlockEvent]:
        """Return what a block comes to that is whole at once; it is the first one."""
        index, empty = self._num_blocks, AnswerCompaction(content=None, encrypted_content=None)
        self._num_blocks += 1
        delta = CompactionDelta(content=block.content, encrypted_content=block.encrypted_content)
        return [ContentBlockStart(index, empty), ContentBlockDelta(index, delta), ContentBlockStop(index)]

    def finish(self) -> list[BlockEvent]:
        """Close what is open; nothing comes any more."""
        events: list[BlockEvent] = []
        self._close(events)
        return events

    def _is_open(self, call: ToolCallDelta) -> bool:
        return isinstance(self._open, AnswerToolUse) and call.index == self._call_index

    def _write_call(self, call: ToolCallDelta, events: list[BlockEvent]) -> None:
        if not self._is_open(call):
            self._close(events)
            self._call_index = call.index
            self._ensure_open(AnswerToolUse(id=call.call_id or "", name=call.name or "", input={}), events)
        if call.arguments:
            events.append(self._delta(InputJsonDelta(call.arguments)))

    def _delta(self, part: BlockPart) -> ContentBlockDelta:
        return ContentBlockDelta(self._num_blocks - 1, part)

    def _ensure_open(self, block: AnswerBlock, events: list[BlockEvent]) -> None:
        if type(self._open) is type(block):
            return
        self._close(events)
        self._open = block
        events.append(ContentBlockStart(self._num_blocks, block))
        self._num_blocks += 1

    def _close(self, events: list[BlockEvent]) -> None:
        if self._open is None:
            return
        if isinstance(self._open, AnswerThinking):
            events.append(self._delta(SignatureDelta(self._signature.text)))
        events.append(ContentBlockStop(self._num_blocks - 1))
        self._open = None


def blocks_of(output: CollectedOutput, *, hides_thinking: bool = False) -> list[AnswerBlock]:
    """Return the blocks of a whole answer: the same that a `BlockWriter` writes piece by piece."""
    blocks: list[AnswerBlock] = []
    signature = Signature()
    for part in output.parts:
        if isinstance(part, CallPart):
            blocks.append(AnswerToolUse(id=part.call_id, name=part.name, input=complete_part(part.text)))
        elif part.kind == "text":
            blocks.append(AnswerText(part.text))
        else:
            signature.add(part.text)
            blocks.append(AnswerThinking("" if hides_thinking else part.text, signature.text))
    return blocks
