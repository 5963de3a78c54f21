"""What streams and whole answers of the Anthropic API share, and whole answers. No I/O.

Source: Anthropic API reference, "Messages": the answer's fields; "Total input tokens in a request is the summation of
`input_tokens`, `cache_creation_input_tokens`, and `cache_read_input_tokens`".
"""

import secrets
from typing import Any

import msgspec

from backends.wire.messages import Usage
from router.errors import EngineCrashedError
from router.protocols.anthropic.blocks import DELTA_FIELDS, BlockDelta, BlockEvent, BlockStart, BlockWriter
from router.protocols.anthropic.partial_json import complete_part
from router.requests.generation import GenerationEvent, OutputEvent, SequenceEnd


class AnswerHead(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an answer before it begins.

    Attributes:
        answer_id: `msg_…`.
        hides_thinking: Whether thinking is not to be shown.
    """

    answer_id: str
    model: str
    max_tokens: int
    stop_sequences: tuple[str, ...] = ()
    hides_thinking: bool = False

    @staticmethod
    def new_id() -> str:
        """Return a fresh id."""
        return f"msg_{secrets.token_hex(12)}"

    def message(
        self, content: list[dict[str, Any]], usage: dict[str, Any], end: SequenceEnd | None = None
    ) -> dict[str, Any]:
        """Return the message object.

        Args:
            usage: Its tokens.
            end: How it ended; None = it has only begun.
        """
        stop = {"stop_reason": None, "stop_sequence": None} if end is None else self.stop(end)
        return {
            "id": self.answer_id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            **stop,
            "usage": usage,
        }

    def stop(self, end: SequenceEnd) -> dict[str, Any]:
        """Return why an answer ended, in Anthropic's words."""
        if end.reason == "tool_calls":
            return {"stop_reason": "tool_use", "stop_sequence": None}
        if end.reason == "length":
            # The worker also ends an answer where the context is full.
            is_asked = end.usage.num_output_tokens >= self.max_tokens
            return {"stop_reason": "max_tokens" if is_asked else "model_context_window_exceeded", "stop_sequence": None}
        if end.stopped_by in self.stop_sequences:
            return {"stop_reason": "stop_sequence", "stop_sequence": end.stopped_by}
        return {"stop_reason": "end_turn", "stop_sequence": None}


def usage_object(usage: Usage) -> dict[str, Any]:
    """Return Anthropic's usage object. Every prompt is kept, so none is told to be written to a cache."""
    return {
        "input_tokens": usage.num_prompt_tokens - usage.num_cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.num_cached_tokens,
        "output_tokens": usage.num_output_tokens,
        "output_tokens_details": {"thinking_tokens": usage.num_reasoning_tokens},
        "service_tier": "standard",
    }


class BlockCollector:
    """Puts blocks together again."""

    def __init__(self) -> None:
        self._blocks: list[dict[str, Any]] = []
        self._texts: list[dict[str, list[str]]] = []

    def add(self, event: BlockEvent) -> None:
        """Take over one event."""
        match event:
            case BlockStart(block=block):
                self._blocks.append(block)
                self._texts.append({})
            case BlockDelta(index=index, kind=kind, text=text):
                self._texts[index].setdefault(DELTA_FIELDS[kind], []).append(text)
            case _:
                pass

    def content(self) -> list[dict[str, Any]]:
        """Return the blocks."""
        return [_filled(block, texts) for block, texts in zip(self._blocks, self._texts, strict=True)]


def _filled(block: dict[str, Any], texts: dict[str, list[str]]) -> dict[str, Any]:
    joined = {field: "".join(pieces) for field, pieces in texts.items()}
    arguments = joined.pop("partial_json", None)
    if arguments is not None:
        joined["input"] = complete_part(arguments)  # type: ignore[assignment]
    return block | joined


class WholeAnswer:
    """Collects the events of one request; its tail is the whole body."""

    media_type = None
    keep_alive = None

    def __init__(self, head: AnswerHead) -> None:
        self._head = head
        self._writer = BlockWriter(hides_thinking=head.hides_thinking)
        self._collector = BlockCollector()
        self._end: SequenceEnd | None = None

    def encode(self, events: list[GenerationEvent]) -> bytes:
        """Take the events over; there is nothing to send yet."""
        for event in events:
            if isinstance(event, OutputEvent):
                self._take(self._writer.write(event.output))
                self._end = event.end
        return b""

    def tail(self) -> bytes:
        """Return the body.

        Raises:
            EngineCrashedError: The answer has no end.
        """
        if self._end is None:
            raise EngineCrashedError("the engine ended the request without an answer")
        self._take(self._writer.finish())
        usage = usage_object(self._end.usage)
        return msgspec.json.encode(self._head.message(self._collector.content(), usage, self._end))

    def _take(self, events: list[BlockEvent]) -> None:
        for event in events:
            self._collector.add(event)
