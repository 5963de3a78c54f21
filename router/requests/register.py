"""The register of running and waiting requests: list them, end them by their id, find one that was sent again.

A request outlives its client by `limits.reattach_s`: the same request that comes again in that time gets the answer
from its start. Nobody reads meanwhile; what comes is buffered by the request's stream. Everything runs on the event
loop's thread, and a chunk costs no task switch. Not here: what the answer looks like (the protocols' encoders).
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Final, Protocol, Self, runtime_checkable

from router.config import LimitsConfig
from router.errors import (
    ClientDisconnectedError,
    DeadlineExceededError,
    EngineCrashedError,
    RequestCancelledError,
    RouterError,
)
from router.http.caller import current_caller
from router.observers import Observers
from router.requests.deadlines import Deadlines, RequestProgress, deadlines_for, next_due, seconds_to_look
from router.requests.embedding import EmbeddingWanted, RunningEmbedding
from router.requests.generation import Generation, GenerationEvent
from router.requests.leased import RequestFacts
from router.requests.resend import KeptAnswer
from router.workers.supervisor import Supervisor

_NOTHING: Final = b""

_LEAVING_TURNS: Final = 16
"""Turns of the event loop from the end of a client's connection until its request has no reader; they are about ten."""


class AnswerEncoder(Protocol):
    """Turns events into an answer; one that is given as a whole has all of it in its tail."""

    @property
    def media_type(self) -> bytes | None:
        """Of the stream; None = the answer is one JSON body."""

    @property
    def keep_alive(self) -> bytes | None:
        """What a stream sends when nothing else was sent for a while; None = nothing."""

    def encode(self, events: list[GenerationEvent]) -> bytes:
        """Return what to send for these events; b"" when there is nothing to say."""

    def tail(self) -> bytes:
        """Return what comes after the last event."""


@runtime_checkable
class CollectingEncoder(Protocol):
    """An encoder that can write its answer as one body; it has told nothing then until its tail."""

    def forget(self) -> None:
        """Drop all events so far: they begin anew."""


class RunningRequest:
    """A request that has not ended. Its answer is read with `follow`, by one reader at a time.

    Args:
        generation: What computes its answer; this object closes it.
        reattach_s: How long it waits for the same request when its client is gone; 0 = it ends then.
        on_end: Called once, when it has ended.
        clock: Monotonic seconds, those of the event loop.

    Attributes:
        arrived_at: Monotonic seconds.
        started_at: Seconds since 1970.
        ended_at: Monotonic seconds, None while it runs.
        error: Why it has no complete answer; None while it runs, and where it has one.
    """

    def __init__(
        self,
        facts: RequestFacts,
        generation: Generation,
        encoder: AnswerEncoder,
        *,
        deadlines: Deadlines,
        reattach_s: float,
        on_end: Callable[["RunningRequest"], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.facts = facts
        self.generation = generation
        self.encoder = encoder
        self.has_reader = False
        self._clock = clock
        self.arrived_at = clock()
        self.started_at = time.time()
        self.ended_at: float | None = None
        self.error: BaseException | None = None
        self._deadlines = deadlines
        self._reattach_s = 0.0 if facts.fingerprint is None else reattach_s
        self._on_end = on_end
        self._kept = KeptAnswer() if self._reattach_s else None
        self._is_told = False
        self._has_ended = False
        self._timer: asyncio.TimerHandle | None = None
        self._reattach_timer: asyncio.TimerHandle | None = None
        self._arm()

    @property
    def is_attachable(self) -> bool:
        """Whether its client is gone and its answer can be given from its start."""
        return not self.has_reader and self.is_repeatable

    @property
    def is_repeatable(self) -> bool:
        """Whether its answer can be given from its start, to one reader after the other."""
        return not self._has_ended and self._kept is not None and self._kept.is_whole

    def follow(self) -> "Reading":
        """Become the reader of the answer; it begins at its start."""
        assert not self.has_reader, "an answer has one reader at a time"
        self.has_reader = True
        if self._reattach_timer is not None:
            self._reattach_timer.cancel()
            self._reattach_timer = None
        return Reading(self, [] if self._kept is None else self._kept.chunks)

    def cancel(self) -> None:
        """End the request as somebody who is not its client wants it."""
        self.fail(RequestCancelledError())

    def fail(self, error: RouterError) -> None:
        """End the request with an error, in whatever phase it is; its client is told after what has come already."""
        self.generation.fail(error)
        self._forget(error)

    async def read(self) -> bytes | None:
        """Return the next part of the answer, perhaps b""; None after the last. For `Reading` alone.

        Raises:
            RouterError: The request cannot be served, or no further.
            BackendError: The prompt, or the engine.
            RegistryError: The model is unknown.
        """
        if self._is_told:
            return None
        try:
            events = await self._next_events()
            chunk = self.encoder.tail() if events is None else self.encoder.encode(events)
        except asyncio.CancelledError:
            raise  # the reader goes; the request may go on
        except BaseException as exc:
            self._on_told(exc)
            raise
        if events is None:
            self._on_told()
        elif chunk and self._kept is not None:
            self._kept.add(chunk)
        return chunk

    async def _next_events(self) -> list[GenerationEvent] | None:
        """Return what comes next. Where its worker dies, an answer of which nothing was sent begins once more."""
        try:
            return await self.generation.next()
        except EngineCrashedError:
            encoder = self.encoder
            if not isinstance(encoder, CollectingEncoder) or encoder.media_type is not None:
                raise
            if not self.generation.begin_again():
                raise
            encoder.forget()
            return await self.generation.next()

    def _on_told(self, error: BaseException | None = None) -> None:
        """Nothing more is to come: the request is over, whatever its client still has to read."""
        self._is_told = True
        self._end(error)

    def leave(self) -> None:
        """The reader is gone: end the request, unless the same one may still come."""
        self.has_reader = False
        gone = ClientDisconnectedError()
        if self._is_told or not self.is_attachable:
            self._end(gone)
        else:
            self._reattach_timer = asyncio.get_running_loop().call_later(self._reattach_s, self._end, gone)

    def _end(self, error: BaseException | None) -> None:
        self.generation.close()
        self._forget(error)

    def _forget(self, error: BaseException | None) -> None:
        """Be no longer one of those that run."""
        if self._has_ended:
            return
        self._has_ended = True
        self.error = error
        self.ended_at = self._clock()
        for timer in (self._timer, self._reattach_timer):
            if timer is not None:
                timer.cancel()
        self._on_end(self)

    def _arm(self) -> None:
        """Set the timer to the next look at the deadlines."""
        wait_s = seconds_to_look(self._deadlines, self._progress(), self._clock())
        if wait_s is not None:
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._on_timer)

    def _on_timer(self) -> None:
        due = next_due(self._deadlines, self._progress())
        if due is not None and self._clock() >= due.at:
            self.fail(DeadlineExceededError(due.message))
        else:
            self._arm()

    def _progress(self) -> RequestProgress:
        generation = self.generation
        moved_at = self._clock() if generation.has_unread else generation.last_read_at
        return RequestProgress(
            arrived_at=self.arrived_at,
            has_output=generation.has_output,
            moved_at=self.arrived_at if moved_at is None else moved_at,
            winding_s=generation.winding_s,
        )


class Reading:
    """One client's way through an answer: an async iterator of its chunks, none of them empty.

    Close it with `aclose` when the client is gone or has everything.
    """

    def __init__(self, running: RunningRequest, kept: list[bytes]) -> None:
        self._running = running
        self._replay = iter(list(kept))
        self._is_open = True

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next chunk; errors as in `RunningRequest.read`."""
        chunk = next(self._replay, _NOTHING)
        while not chunk:
            read = await self._running.read()
            if read is None:
                raise StopAsyncIteration
            chunk = read
        return chunk

    async def aclose(self) -> None:
        """Go away; a second call does nothing."""
        if self._is_open:
            self._is_open = False
            self._running.leave()


class RequestRegister:
    """All requests of the gateway that have not ended.

    Attributes:
        ended: Told of each generation that has ended, well or not.
        ended_embedding: Told of each request for embeddings likewise.
    """

    def __init__(self) -> None:
        self.ended: Observers[RunningRequest] = Observers()
        self.ended_embedding: Observers[RunningEmbedding] = Observers()
        self._requests: dict[str, RunningRequest | RunningEmbedding] = {}

    def __iter__(self) -> Iterator[RunningRequest | RunningEmbedding]:
        """Iterate in the order of arrival."""
        return iter(list(self._requests.values()))

    def start(
        self,
        facts: RequestFacts,
        generation: Generation,
        encoder: AnswerEncoder,
        limits: LimitsConfig,
        on_over: Callable[[RunningRequest], None] = lambda _: None,
    ) -> RunningRequest:
        """Take a new request in; it waits for its first reader.

        Args:
            on_over: Called when it has ended, before all others who are told.
        """

        def on_end(ended: RunningRequest) -> None:
            on_over(ended)
            self._on_end(ended)

        running = RunningRequest(
            facts,
            generation,
            encoder,
            deadlines=deadlines_for(limits, generation.request.spec.priority, facts.timeout_s),
            reattach_s=limits.reattach_s,
            on_end=on_end,
        )
        self._requests[facts.request_id] = running
        return running

    def attachable(self, fingerprint: bytes) -> RunningRequest | None:
        """Return the same request whose client is gone, or None; a new reader may `follow` it at once."""
        return next((running for running in self._same(fingerprint) if running.is_attachable), None)

    async def let_leave(self, fingerprint: bytes) -> None:
        """Let the reader of the same request notice that its client is gone, if it is.

        A client closes its connection before it sends again. A process that was held up meanwhile (by other programs,
        or by the machine's sleep) learns of both in one turn of its loop, and the new request is quicker from there.
        """
        if any(running.is_repeatable for running in self._same(fingerprint)):
            for _ in range(_LEAVING_TURNS):
                await asyncio.sleep(0)

    def _same(self, fingerprint: bytes) -> Iterator[RunningRequest]:
        for running in self._requests.values():
            if isinstance(running, RunningRequest) and running.facts.fingerprint == fingerprint:
                yield running

    def start_embedding(
        self, supervisor: Supervisor, wanted: EmbeddingWanted, facts: RequestFacts, limits: LimitsConfig
    ) -> RunningEmbedding:
        """Take a request for embeddings in; its `result` is to be awaited at once."""
        timeout_s = deadlines_for(limits, wanted.priority, facts.timeout_s).request_s  # there are no tokens to wait for
        running = RunningEmbedding(supervisor, wanted, facts, timeout_s=timeout_s, on_end=self._on_end)
        self._requests[facts.request_id] = running
        return running

    def get(self, request_id: str) -> RunningRequest | RunningEmbedding | None:
        """Return the request of that id, or which its client calls so; None = there is none for whoever asks."""
        may_see = current_caller().may_see
        seen = [running for running in self._requests.values() if may_see(running.facts.owner)]
        found = next((running for running in seen if running.facts.request_id == request_id), None)
        return found or next((running for running in seen if running.facts.sent_id == request_id), None)

    def _on_end(self, running: RunningRequest | RunningEmbedding) -> None:
        self._requests.pop(running.facts.request_id, None)
        if isinstance(running, RunningRequest):
            self.ended.tell(running)
        else:
            self.ended_embedding.tell(running)


async def whole_answer(reading: Reading) -> bytes:
    """Read an answer to its end, as one piece; errors as in `RunningRequest.read`."""
    try:
        return b"".join([chunk async for chunk in reading])
    finally:
        await reading.aclose()
