"""The content blocks of an answer, as it is generated: what opens, grows and closes. Pure.

Streams and whole answers are both made of these events, so that they say the same. Blocks never overlap: what comes
next closes what was open.
"""

import base64
import hashlib
from typing import Any, Final

import msgspec

from backends.wire.output import Output, ToolCallDelta

_SIGNATURE_PREFIX: Final = "mlxr:"


class BlockStart(msgspec.Struct, frozen=True):
    """A block opens.

    Attributes:
        index: Of the block, from 0.
        block: As it is when nothing has been written yet.
    """

    index: int
    block: dict[str, Any]


class BlockDelta(msgspec.Struct, frozen=True):
    """The open block grows.

    Attributes:
        kind: `text_delta`, `thinking_delta`, `signature_delta` or `input_json_delta`.
    """

    index: int
    kind: str
    text: str


class BlockStop(msgspec.Struct, frozen=True):
    """The open block is complete."""

    index: int


BlockEvent = BlockStart | BlockDelta | BlockStop

DELTA_FIELDS: Final = {
    "text_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "signature",
    "input_json_delta": "partial_json",
}
"""Where a delta carries its text, by its kind."""


class BlockWriter:
    """Turns the output of one sequence into blocks.

    Args:
        hides_thinking: Whether thinking blocks are to be empty but for their signature.
    """

    def __init__(self, *, hides_thinking: bool = False) -> None:
        self._hides_thinking = hides_thinking
        self._num_blocks = 0
        self._open: str | None = None
        self._call_index: int | None = None
        self._signature = hashlib.blake2b(digest_size=24)

    def write(self, output: Output) -> list[BlockEvent]:
        """Return what new output comes to.

        Parts of one output come in the order in which models write them: thinking, text, calls; but the rest of a call
        that is open comes before the text behind it.
        """
        events: list[BlockEvent] = []
        calls = list(output.tool_calls)
        while calls and self._open == "tool_use" and calls[0].index == self._call_index:
            self._write_call(calls.pop(0), events)
        if output.reasoning:
            self._ensure_open("thinking", {"type": "thinking", "thinking": "", "signature": ""}, events)
            self._signature.update(output.reasoning.encode())
            if not self._hides_thinking:
                events.append(self._delta("thinking_delta", output.reasoning))
        if output.text:
            self._ensure_open("text", {"type": "text", "text": ""}, events)
            events.append(self._delta("text_delta", output.text))
        for call in calls:
            self._write_call(call, events)
        return events

    def finish(self) -> list[BlockEvent]:
        """Close what is open; nothing comes any more."""
        events: list[BlockEvent] = []
        self._close(events)
        return events

    def _write_call(self, call: ToolCallDelta, events: list[BlockEvent]) -> None:
        if self._call_index != call.index or self._open != "tool_use":
            self._close(events)
            self._call_index = call.index
            block = {"type": "tool_use", "id": call.call_id or "", "name": call.name or "", "input": {}}
            self._ensure_open("tool_use", block, events)
        if call.arguments:
            events.append(self._delta("input_json_delta", call.arguments))

    def _delta(self, kind: str, text: str) -> BlockDelta:
        return BlockDelta(self._num_blocks - 1, kind, text)

    def _ensure_open(self, kind: str, block: dict[str, Any], events: list[BlockEvent]) -> None:
        if self._open == kind:
            return
        self._close(events)
        self._open = kind
        events.append(BlockStart(self._num_blocks, block))
        self._num_blocks += 1

    def _close(self, events: list[BlockEvent]) -> None:
        if self._open is None:
            return
        if self._open == "thinking":
            # Clients want one and send it back. It is a checksum, by no key: it proves nothing, and is not looked at.
            digest = base64.urlsafe_b64encode(self._signature.digest()).decode()
            events.append(self._delta("signature_delta", _SIGNATURE_PREFIX + digest))
        events.append(BlockStop(self._num_blocks - 1))
        self._open = None
