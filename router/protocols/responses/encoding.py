"""Events of a generation to a response: the stream of its events, or the whole object. No I/O.

Source: OpenAI API reference, "Streaming events" of the Responses API; there is no `[DONE]`.
"""

import time
from collections.abc import Callable
from typing import Any, Final

import msgspec

from router.errors import EngineCrashedError
from router.http.streaming import SSE, SSE_KEEP_ALIVE
from router.protocols.responses.head import ResponseHead, end_fields, failure_fields
from router.protocols.responses.output import OutputItems
from router.requests.generation import Generation, GenerationEvent, OutputEvent, SequenceEnd

LOGPROBS: Final = "message.output_text.logprobs"
SEALED_REASONING: Final = "reasoning.encrypted_content"
_encode = msgspec.json.Encoder().encode


class ResponseEncoder:
    """Writes one response.

    Args:
        generation: For its queue and load times at the end.
        on_end: Called once with the object in its last state.
        clock: Seconds since 1970.
    """

    keep_alive = SSE_KEEP_ALIVE

    def __init__(
        self,
        head: ResponseHead,
        generation: Generation,
        on_end: Callable[[dict[str, Any]], None],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._head = head
        self._generation = generation
        self._on_end = on_end
        self._clock = clock
        include = head.request.include or []
        self._items = OutputItems(
            self._emit, has_logprobs=LOGPROBS in include, seals_reasoning=SEALED_REASONING in include
        )
        self._is_stream = bool(head.request.stream)
        self._chunks: list[bytes] = []
        self._number = 0
        self._end: SequenceEnd | None = None
        self.has_begun = False

    @property
    def media_type(self) -> bytes | None:
        """Of the stream; None = the answer is one JSON body."""
        return SSE if self._is_stream else None

    @property
    def live_body(self) -> dict[str, Any]:
        """The object of a response that has not ended."""
        return self._head.body("in_progress" if self.has_begun else "queued", self._items.so_far())

    def encode(self, events: list[GenerationEvent]) -> bytes:
        """Return the stream's events for these; b"" when there is nothing to say."""
        self._begin()
        for event in events:
            if isinstance(event, OutputEvent):
                self._items.add(event.output)
                self._end = event.end or self._end
        return self._taken()

    def tail(self) -> bytes:
        """Return what comes after the last event: the ends of the items and of the response, or the whole body.

        Raises:
            EngineCrashedError: The answer has no end.
        """
        end = self._end
        if end is None:
            raise EngineCrashedError("the engine ended the request without an answer")
        is_cut = end.reason == "length"
        self._items.finish(is_cut=is_cut)
        status = "incomplete" if is_cut else "completed"
        fields = end_fields(end, self._generation, self._clock())
        return self._ended(self._head.body(status, self._items.items, **fields))

    def failed(self, error: BaseException) -> bytes:
        """Return how the stream ends with an error; the object has what was written so far."""
        self._begin()
        status, fields = failure_fields(error, is_background=bool(self._head.request.background))
        return self._ended(self._head.body(status, self._items.so_far(), **fields))

    def queued(self) -> bytes:
        """Return the first events of a response that is to run in the background."""
        body = self._head.body("queued", [])
        self._emit("response.created", {"response": body})
        self._emit("response.queued", {"response": body})
        return self._taken()

    def _begin(self) -> None:
        if self.has_begun:
            return
        self.has_begun = True
        body = self._head.body("in_progress", [])
        if not self._number:
            self._emit("response.created", {"response": body})
        self._emit("response.in_progress", {"response": body})

    def _ended(self, body: dict[str, Any]) -> bytes:
        self._on_end(body)
        if not self._is_stream:
            return _encode(body)
        # A response that was cancelled has no event of its own in the API; its object says so.
        event = "response.failed" if body["status"] == "cancelled" else f"response.{body['status']}"
        self._emit(event, {"response": body})
        return self._taken()

    def _emit(self, event: str, fields: dict[str, Any]) -> None:
        if self._is_stream:
            data = _encode({"type": event, "sequence_number": self._number, **fields})
            self._chunks.append(b"event: " + event.encode() + b"\ndata: " + data + b"\n\n")
            self._number += 1

    def _taken(self) -> bytes:
        chunks, self._chunks = b"".join(self._chunks), []
        return chunks
