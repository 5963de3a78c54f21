"""What llama-server tells beside the events of a stream, where a request asks for it. No I/O.

Source: llama.cpp, tools/server/README.md, `return_progress` and `timings_per_token`; in its Responses API
`prompt_progress` stands in `response.in_progress`, and `timings` beside the texts and the end.
"""

import time
from collections.abc import Callable, Iterator

from msgspec import UNSET, UnsetType

from backends.wire.messages import SequenceEnd, SequenceTimings, Usage
from router.protocols.openai.answer import timings_of
from router.protocols.openai.answer_schemas import PromptProgress, Timings
from router.protocols.responses.schemas import ResponseRequest
from router.requests.generation import Generation, OutputEvent, ProgressEvent


class Telemetry:
    """Follows one response; times by the gateway's clock.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(
        self, request: ResponseRequest, generation: Generation, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._has_progress = bool(request.return_progress)
        self._has_timings = bool(request.timings_per_token)
        self._generation = generation
        self._clock = clock
        self._accepted_at: float | None = None
        self._first_at: float | None = None
        self._progress = ProgressEvent(0, 0, 0, 0)
        self._num_cached: int | None = None
        self._num_shown = -1
        self._num_tokens = 0

    def on_progress(self, event: ProgressEvent) -> Iterator[PromptProgress]:
        """Yield how far the prompt is: what was in the cache first, then more of it each time."""
        is_first = self._accepted_at is None
        self._accepted_at = self._accepted_at or self._clock()
        self._progress = event
        if is_first and not event.num_done:
            return  # that it was accepted: what is in the cache is known with the next
        if self._num_cached is None:
            self._num_cached = event.num_cached
            yield from self._shown(event.num_cached)
        yield from self._shown(event.num_done)

    def on_output(self, event: OutputEvent) -> Iterator[PromptProgress]:
        """Count an output; yield the end of the prompt before the first."""
        self._num_tokens += event.num_tokens
        if self._first_at is None:
            self._first_at = self._clock()
            if self._progress.num_total:
                yield from self._shown(self._progress.num_total)

    @property
    def timings(self) -> Timings | UnsetType:
        """Those so far; the response object at the end has the worker's."""
        if not self._has_timings:
            return UNSET
        now = self._clock()
        accepted_at = now if self._accepted_at is None else self._accepted_at
        first_at = now if self._first_at is None else self._first_at
        times = SequenceTimings(0.0, (first_at - accepted_at) * 1000, (now - first_at) * 1000)
        usage = Usage(self._progress.num_total, self._progress.num_cached, self._num_tokens)
        return timings_of([SequenceEnd("stop", usage, times)], self._generation)

    def at_end(self, timings: Timings | UnsetType) -> Timings | UnsetType:
        """Return the worker's timings, where they are wanted beside the object."""
        return timings if self._has_timings else UNSET

    def _shown(self, num_done: int) -> Iterator[PromptProgress]:
        if not self._has_progress or num_done <= self._num_shown:
            return
        self._num_shown = num_done
        yield PromptProgress(
            total=self._progress.num_total,
            cache=self._num_cached or 0,
            processed=num_done,
            time_ms=round((self._clock() - (self._accepted_at or self._clock())) * 1000),
        )
