"""Events of a generation to a response: the stream of its events, or the whole object. No I/O.

Source: OpenAI API reference, "Streaming events" of the Responses API; there is no `[DONE]`.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec
from msgspec import UNSET

from backends.wire.messages import SequenceEnd
from router.errors import EngineCrashedError
from router.http.streaming import SSE, SSE_KEEP_ALIVE
from router.protocols.fields.context import shown_context
from router.protocols.openai.answer_schemas import PromptProgress
from router.protocols.responses import event_schemas
from router.protocols.responses.answer_schemas import OutputItem, Response
from router.protocols.responses.compaction import compaction_items
from router.protocols.responses.event_schemas import StateEvent
from router.protocols.responses.head import ResponseHead
from router.protocols.responses.output import EventWriter, OutputItems
from router.protocols.responses.schemas import ENCRYPTED_REASONING, LOGPROBS
from router.protocols.responses.telemetry import Telemetry
from router.requests.context import ContextEvent
from router.requests.generation import Generation, GenerationEvent, OutputEvent, ProgressEvent

# A response that was cancelled has no event of its own in the API; its object says so.
_LAST_EVENTS: Final[dict[str, type[StateEvent]]] = {
    "completed": event_schemas.ResponseCompleted,
    "incomplete": event_schemas.ResponseIncomplete,
    "failed": event_schemas.ResponseFailed,
    "cancelled": event_schemas.ResponseFailed,
}


class ResponseEncoder:
    """Writes one response.

    Args:
        generation: For its queue and load times at the end.
        on_end: Called once with the object in its last state.
        on_output: Called when there is more, with what returns the items so far.
        clock: Seconds since 1970.
    """

    keep_alive = SSE_KEEP_ALIVE

    def __init__(
        self,
        head: ResponseHead,
        generation: Generation,
        on_end: Callable[[Response], None],
        *,
        on_output: Callable[[Callable[[], list[OutputItem]]], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._head = head
        self._generation = generation
        self._on_end = on_end
        self._on_output = on_output
        self._clock = clock
        self._is_stream = bool(head.request.stream)
        self._events = EventWriter(is_on=self._is_stream)
        self._telemetry = Telemetry(head.request, generation)
        self.has_begun = False
        self.forget()

    @property
    def media_type(self) -> bytes | None:
        """Of the stream; None = the answer is one JSON body."""
        return SSE if self._is_stream else None

    @property
    def live_body(self) -> Response:
        """The object of a response that has not ended."""
        return self._head.response("in_progress" if self.has_begun else "queued", self._items.so_far())

    @property
    def is_told(self) -> bool:
        """Whether the client has an object of the response, or can get one."""
        return bool(self._head.request.background) or (self._is_stream and self.has_begun)

    @property
    def items_so_far(self) -> list[OutputItem]:
        """The items of an answer that ends here."""
        return self._items.so_far()

    def _growing_items(self) -> list[OutputItem]:
        return self._items.so_far("in_progress")

    def forget(self) -> None:
        """Drop all output so far of an answer that is no stream: it begins anew."""
        include = self._head.request.include or []
        self._items = OutputItems(
            self._events,
            self._head.tools,
            has_logprobs=LOGPROBS in include,
            encodes_reasoning=ENCRYPTED_REASONING in include,
            timings=lambda: self._telemetry.timings,
        )
        self._end: SequenceEnd | None = None

    def encode(self, events: list[GenerationEvent]) -> bytes:
        """Return the stream's events for these; b"" when there is nothing to say."""
        self._begin()
        for event in events:
            if isinstance(event, ContextEvent):
                self._on_wound(event)
            elif isinstance(event, ProgressEvent):
                self._tell_progress(self._telemetry.on_progress(event))
            elif isinstance(event, OutputEvent):
                self._tell_progress(self._telemetry.on_output(event))
                self._items.add(event.output)
                self._end = event.end or self._end
                if self._on_output is not None:
                    self._on_output(self._growing_items)
        return self._events.taken()

    def tail(self) -> bytes:
        """Return what comes after the last event: the ends of the items and of the response, or the whole body.

        Raises:
            EngineCrashedError: The answer has no end.
        """
        end = self._end
        if end is None:
            raise EngineCrashedError("the engine ended the request without an answer")
        self._items.finish(is_cut=end.reason == "length")
        return self._ended(self._head.ended(self._items.items, end, self._generation, self._clock()))

    def failed(self, error: BaseException) -> bytes:
        """Return how the stream ends with an error; the object has what was written so far."""
        self._begin()
        return self._ended(self._head.failed(self._items.so_far(), error))

    def queued(self) -> bytes:
        """Return the first events of a response that is to run in the background."""
        response = self._head.response("queued", [])
        self._tell(event_schemas.ResponseCreated, response)
        self._tell(event_schemas.ResponseQueued, response)
        return self._events.taken()

    def _begin(self) -> None:
        if self.has_begun:
            return
        self.has_begun = True
        response = self._head.response("in_progress", [])
        if not self._events.number:
            self._tell(event_schemas.ResponseCreated, response)
        self._tell(event_schemas.ResponseInProgress, response)

    def _on_wound(self, event: ContextEvent) -> None:
        response = self._head.response("in_progress", [])
        self._tell(event_schemas.ResponseInProgress, response, context_wound=shown_context(event.facts))
        for item in compaction_items(self._head, self._generation):
            self._items.add_whole(item)

    def _tell_progress(self, progress: Iterable[PromptProgress]) -> None:
        for each in progress:
            response = self._head.response("in_progress", [])
            self._tell(event_schemas.ResponseInProgress, response, prompt_progress=each)

    def _tell(self, kind: type[StateEvent], response: Response, **beside: Any) -> None:
        self._events.write(kind(sequence_number=self._events.number, response=response, **beside))

    def _ended(self, response: Response) -> bytes:
        self._on_end(response)
        if not self._is_stream:
            return msgspec.json.encode(response)
        timings = self._telemetry.at_end(response.timings)
        beside = {} if timings is UNSET else {"timings": timings}
        self._tell(_LAST_EVENTS[response.status], response, **beside)
        return self._events.taken()
