"""A request's conversation within its model's context: who keeps it there, and how far that is for one request."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import msgspec

from router.errors import ContextLengthExceededError
from router.models.targets import Choice
from router.requests.context import ContextFacts, answer_room
from router.requests.request import GenerationRequest
from router.status.contexts import WoundFacts
from router.workers.streams import SequenceProgress


class KeptRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request as its model is shown it.

    Attributes:
        context_id: By which that is found again; None = it is shown what was sent.
        wound: What was done to the conversation; None likewise.
        narrative: What was told of it; None = nothing was.
        keeps_room: Whether the prompt has to leave the answer as much room as `answer_room` says.
    """

    request: GenerationRequest
    context_id: str | None = None
    wound: WoundFacts | None = None
    narrative: str | None = None
    keeps_room: bool = True


class PromptKeeper(Protocol):
    """Keeps the conversation of one request within its model's context.

    What is awaited runs on when its reader goes; it is cancelled when the request ends.
    """

    async def before(self, request: GenerationRequest) -> KeptRequest:
        """Return a request with what of its conversation was told again before, if anything was."""

    async def too_long(
        self, kept: KeptRequest, error: ContextLengthExceededError, choice: Choice
    ) -> KeptRequest | None:
        """Return a request that was too long for the model as it can be tried again; None = nothing can go."""

    def on_end(self, kept: KeptRequest, facts: ContextFacts, choice: Choice) -> None:
        """Take note that all answers have come to their ends."""


class Keeping:
    """What a keeper does for one request, and what came of it.

    Attributes:
        kept: The request as its model is shown it; None = the keeper was not asked yet.
        too_long: Why that has to become shorter; None = it has not.
        is_told: Whether the reader knows of the winding.
    """

    def __init__(self, keeper: PromptKeeper, clock: Callable[[], float]) -> None:
        self.keeper = keeper
        self.kept: KeptRequest | None = None
        self.too_long: ContextLengthExceededError | None = None
        self.is_told = False
        self._clock = clock
        self._task: asyncio.Task[KeptRequest | None] | None = None
        self._begun_at: float | None = None
        self._seconds = 0.0
        self._limit: int | None = None

    @property
    def seconds(self) -> float:
        """How long the keeper has taken, until now."""
        return self._seconds + (0.0 if self._begun_at is None else self._clock() - self._begun_at)

    @property
    def is_at_work(self) -> bool:
        """Whether the keeper has something to do."""
        return self._begun_at is not None

    def begin(self, request: GenerationRequest, choice: Choice | None) -> asyncio.Task[KeptRequest | None] | None:
        """Have the keeper do what is to be done next, unless it is at it; return that, None = nothing is."""
        if self._task is None and (self.kept is None or self.too_long is not None):
            self._begun_at = self._clock()
            self._task = asyncio.create_task(self._work(request, choice))
        return self._task

    def _work(self, request: GenerationRequest, choice: Choice | None) -> Coroutine[Any, Any, KeptRequest | None]:
        if self.kept is None or self.too_long is None:
            return self.keeper.before(request)
        assert choice is not None
        return self.keeper.too_long(self.kept, self.too_long, choice)

    def end(self, task: asyncio.Task[KeptRequest | None]) -> None:
        """Take over what the keeper has done; errors are the request's."""
        self.stop()
        kept, error = task.result(), self.too_long
        if kept is None:
            assert error is not None
            raise error
        self.kept, self.too_long = kept, None

    def stop(self) -> None:
        """End what the keeper does, if it is at anything."""
        task, self._task = self._task, None
        if task is not None:
            self._seconds, self._begun_at = self.seconds, None
            task.cancel()

    def with_room(self, context_length: int) -> GenerationRequest:
        """Return the request for a context of that length."""
        self._limit = context_length
        assert self.kept is not None
        request = self.kept.request
        if not self.kept.keeps_room:
            return request
        room = answer_room(request.spec.max_tokens, context_length)
        if request.context is not None and request.context.threshold is not None:
            room = max(room, context_length - request.context.threshold)
        return msgspec.structs.replace(request, spec=msgspec.structs.replace(request.spec, min_room=room))

    def facts(self, progress: tuple[SequenceProgress, ...]) -> ContextFacts | None:
        """Return what is to be told of the context, once a worker has the request."""
        if self._limit is None or self.kept is None:
            return None
        used = max(((each.num_prompt_tokens or 0) + each.num_output_tokens for each in progress), default=0)
        return ContextFacts(used=used, limit=self._limit, context_id=self.kept.context_id, wound=self.kept.wound)
