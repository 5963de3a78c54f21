"""A pull that a manager runs, as its callers see it: events for any number of readers, and the end.

Not here: running it.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import Literal

from registry.errors import PullConflictError, RegistryError
from registry.pull.events import FINAL_EVENTS, Converting, Planned, Progress, PullEvent, Registered
from registry.pull.plan import Wishes
from registry.pull.puller import PullResult

StopState = Literal["paused", "cancelled", "queued"]


class PullHandle:
    """One pull of this process. The manager makes it."""

    def __init__(self, pull_id: int, reference: str, wishes: Wishes) -> None:
        self.id = pull_id
        self.reference = reference
        self.wishes = wishes
        self.task: asyncio.Task[None] | None = None
        self.stop_state: StopState | None = None
        self.progress: Progress | None = None
        self.converting: Converting | None = None
        self._planned: Planned | None = None
        self._registered: list[Registered] = []
        self._final: PullEvent | None = None
        self._outcome: PullResult | RegistryError | None = None
        self._readers: set[_Reader] = set()

    @property
    def is_ended(self) -> bool:
        """Whether its last event was told."""
        return self._final is not None

    @property
    def num_readers(self) -> int:
        """How many follow it, those who only wait for its end among them."""
        return len(self._readers)

    def stop(self, state: StopState) -> None:
        """Stop it soon. The first to ask decides how."""
        if not self.is_ended and self.stop_state is None and self.task is not None:
            self.stop_state = state
            self.task.cancel()

    def tell(self, event: PullEvent) -> None:
        """Hand an event to all readers.

        Args:
            event: The event. Nothing comes after a final one.
        """
        if isinstance(event, Planned):
            self._planned = event
        elif isinstance(event, Progress):
            self.progress = event
        elif isinstance(event, Registered):
            self._registered.append(event)
        elif isinstance(event, Converting):
            self.converting = event
        elif isinstance(event, FINAL_EVENTS):
            self._final = event
        for reader in self._readers:
            reader.put(event)

    def end(self, event: PullEvent, outcome: PullResult | RegistryError | None = None) -> None:
        """Tell the last event.

        Args:
            outcome: What `wait` gives.
        """
        self._outcome = outcome
        self.tell(event)

    async def events(self) -> AsyncGenerator[PullEvent, None]:
        """Follow the pull from now on; where it stands is told first. Any number of readers may do so.

        A slow reader misses progress events that newer ones replaced, and nothing else.
        """
        reader = _Reader()
        for event in (self._planned, self.progress, *self._registered, self.converting, self._final):
            if event is not None:
                reader.put(event)
        self._readers.add(reader)
        try:
            while True:
                event = await reader.take()
                yield event
                if isinstance(event, FINAL_EVENTS):
                    return
        finally:
            self._readers.discard(reader)

    async def wait(self) -> PullResult:
        """Wait for the end. Cancelling this does not stop the pull.

        Raises:
            PullConflictError: It was paused or cancelled.
            RegistryError: Why it failed.
        """
        async for _ in self.events():
            pass
        if isinstance(self._outcome, RegistryError):
            raise self._outcome
        if self._outcome is None:
            raise PullConflictError(
                f"Pull {self.id} was {self.stop_state}; `mlxr models pulls resume {self.id}` goes on."
            )
        return self._outcome


class _Reader:
    """A queue in which progress events replace each other."""

    def __init__(self) -> None:
        self._events: deque[PullEvent] = deque()
        self._has_event = asyncio.Event()

    def put(self, event: PullEvent) -> None:
        if self._events and _replaces(event, self._events[-1]):
            self._events.pop()
        self._events.append(event)
        self._has_event.set()

    async def take(self) -> PullEvent:
        while not self._events:
            self._has_event.clear()
            await self._has_event.wait()
        return self._events.popleft()


def _replaces(event: PullEvent, before: PullEvent) -> bool:
    """Tell whether an event says all that the one before it did."""
    match event, before:
        case Progress(), Progress():
            return True
        case Converting(step=step), Converting(step=earlier):
            return step == earlier
        case _:
            return False
