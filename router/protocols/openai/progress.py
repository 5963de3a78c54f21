"""Named events `prefill_progress` in a stream, for clients that ask for them by header: also while nothing else comes.

Strict clients break on events they do not know, which is why nobody gets them unasked.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Final, Literal

import msgspec

from router.errors import InvalidRequestError
from router.http.headers import PROGRESS_HEADER
from router.http.streaming import SSE, SSE_KEEP_ALIVE
from router.protocols.answers import sse_event
from router.protocols.endpoint import Parameter
from router.requests.generation import GenerationEvent, OutputEvent, ProgressEvent
from router.requests.register import AnswerEncoder, Reading
from router.requests.request import GenerationRequest
from router.workers.supervisor import Supervisor

INTERVAL_S: Final = 2.0
"""Time between two events; the first comes when the prompt was accepted, or after this time in the queue."""


class Prefill(msgspec.Struct, frozen=True):
    """How far the prompt is.

    Attributes:
        status: `queued`, `loading` (the model), `processing` (the prompt) or `done`.
        n_past: Prompt tokens evaluated, cached ones included; several prompts add up.
        n_prompt_tokens: Of the prompt; null until it was tokenized.
        fraction: Of the prompt, 0..1.
    """

    status: str
    n_past: int
    n_prompt_tokens: int | None
    fraction: float
    elapsed_seconds: float


class PrefillProgress(msgspec.Struct, frozen=True):
    """Data of one event, an object like the answer's own.

    Attributes:
        id: Of the answer: `chatcmpl-…`, `cmpl-…` or `resp_…`.
        created: Seconds since 1970.
        model: As the request named it.
    """

    id: str
    object: Literal["prefill_progress"]
    created: int
    model: str
    prefill: Prefill


PREFILL_PROGRESS: Final = Parameter(
    name=PROGRESS_HEADER, type=bool, what="Whether a stream tells how far the evaluation of its prompt is."
)


def wants_prefill_events(headers: Mapping[str, str]) -> bool:
    """Read the header X-Mlxr-Prefill-Progress.

    Raises:
        InvalidRequestError: It is neither true nor false.
    """
    word = headers.get(PROGRESS_HEADER, "false").strip().lower()
    if word not in {"true", "1", "false", "0"}:
        raise InvalidRequestError(f"{PROGRESS_HEADER}: {word!r:.40} is not known; send true or false", PROGRESS_HEADER)
    return word in {"true", "1"}


class PrefillWatch:
    """Follows the prompts of one request.

    Args:
        supervisor: To tell a request in the queue from one whose model is being loaded.
        answer_id: Of the answer; `created` and `model` likewise.
        clock: Monotonic seconds.

    Attributes:
        is_done: Whether the answers to all prompts have begun.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        request: GenerationRequest,
        *,
        answer_id: str,
        created: int,
        model: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._supervisor = supervisor
        self._identity = (answer_id, created, model)
        self._request = request
        self._clock = clock
        self._started_at = clock()
        self._due_at = self._started_at + INTERVAL_S
        self._progress: dict[int, ProgressEvent] = {}
        self._begun: set[int] = set()
        self._is_shown = False
        self.is_done = False

    @property
    def wait_s(self) -> float:
        """Seconds until the next event is due, >= 0."""
        return max(0.0, self._due_at - self._clock())

    def observe(self, events: list[GenerationEvent]) -> bytes:
        """Take over what happened; return the event that is due by it, or b""."""
        for event in events:
            if event.index % self._request.num_choices:
                continue
            if isinstance(event, ProgressEvent):
                self._progress[event.index] = event
            elif isinstance(event, OutputEvent):
                self._begun.add(event.index)
        self.is_done = len(self._begun) == len(self._request.prompts)
        is_due = not self._is_shown or self.is_done or self._clock() >= self._due_at
        return self.event() if is_due else b""

    def event(self) -> bytes:
        """Return an event about how it stands now."""
        now = self._clock()
        self._is_shown = True
        self._due_at = now + INTERVAL_S
        total = sum(progress.num_total for progress in self._progress.values())
        done = total if self.is_done else sum(progress.num_done for progress in self._progress.values())
        prefill = Prefill(
            self._status(),
            done,
            total or None,
            round(done / total, 4) if total else 0.0,
            round(now - self._started_at, 3),
        )
        answer_id, created, model = self._identity
        return sse_event(PrefillProgress(answer_id, "prefill_progress", created, model, prefill), "prefill_progress")

    def _status(self) -> str:
        if self.is_done:
            return "done"
        if self._progress:
            return "processing"
        model = self._request.model_request.model
        is_loading = any(
            worker.target is not None and worker.target.model == model and not worker.state.is_resident
            for worker in self._supervisor.workers
        )
        return "loading" if is_loading else "queued"


class WatchedEncoder:
    """An encoder whose chunks have the events that are due by what happened."""

    media_type = SSE
    keep_alive = SSE_KEEP_ALIVE

    def __init__(self, encoder: AnswerEncoder, watch: PrefillWatch) -> None:
        self.encoder = encoder
        self.watch = watch

    def encode(self, events: list[GenerationEvent]) -> bytes:
        """Return the chunks for one batch of events; the answer's own beginning, where it has one, stands first."""
        if self.watch.is_done:
            return self.encoder.encode(events)
        beginning = self.encoder.encode([])
        return beginning + self.watch.observe(events) + self.encoder.encode(events)

    def tail(self) -> bytes:
        """Return what comes after the last event."""
        return self.encoder.tail()


async def chunks_with_progress(
    reading: Reading | AsyncGenerator[bytes, None], watch: PrefillWatch
) -> AsyncGenerator[bytes, None]:
    """Yield the chunks of a stream, and events when nothing came for a while, until the answers begin.

    From then on nothing waits with a timer: a token costs what it costs in a stream without events. The reading is
    closed at the end.
    """
    try:
        while not watch.is_done:
            step = asyncio.ensure_future(anext(reading, None))
            try:
                while not (await asyncio.wait({step}, timeout=watch.wait_s))[0]:
                    yield watch.event()
            finally:
                if not step.done():
                    step.cancel()
                    await asyncio.wait({step})
            chunk = step.result()
            if chunk is None:
                return
            yield chunk
        async for chunk in reading:
            yield chunk
    finally:
        await reading.aclose()
