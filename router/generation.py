"""One request through the system, whatever protocol it came by: a lease, its sequences' events, one retry, a clean end.

Protocol packages turn their requests into `GenerationRequest` and these events into their own shapes.
"""

import contextlib
from collections.abc import AsyncGenerator
from typing import Final

import msgspec

from backends.errors import ConstraintError, ContextLengthError, EngineError, TemplateError, UnsupportedByModelError
from backends.messages import (
    Aborted,
    Accepted,
    Delta,
    Failed,
    Finished,
    Generate,
    PrefillProgress,
    SequenceTimings,
    Usage,
)
from backends.output.base import Output
from backends.prompts import ForkPrompt, Prompt
from backends.request import Constraint, OutputSpec
from backends.sequence import Priority, SamplingParams
from router.errors import ContextLengthExceededError, EngineCrashedError, InvalidRequestError, UnsupportedFieldError
from router.supervisor import Supervisor
from router.targets import Choice
from router.waiting import Lease, Wish
from router.worker_client import RequestStream, StreamEvent

NUM_SEEDS: Final = 2**32 - 1
"""Seeds are taken modulo this: llama.cpp reads 2**32 - 1 as "no seed". Source: llama.h, LLAMA_DEFAULT_SEED."""
_PROMPT_PARAMS: Final = (None, "prompt", "messages")


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a protocol's route wants generated.

    Attributes:
        wish: Model and engine.
        prompts: What to continue; each gets `num_choices` answers.
        sampling: The same for all, but for the seed: the i-th answer of a prompt has the seed plus i.
        max_tokens: Upper bound of each answer; None = what the context leaves.
        stop: Strings that end an answer.
        ignore_eos: Go on after end tokens.
        prompt_param: The request's field that carries the prompt, for errors.
        num_choices: Answers per prompt, >= 1; they share the prompt's evaluation.
        constraint: What each answer must match; None = anything.
        output: How answers are taken apart; None = plain text.
        wants_progress: Whether `ProgressEvent`s are wanted.
        priority: Of the request, in the queue and in the batch.
        session_id: Conversation whose cache is kept for its next turn, or None.
    """

    wish: Wish
    prompts: tuple[Prompt, ...]
    sampling: SamplingParams
    max_tokens: int | None
    stop: tuple[str, ...]
    ignore_eos: bool = False
    prompt_param: str = "messages"
    num_choices: int = 1
    constraint: Constraint | None = None
    output: OutputSpec | None = None
    wants_progress: bool = False
    priority: Priority = Priority.INTERACTIVE
    session_id: str | None = None

    @property
    def num_sequences(self) -> int:
        """Answers in all; number p * num_choices + i is the i-th answer to prompt p."""
        return len(self.prompts) * self.num_choices


class SequenceEnd(msgspec.Struct, frozen=True):
    """How one sequence ended.

    Attributes:
        reason: `stop`, `length` or `tool_calls`.
        usage: Token counts.
        timings: Inside the worker.
    """

    reason: str
    usage: Usage
    timings: SequenceTimings


class OutputEvent(msgspec.Struct, frozen=True):
    """New output of the `index`-th sequence, and its end if that was the last; the output may be empty then.

    Attributes:
        index: Of the sequence.
        output: What is new.
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
        index: Of the sequence.
        num_done: Evaluated, cached ones included.
        num_total: Of the prompt.
        num_cached: Those that had not to be computed.
    """

    index: int
    num_done: int
    num_total: int
    num_cached: int


GenerationEvent = OutputEvent | ProgressEvent


class Generation:
    """A running request: iterate over `events` once; leaving the iteration early gives everything back.

    Attributes:
        request: What it was started with.
        choice: The model and engine that serve it, once the first events came.
        queue_ms: Time in the gateway's queue.
        load_ms: Time waited for a load.
    """

    def __init__(self, supervisor: Supervisor, request: GenerationRequest) -> None:
        self._supervisor = supervisor
        self.request = request
        self.choice: Choice | None = None
        self.queue_ms = 0.0
        self.load_ms = 0.0

    async def events(self) -> AsyncGenerator[list[GenerationEvent], None]:
        """Yield what each step brought, in lists of at least one event.

        A worker that dies before it gave any output is replaced, once, without the client seeing it; progress then
        begins anew.

        Raises:
            RouterError: The request cannot be served, or no further.
            BackendError: The prompt, or the engine.
        """
        is_retry = False
        while True:
            has_output = False
            try:
                async with contextlib.aclosing(self._one_try()) as batches:
                    async for batch in batches:
                        has_output = has_output or any(type(event) is OutputEvent for event in batch)
                        yield batch
            except EngineCrashedError:
                if has_output or is_retry:
                    raise
                is_retry = True
            else:
                return

    async def _one_try(self) -> AsyncGenerator[list[GenerationEvent], None]:
        request = self.request
        lease = await self._supervisor.lease(request.wish, request.num_sequences, request.priority)
        stream: RequestStream | None = None
        try:
            self._take_over(lease)
            stream = lease.client.generate(generate_messages(request))
            index_of = {sequence_id: index for index, sequence_id in enumerate(stream.sequence_ids)}
            num_open = len(index_of)
            while num_open:
                batch: list[GenerationEvent] = []
                for event in await stream.read():
                    translated = self._translated(event, index_of)
                    if translated is not None:
                        batch.append(translated)
                        num_open -= type(translated) is OutputEvent and translated.end is not None
                if batch:
                    yield batch
        finally:
            if stream is not None:
                lease.client.cancel(stream)
            lease.release()

    def _take_over(self, lease: Lease) -> None:
        self.choice = lease.choice
        self.queue_ms += lease.queue_ms
        self.load_ms += lease.load_ms

    def _translated(self, event: StreamEvent, index_of: dict[int, int]) -> GenerationEvent | None:
        match event:
            case Delta(sequence_id=sequence_id, output=output, num_tokens=num_tokens):
                return OutputEvent(index_of[sequence_id], output, num_tokens)
            case Finished(sequence_id=sequence_id, output=output):
                end = SequenceEnd(event.reason, event.usage, event.timings)
                return OutputEvent(index_of[sequence_id], output, 0, end)
            case Accepted() | PrefillProgress():
                return self._progress(event, index_of[event.sequence_id])
            case Failed():
                raise error_of(event, self.request.prompt_param)
            case Aborted():
                raise EngineCrashedError("the engine gave the request up because it was told to stop")

    def _progress(self, event: Accepted | PrefillProgress, index: int) -> ProgressEvent | None:
        if not self.request.wants_progress:
            return None
        if isinstance(event, Accepted):
            return ProgressEvent(index, 0, event.num_prompt_tokens, 0)
        return ProgressEvent(index, event.num_done, event.num_total, event.num_cached)


def generate_messages(request: GenerationRequest) -> list[Generate]:
    """Return one message per sequence; `WorkerClient.generate` gives them their ids.

    The first answer to a prompt has the prompt, the others are forks of it, named by its place in the list.
    """
    messages: list[Generate] = []
    for prompt in request.prompts:
        fork = ForkPrompt(len(messages))
        messages += [
            Generate(
                sequence_id=0,
                prompt=prompt if number == 0 else fork,
                sampling=_with_seed(request.sampling, number),
                max_tokens=request.max_tokens,
                stop=request.stop,
                ignore_eos=request.ignore_eos,
                wants_progress=request.wants_progress,
                constraint=request.constraint,
                output=request.output,
                priority=request.priority,
                session_id=request.session_id,
            )
            for number in range(request.num_choices)
        ]
    return messages


def _with_seed(sampling: SamplingParams, number: int) -> SamplingParams:
    if sampling.seed is None or number == 0:
        return sampling
    return msgspec.structs.replace(sampling, seed=(sampling.seed + number) % NUM_SEEDS)


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
        case ConstraintError.code:
            return ConstraintError(event.message, param=event.param)
        case UnsupportedByModelError.code:
            return UnsupportedFieldError(event.message, param)
        case EngineError.code:
            return EngineError(event.message)
        case _:
            return InvalidRequestError(event.message, param)
