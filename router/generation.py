"""One request through the system, whatever protocol it came by: a lease, its sequences' events, one retry, a clean end.

Protocol packages turn their requests into `GenerationRequest` and these events into their own shapes.
"""

import contextlib
from collections.abc import AsyncGenerator

import msgspec

from backends.errors import ContextLengthError, EngineError, TemplateError
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
from backends.prompts import Prompt
from backends.sequence import SamplingParams
from router.errors import ContextLengthExceededError, EngineCrashedError, InvalidRequestError
from router.supervisor import Supervisor
from router.targets import Choice
from router.waiting import Lease, Wish
from router.worker_client import RequestStream, StreamEvent


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a protocol's route wants generated.

    Attributes:
        wish: Model and engine.
        prompts: One sequence each.
        sampling: The same for all.
        max_tokens: Upper bound of each answer; None = what the context leaves.
        stop: Strings that end an answer.
        ignore_eos: Go on after end tokens.
        prompt_param: The request's field that carries the prompt, for errors.
    """

    wish: Wish
    prompts: tuple[Prompt, ...]
    sampling: SamplingParams
    max_tokens: int | None
    stop: tuple[str, ...]
    ignore_eos: bool = False
    prompt_param: str = "messages"


class SequenceEnd(msgspec.Struct, frozen=True):
    """How one sequence ended.

    Attributes:
        reason: `stop` or `length`.
        usage: Token counts.
        timings: Inside the worker.
    """

    reason: str
    usage: Usage
    timings: SequenceTimings


class TextEvent(msgspec.Struct, frozen=True):
    """New text of the `index`-th sequence, and its end if that was the last; the text may be empty then."""

    index: int
    text: str
    end: SequenceEnd | None = None


class Generation:
    """A running request: iterate over `events` once; leaving the iteration early gives everything back.

    Attributes:
        choice: The model and engine that serve it, once the first events came.
        queue_ms: Time in the gateway's queue.
        load_ms: Time waited for a load.
    """

    def __init__(self, supervisor: Supervisor, request: GenerationRequest) -> None:
        self._supervisor = supervisor
        self._request = request
        self.choice: Choice | None = None
        self.queue_ms = 0.0
        self.load_ms = 0.0

    async def events(self) -> AsyncGenerator[list[TextEvent], None]:
        """Yield what each step brought, in lists of at least one event.

        A worker that dies before it gave any text is replaced, once, without the client seeing it.

        Raises:
            RouterError: The request cannot be served, or no further.
            BackendError: The prompt, or the engine.
        """
        is_retry = False
        while True:
            has_text = False
            try:
                async with contextlib.aclosing(self._one_try()) as batches:
                    async for batch in batches:
                        has_text = True
                        yield batch
            except EngineCrashedError:
                if has_text or is_retry:
                    raise
                is_retry = True
            else:
                return

    async def _one_try(self) -> AsyncGenerator[list[TextEvent], None]:
        request = self._request
        lease = await self._supervisor.lease(request.wish, len(request.prompts))
        stream: RequestStream | None = None
        try:
            self._take_over(lease)
            stream = lease.client.generate([self._generate(prompt) for prompt in request.prompts])
            index_of = {sequence_id: index for index, sequence_id in enumerate(stream.sequence_ids)}
            num_open = len(index_of)
            while num_open:
                batch = [
                    text_event
                    for event in await stream.read()
                    if (text_event := self._text_event(event, index_of)) is not None
                ]
                num_open -= sum(text_event.end is not None for text_event in batch)
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

    def _generate(self, prompt: Prompt) -> Generate:
        request = self._request
        return Generate(
            sequence_id=0,
            prompt=prompt,
            sampling=request.sampling,
            max_tokens=request.max_tokens,
            stop=request.stop,
            ignore_eos=request.ignore_eos,
        )

    def _text_event(self, event: StreamEvent, index_of: dict[int, int]) -> TextEvent | None:
        match event:
            case Delta(sequence_id=sequence_id, output=output):
                return TextEvent(index_of[sequence_id], output.text)
            case Finished(sequence_id=sequence_id, output=output):
                return TextEvent(
                    index_of[sequence_id], output.text, SequenceEnd(event.reason, event.usage, event.timings)
                )
            case Accepted() | PrefillProgress():
                return None
            case Failed():
                raise _error_of(event, self._request.prompt_param)
            case Aborted():
                raise EngineCrashedError("the engine gave the request up because it was told to stop")


def _error_of(event: Failed, prompt_param: str) -> Exception:
    if event.code == ContextLengthError.code:
        return ContextLengthExceededError(
            event.message,
            num_prompt_tokens=event.details["n_prompt_tokens"],
            context_length=event.details["n_ctx"],
            param=prompt_param,
        )
    if event.code == TemplateError.code:
        return TemplateError(event.message, param=event.param)
    if event.code == EngineError.code:
        return EngineError(event.message)
    return InvalidRequestError(event.message, prompt_param)
