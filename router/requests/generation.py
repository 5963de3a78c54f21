"""One request through the system, whatever protocol it came by: a lease, its sequences' events, one retry, a clean end.

Protocol packages turn their requests into `GenerationRequest` and these events into their own shapes. Who reads the
events, and what becomes of them when nobody does, is `requests`' business.
"""

import time
from collections.abc import AsyncGenerator, Callable
from typing import Final

import msgspec

from backends.errors import (
    BackendError,
    ConstraintError,
    ContextLengthError,
    EngineError,
    ImageError,
    TemplateError,
    UnsupportedByModelError,
)
from backends.wire.messages import (
    Aborted,
    Accepted,
    Delta,
    Failed,
    Finished,
    Generate,
    PrefillProgress,
    PromptShown,
    SequenceEnd,
)
from backends.wire.output import Output, PromptToken
from backends.wire.prompts import ForkPrompt, Prompt
from backends.wire.request import SequenceSpec
from router.errors import (
    ContextLengthExceededError,
    EngineCrashedError,
    InvalidRequestError,
    RouterError,
    UnsupportedFieldError,
)
from router.http.caller import current_caller
from router.models.model_request import ModelRequest
from router.models.size import size_of
from router.requests.context_wish import ContextWish
from router.requests.leased import LeasedRequest
from router.workers.streams import RequestStream, SequenceProgress, StreamEvent, TaskEvent
from router.workers.supervisor import Supervisor

NUM_SEEDS: Final = 2**32 - 1
"""Seeds are taken modulo this: llama.cpp reads 2**32 - 1 as "no seed". Source: llama.h, LLAMA_DEFAULT_SEED."""
_PROMPT_PARAMS: Final = (None, "prompt", "messages")


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a protocol's route wants generated.

    Attributes:
        prompts: What to continue; each gets `num_choices` answers.
        spec: The same for all, but for the seed: the i-th answer of a prompt has the seed plus i.
        prompt_param: The request's field that carries the prompt, for errors.
        num_choices: Answers per prompt, >= 1; they share the prompt's evaluation.
        wants_progress: Whether `ProgressEvent`s are wanted.
        is_prompt_told_once: Whether only the first answer to a prompt tells of it, and the others share its evaluation.
        slot: The place in the batch that the first answer is to be called by, where it is free; None = any.
        owner: As `SequenceSpec` has it.
        context: What is wanted where the conversation fills the context; None = it does not say.
    """

    model_request: ModelRequest
    prompts: tuple[Prompt, ...]
    spec: SequenceSpec
    prompt_param: str = "messages"
    num_choices: int = 1
    wants_progress: bool = False
    is_prompt_told_once: bool = False
    slot: int | None = None
    owner: str | None = msgspec.field(default_factory=lambda: current_caller().key_id)
    context: ContextWish | None = None

    @property
    def num_sequences(self) -> int:
        """Answers in all; number p * num_choices + i is the i-th answer to prompt p."""
        return len(self.prompts) * self.num_choices


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


GenerationEvent = OutputEvent | ProgressEvent | PromptEvent


class Generation(LeasedRequest[RequestStream]):
    """A running request. Read it with `next` until None, then or earlier `close` it; `events` does both.

    A reader that is cancelled in `next` leaves the request as it is: whoever calls `next` after it goes on where it
    was. A worker that dies before it gave any output is replaced, once, unseen; progress then begins anew. Whoever has
    passed nothing on of what was read may `begin_again` after a death, if that once is not spent.

    Args:
        clock: Monotonic seconds.

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
        self, supervisor: Supervisor, request: GenerationRequest, *, clock: Callable[[], float] = time.monotonic
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
                if self.has_output or not self.begin_again():
                    raise
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
        if self.has_begun_again or self._error is not None or not self._num_open:
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

    async def _start(self) -> RequestStream:
        """Wait for the lease and hand the sequences over; a wait that is cancelled keeps its place in the queue."""
        request = self.request
        lease = await self._leased(
            _sized(request), request.num_sequences, request.spec.priority, request.spec.session_id
        )
        self.queue_ms += lease.queue_ms
        self.load_ms += lease.load_ms
        self._stream = stream = lease.client.generate(generate_messages(request), slot=request.slot)
        self._num_open = request.num_sequences
        self.progress = tuple(lease.client.progress[sequence_id] for sequence_id in stream.sequence_ids)
        return stream

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
        if not self._num_open:
            self._give_back()
        return batch

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
                raise _gave_up()

    def _progress(self, event: Accepted | PrefillProgress, index: int) -> ProgressEvent | None:
        if not self.request.wants_progress:
            return None
        if isinstance(event, Accepted):
            return ProgressEvent(index, 0, event.num_prompt_tokens, 0)
        return ProgressEvent(index, event.num_done, event.num_total, event.num_cached)


def generate_messages(request: GenerationRequest) -> list[Generate]:
    """Return one message per sequence; `WorkerLink.generate` gives them their ids.

    The first answer to a prompt has the prompt, the others are forks of it, named by its place in the list.
    """
    messages: list[Generate] = []
    spec = msgspec.structs.replace(request.spec, owner=request.owner)
    further = _without_prompt(spec) if request.is_prompt_told_once else spec
    for prompt in request.prompts:
        fork = ForkPrompt(len(messages))
        messages.append(Generate(0, prompt, spec))
        messages += [Generate(0, fork, _with_seed(further, number)) for number in range(1, request.num_choices)]
    return messages


def _sized(request: GenerationRequest) -> ModelRequest:
    """Return the request for a model with how much work it is: it decides which engine is expected to answer sooner."""
    return msgspec.structs.replace(request.model_request, size=size_of(request.prompts, request.spec.max_tokens))


def _with_seed(spec: SequenceSpec, number: int) -> SequenceSpec:
    sampling = spec.sampling
    if sampling.seed is None:
        return spec
    sampling = msgspec.structs.replace(sampling, seed=(sampling.seed + number) % NUM_SEEDS)
    return msgspec.structs.replace(spec, sampling=sampling)


def _without_prompt(spec: SequenceSpec) -> SequenceSpec:
    sampling = msgspec.structs.replace(spec.sampling, num_prompt_logprobs=None)
    return msgspec.structs.replace(spec, sampling=sampling, echoes=False)


def error_of(event: Failed, prompt_param: str) -> Exception:
    """Return the error that a worker's words mean, with the request's own name for the field of the prompt."""
    # The worker does not know by which field the prompt came.
    param = prompt_param if event.param in _PROMPT_PARAMS else event.param
    match event.code:
        case ContextLengthError.code:
            return ContextLengthExceededError(
                event.message,
                num_prompt_tokens=event.details["n_prompt_tokens"],
                context_length=event.details["n_ctx"],
                param=prompt_param,
            )
        case TemplateError.code:
            return TemplateError(event.message, param=param)
        case ConstraintError.code | ImageError.code:
            kind = ConstraintError if event.code == ConstraintError.code else ImageError
            return kind(event.message, param=event.param)
        case UnsupportedByModelError.code:
            return UnsupportedFieldError(event.message, param)
        case EngineError.code:
            return EngineError(event.message)
        case _:
            return InvalidRequestError(event.message, param)


def raise_failure(event: TaskEvent, param: str) -> None:
    """Raise what an event means that is no answer.

    Args:
        param: The request's field at fault where the worker does not name a part of it.
    """
    if isinstance(event, Failed):
        raise error_of(event, event.param if event.param and event.param.startswith(param) else param)
    if isinstance(event, Aborted):
        raise _gave_up()


def _gave_up() -> EngineCrashedError:
    return EngineCrashedError("the engine gave the request up because it was told to stop")
