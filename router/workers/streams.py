"""The events of one request on a worker's channel, buffered for one reader, and what they tell of its progress.

Not the channel itself (`worker_client`) and not what events mean to a client of the gateway.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

import msgspec

from backends.wire.messages import (
    Aborted,
    Accepted,
    Answered,
    Command,
    Delta,
    Embedded,
    Failed,
    Finished,
    Pause,
    PrefillProgress,
    PromptShown,
    Resume,
    SequenceEnd,
    SequenceTimings,
)
from router.errors import RouterError

MAX_BUFFERED_CHARS = 256 * 1024
"""Text that may wait for a slow client before its sequence is paused in the worker."""

StreamEvent = Accepted | PrefillProgress | PromptShown | Delta | Finished | Failed | Aborted
TaskEvent = Answered | Embedded | Finished | Failed | Aborted
_EventT = TypeVar("_EventT")


class _Stream(Generic[_EventT]):
    """What both kinds of streams share.

    When the reader falls behind by MAX_BUFFERED_CHARS the sequences are paused in the worker until the buffer is empty.

    Attributes:
        sequence_ids: Consecutive ids on the worker's channel, in the order of the request's prompts.
        is_paused: Whether the worker was told to pause its sequences.
    """

    def __init__(self, sequence_ids: tuple[int, ...], send: Callable[[Command], None]) -> None:
        self.sequence_ids = sequence_ids
        self._send = send
        self._events: deque[_EventT] = deque()
        self._num_chars = 0
        self.is_paused = False
        self._error: RouterError | None = None
        self._waiter: asyncio.Future[None] | None = None

    def push(self, event: _EventT) -> None:
        """Add an event; called by the client as frames arrive."""
        self._events.append(event)
        num_chars = _num_chars(event)
        if num_chars:
            self._num_chars += num_chars
            if self._num_chars > MAX_BUFFERED_CHARS and not self.is_paused:
                self.is_paused = True
                for sequence_id in self.sequence_ids:
                    self._send(Pause(sequence_id))
        self._wake()

    def fail(self, error: RouterError) -> None:
        """End the stream with an error once its events are read."""
        self._error = error
        self._wake()

    def index_of(self, sequence_id: int) -> int:
        """Return which of the request's sequences an event belongs to, from 0."""
        return sequence_id - self.sequence_ids[0]

    @property
    def has_unread(self) -> bool:
        """Whether events wait for the reader."""
        return bool(self._events)

    async def read(self) -> list[_EventT]:
        """Return all events that have arrived, waiting for at least one.

        Raises:
            RouterError: The worker is gone; nothing more will come.
        """
        while not self._events:
            if self._error is not None:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        events = list(self._events)
        self._events.clear()
        self._num_chars = 0
        if self.is_paused:
            self.is_paused = False
            for sequence_id in self.sequence_ids:
                self._send(Resume(sequence_id))
        return events

    def unread(self, events: list[_EventT]) -> None:
        """Put back events that were read but not used; they are the next to be read."""
        self._events.extendleft(reversed(events))

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _num_chars(event: object) -> int:
    match event:
        case Delta(output=output):
            return output.num_chars
        case PromptShown():
            return event.num_chars
    return 0


class RequestStream(_Stream[StreamEvent]):
    """The events of one request's sequences."""


class TaskStream(_Stream[TaskEvent]):
    """The events of one request that generates nothing: a question, or embeddings."""


class SequenceProgress(msgspec.Struct):
    """What the gateway has seen of a running sequence; None = not told yet.

    Attributes:
        slot: Smallest number that no other running sequence of the worker has, from 0.
        max_tokens: The request's own bound of the answer, or None.
        num_prompt_tokens: Tokens of the prompt.
        num_evaluated: Those of them that are in the cache.
        num_cached: Those of them that were not computed for this sequence.
        num_output_tokens: Tokens of the answer that were put out.
        timings: Where its time went, once it has finished.
    """

    sequence_id: int
    slot: int
    max_tokens: int | None
    num_prompt_tokens: int | None = None
    num_evaluated: int | None = None
    num_cached: int | None = None
    num_output_tokens: int = 0
    timings: SequenceTimings | None = None

    def note(self, event: Delta | Accepted | PrefillProgress) -> None:
        """Take over what an event tells."""
        match event:
            case Delta(num_tokens=num_tokens):
                self.num_output_tokens += num_tokens
                self.num_evaluated = self.num_prompt_tokens  # nothing comes out before the prompt is in
            case Accepted(num_prompt_tokens=num_prompt_tokens):
                self.num_prompt_tokens = num_prompt_tokens
            case PrefillProgress(num_done=num_done, num_cached=num_cached):
                self.num_evaluated = num_done
                self.num_cached = num_cached

    def note_end(self, end: SequenceEnd) -> None:
        """Take over the counts and times of a sequence that has finished."""
        usage = end.usage
        self.num_prompt_tokens = self.num_evaluated = usage.num_prompt_tokens
        self.num_cached = usage.num_cached_tokens
        self.num_output_tokens = usage.num_output_tokens
        self.timings = end.timings
