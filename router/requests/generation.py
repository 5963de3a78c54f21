"""One request through the system, whatever protocol it came by: a lease, its sequences' events, one retry, a clean end.

Protocol packages turn their requests into `GenerationRequest` and these events into their own shapes. Who reads the
events, and what becomes of them when nobody does, is `requests`' business.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable

import msgspec

from backends.errors import BackendError
from backends.wire.messages import (
    Aborted,
    Accepted,
    Delta,
    Failed,
    Finished,
    PrefillProgress,
    PromptShown,
    SequenceEnd,
)
from backends.wire.output import Output, PromptToken
from router.errors import ContextLengthExceededError, EngineCrashedError, RouterError
from router.requests.context import ContextEvent, ContextFacts
from router.requests.failures import error_of, gave_up
from router.requests.keeping import Keeping, KeptRequest, PromptKeeper
from router.requests.leased import LeasedRequest
from router.requests.request import GenerationRequest, generate_messages, sized
from router.workers.streams import RequestStream, SequenceProgress, StreamEvent
from router.workers.supervisor import Supervisor


class OutputEvent(msgspec.Struct, frozen=True):
    """New output of the `index`-th sequence, and its end if that was the last; the output may be empty then.

    Attributes:
        num_tokens: Tokens that brought it; 0 in the last event, whose `end` has the sum of all.
        end: How the sequence ended, or None while it goes on.
    """

    index: int
    output: Output
    num_tokens: int = 0
    end: SequenceEnd | None = None


class ProgressEvent(msgspec.Struct, frozen=True):
    """How much of the `index`-th sequence's prompt is evaluated, in tokens.

    Attributes:
        num_cached: Those that had not to be computed.
    """

    index: int
    num_done: int
    num_total: int
    num_cached: int


class PromptEvent(msgspec.Struct, frozen=True):
    """What the `index`-th sequence tells of its prompt, as `PromptShown` does.

    Attributes:
        start: Index of the first of `tokens`; 0 begins anew.
    """

    index: int
    start: int
    text: str
    tokens: tuple[PromptToken, ...]


GenerationEvent = OutputEvent | ProgressEvent | PromptEvent | ContextEvent


class Generation(LeasedRequest[RequestStream]):
    """A running request. Read it with `next` until None, then or earlier `close` it; `events` does both.

    A reader that is cancelled in `next` leaves the request as it is: whoever calls `next` after it goes on where it
    was. A worker that dies before it gave any output is replaced, once, unseen, unless the request names it; progress
    then begins anew. Whoever has
    passed nothing on of what was read may `begin_again` after a death, if that once is not spent.

    Args:
        clock: Monotonic seconds.
        keeper: Winds its conversation where the context does not hold it; None = it is refused then.

    Attributes:
        queue_ms: Time in the queue, of all its leases together.
        load_ms: Time for loads, likewise.
        progress: What was seen of its sequences, in their order; () until a worker has them.
        has_output: Whether anything was read that belongs to an answer.
        last_read_at: When something was read last, or None.
        first_output_at: When the first of it was read, monotonic seconds.
        longest_gap_s: The longest time between two readings, once there was output.
        has_begun_again: Whether a worker of it died and another one has it.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        request: GenerationRequest,
        *,
        clock: Callable[[], float] = time.monotonic,
        keeper: PromptKeeper | None = None,
    ) -> None:
        super().__init__(supervisor)
        self._clock = clock
        self.request = request
        self.queue_ms = 0.0
        self.load_ms = 0.0
        self.progress: tuple[SequenceProgress, ...] = ()
        self.has_output = False
        self.last_read_at: float | None = None
        self.first_output_at: float | None = None
        self.longest_gap_s = 0.0
        self._num_open = request.num_sequences
        self.has_begun_again = False
        self._keeping = None if keeper is None else Keeping(keeper, clock)

    async def next(self) -> list[GenerationEvent] | None:
        """Return what the next step brought, at least one event; None after the end.

        Raises:
            RouterError: The request cannot be served, or no further.
            BackendError: The prompt, or the engine.
            RegistryError: The model is unknown.
        """
        while self._num_open:
            try:
                stream = self._stream or await self._start()
                events = await stream.read()
                self._note_read(self._clock())
                batch = self._translated_batch(stream, events)
            except EngineCrashedError:
                self._give_back()
                if self.has_output or not self._restart():
                    raise
                continue
            except ContextLengthExceededError as exc:
                if self._keeping is None or self._keeping.too_long is exc or self.has_output:
                    raise
                self._give_back()
                self._stream = None
                self._keeping.too_long = exc
                continue
            if batch:
                if self.has_output and self.first_output_at is None:
                    self.first_output_at = self.last_read_at
                return batch
        return None

    def _note_read(self, now: float) -> None:
        if self.has_output and self.last_read_at is not None:
            self.longest_gap_s = max(self.longest_gap_s, now - self.last_read_at)
        self.last_read_at = now

    async def events(self) -> AsyncGenerator[list[GenerationEvent], None]:
        """Yield everything to the end; leaving the iteration early gives everything back. Errors as in `next`."""
        try:
            while (batch := await self.next()) is not None:
                yield batch
        finally:
            self.close()

    def begin_again(self) -> bool:
        """Forget a worker that has died; return whether the next one may do the work from its start, as it may once."""
        if self._keeping is not None:
            self._keeping.is_told = False
        return self._restart()

    def _restart(self) -> bool:
        is_over = self.has_begun_again or self._error is not None or not self._num_open
        if is_over or self.request.model_request.worker_id is not None:
            return False
        self.has_begun_again = True
        self.has_output = False
        self.first_output_at = None
        self._stream = None
        return True

    def fail(self, error: RouterError) -> None:
        """End the request now, as `LeasedRequest.fail` does, unless it has ended."""
        if self._num_open:
            super().fail(error)

    def close(self) -> None:
        """Give the place and the sequences back, or the place in the queue; nothing is to be read any more."""
        self._num_open = 0
        self._give_back()

    @property
    def has_unread(self) -> bool:
        """Whether something has come that nobody has read yet."""
        return self._stream is not None and self._stream.has_unread

    @property
    def context(self) -> ContextFacts | None:
        """How much of its context it takes; None where that is not kept, or not known yet."""
        return None if self._keeping is None else self._keeping.facts(self.progress)

    @property
    def kept(self) -> KeptRequest | None:
        """The request as its model is shown it; None where its conversation is not kept, or that is not known yet."""
        return None if self._keeping is None else self._keeping.kept

    @property
    def is_winding(self) -> bool:
        """Whether its conversation is being wound, or looked for."""
        return self._keeping is not None and self._keeping.is_at_work

    @property
    def winding_s(self) -> float:
        """How long it has waited for its conversation to be wound, seconds."""
        return 0.0 if self._keeping is None else self._keeping.seconds

    def _give_back(self) -> None:
        if self._keeping is not None:
            self._keeping.stop()
        super()._give_back()

    async def _start(self) -> RequestStream:
        """Wait for the lease and hand the sequences over; a wait that is cancelled keeps its place in the queue."""
        request = self.request if self._keeping is None else await self._kept(self._keeping)
        lease = await self._leased(
            sized(request), request.num_sequences, request.spec.priority, request.spec.session_id
        )
        self.queue_ms += lease.queue_ms
        self.load_ms += lease.load_ms
        if self._keeping is not None and lease.client.loaded is not None:  # an upstream does not tell
            request = self._keeping.with_room(lease.client.loaded.context_length)
        self._stream = stream = lease.client.generate(generate_messages(request), slot=request.slot)
        self._num_open = request.num_sequences
        self.progress = tuple(lease.client.progress[sequence_id] for sequence_id in stream.sequence_ids)
        return stream

    async def _kept(self, keeping: Keeping) -> GenerationRequest:
        """Return the request as the model is to be shown it; a wait for that may be cancelled and begun again."""
        if self._error is not None:
            raise self._error
        task = keeping.begin(self.request, self.choice)
        if task is not None:
            await asyncio.wait([task])
            if self._error is not None:
                raise self._error
            keeping.end(task)
        assert keeping.kept is not None
        return keeping.kept.request

    def _translated_batch(self, stream: RequestStream, events: list[StreamEvent]) -> list[GenerationEvent]:
        batch: list[GenerationEvent] = []
        for number, event in enumerate(events):
            try:
                translated = self._translated(event, stream.index_of(event.sequence_id))
            except (RouterError, BackendError):
                if not batch:
                    raise
                stream.unread(events[number:])  # what came before it is read first
                break
            if translated is not None:
                batch.append(translated)
        if self._keeping is not None:
            self._note_kept(self._keeping, batch)
        if not self._num_open:
            self._give_back()
        return batch

    def _note_kept(self, keeping: Keeping, batch: list[GenerationEvent]) -> None:
        """Tell of the context, once the worker has taken the prompt, and of the end."""
        facts = keeping.facts(self.progress)
        if facts is None or self.progress[0].num_prompt_tokens is None:
            return
        if not keeping.is_told:
            keeping.is_told = True
            if facts.wound is not None:
                batch.insert(0, ContextEvent(facts))
        if not self._num_open and keeping.kept is not None and self.choice is not None:
            keeping.keeper.on_end(keeping.kept, facts, self.choice)

    def _translated(self, event: StreamEvent, index: int) -> GenerationEvent | None:
        match event:
            case Delta(output=output, num_tokens=num_tokens):
                self.has_output = True
                return OutputEvent(index, output, num_tokens)
            case Finished(output=output, end=end):
                self.has_output = True
                self._num_open -= 1
                self.progress[index].note_end(end)
                return OutputEvent(index, output, 0, end)
            case PromptShown(start=start, text=text, tokens=tokens):
                self.has_output = True
                return PromptEvent(index, start, text, tokens)
            case Accepted() | PrefillProgress():
                return self._progress(event, index)
            case Failed():
                raise error_of(event, self.request.prompt_param)
            case Aborted():
                raise gave_up()

    def _progress(self, event: Accepted | PrefillProgress, index: int) -> ProgressEvent | None:
        if not self.request.wants_progress:
            return None
        if isinstance(event, Accepted):
            return ProgressEvent(index, 0, event.num_prompt_tokens, 0)
        return ProgressEvent(index, event.num_done, event.num_total, event.num_cached)
