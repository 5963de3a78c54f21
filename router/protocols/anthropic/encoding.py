"""Events to the stream of the Anthropic API, without I/O. Whole bodies are in `answer`.

Source: Anthropic API reference, "Streaming Messages": message_start; per block content_block_start, content_block_delta
and content_block_stop; message_delta; message_stop; ping at any time. Its clients skip a ping before message_start.
"""

from typing import Any, Final

import msgspec

from backends.wire.messages import Usage
from router.errors import EngineCrashedError
from router.http.streaming import SSE
from router.protocols.anthropic.answer import AnswerHead, usage_object
from router.protocols.anthropic.blocks import DELTA_FIELDS, BlockDelta, BlockEvent, BlockStart, BlockWriter
from router.requests.generation import GenerationEvent, OutputEvent, ProgressEvent, SequenceEnd

PING: Final = b'event: ping\ndata: {"type": "ping"}\n\n'
_encode = msgspec.json.Encoder().encode


class StreamEncoder:
    """Turns the events of one request into Anthropic's.

    The message begins when it is known how much of the prompt is cached: with its evaluation, not with its arrival.
    """

    media_type = SSE
    keep_alive = PING

    def __init__(self, head: AnswerHead) -> None:
        self._head = head
        self._writer = BlockWriter(hides_thinking=head.hides_thinking)
        self._end: SequenceEnd | None = None
        self._is_accepted = False
        self._is_started = False
        self._openings: dict[tuple[int, str], bytes] = {}

    def encode(self, events: list[GenerationEvent]) -> bytes:
        """Return the events for one batch, ready for one write; b"" when there is nothing to say."""
        return b"".join([self._chunk(event) for event in events])

    def tail(self) -> bytes:
        """Return what comes after the last event.

        Raises:
            EngineCrashedError: The answer has no end.
        """
        if self._end is None:
            raise EngineCrashedError("the engine ended the request without an answer")
        delta = {"delta": self._head.stop(self._end), "usage": usage_object(self._end.usage)}
        closing = b"".join([self._block_event(event) for event in self._writer.finish()])
        return closing + _event("message_delta", delta) + _event("message_stop", {})

    def _chunk(self, event: GenerationEvent) -> bytes:
        if type(event) is ProgressEvent:
            return self._on_progress(event)
        assert type(event) is OutputEvent
        usage = Usage(0, 0, 0) if event.end is None else event.end.usage
        start = b"" if self._is_started else self._start(usage)
        self._end = event.end
        return start + b"".join([self._block_event(part) for part in self._writer.write(event.output)])

    def _on_progress(self, event: ProgressEvent) -> bytes:
        """Begin the message with the second event: the first only says how long the prompt is."""
        if self._is_started:
            return b""
        if not self._is_accepted:
            self._is_accepted = True
            return b""
        return self._start(Usage(event.num_total, event.num_cached, 0))

    def _start(self, usage: Usage) -> bytes:
        self._is_started = True
        shown = usage_object(Usage(usage.num_prompt_tokens, usage.num_cached_tokens, 0))
        return _event("message_start", {"message": self._head.message([], shown)})

    def _block_event(self, event: BlockEvent) -> bytes:
        match event:
            case BlockDelta(index=index, kind=kind, text=text):
                opening = self._openings.get((index, kind))
                if opening is None:
                    delta = _event("content_block_delta", {"index": index, "delta": {"type": kind}})
                    opening = delta.removesuffix(b"}}\n\n") + b',"' + DELTA_FIELDS[kind].encode() + b'":'
                    self._openings = {(index, kind): opening}
                return opening + _encode(text) + b"}}\n\n"
            case BlockStart(index=index, block=block):
                return _event("content_block_start", {"index": index, "content_block": block})
            case _:
                return _event("content_block_stop", {"index": event.index})


def _event(name: str, fields: dict[str, Any]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + _encode({"type": name, **fields}) + b"\n\n"
