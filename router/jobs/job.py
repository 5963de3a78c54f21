"""Long work that others may follow: what all kinds of it have in common.

A kind of job is a `JobKind` and an async function that is given its job, tells it events as it goes on, and returns the
last one. A job belongs to the keys that asked for it. Not here: what a job does, what is stored of it, and the one
place where all of them run (`jobs.py`).
"""

import asyncio
import dataclasses
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterable
from itertools import islice
from typing import Any, Final, Generic, Literal, NamedTuple, Self, TypeVar

from router.http.caller import current_caller

logger = logging.getLogger(__name__)

EventT = TypeVar("EventT")
_T = TypeVar("_T")

StopReason = Literal["paused", "cancelled", "shutting_down"]

_END: Final = object()
"""The slot of every last event."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class JobKind(Generic[EventT]):
    """What jobs of one kind have in common.

    Attributes:
        slot_of: Events of one slot replace each other, for those who come late and for those who read slowly; an event
            of the slot None is told to those who follow now and not kept. Without the function every event is kept.
        ends_late: It belongs to requests: `Jobs.close` leaves it running, only the end of the jobs' context stops it.
        is_answer: Its events are pieces of an answer: only its beginning and its end are news, its name is its id, and
            what it keeps with it says what it is about by `subject`.
    """

    name: str
    slot_of: Callable[[EventT], Hashable | None] | None = None
    ends_late: bool = False
    is_answer: bool = False


class JobNews(NamedTuple):
    """What has become of a job.

    Attributes:
        event: What it told; None = it has just begun, or has ended without a word.
    """

    job: "Job[Any]"
    event: Any
    is_end: bool


class JobShare(NamedTuple):
    """Somebody else has asked for a job, or one of several wants it no longer.

    Attributes:
        owner: Id of the key; None = the server's owner.
        end: What those who follow for a key that left are told last; None = it has come.
    """

    job: "Job[Any]"
    owner: str | None
    end: Any = None


class Job(Generic[EventT]):
    """One piece of work; it goes on whoever follows it and whoever leaves. `router.jobs.jobs.Jobs.start` makes it.

    Args:
        name: Hashable; what it is found by among those of its kind.
        on_end: Called before the last event is told, so that whoever hears of the end finds everything as it stays.
        on_event: Called with every event, and whether it is the last.
        on_share: Called when an owner more or less has a part in it.

    Attributes:
        owners: Ids of the keys that asked for it; None among them = the server's owner.
        about: What whoever runs it keeps with it.
        stop_reason: What the first `stop` said; None = nobody wants it to stop.
        is_ending: Set by the work when it has come to its end by itself: a stop comes too late then.
        end: The last event, once it has ended; None = there was none.
        failure: Why it failed, where its last event does not say.
        is_broken: Whether a defect has ended it.
        on_abandoned: Called when the last of its followers has left before its end.
    """

    def __init__(
        self,
        kind: JobKind[EventT],
        name: Any,
        work: "Work[EventT]",
        group: asyncio.TaskGroup,
        *,
        about: Any,
        owners: frozenset[str | None],
        on_end: Callable[["Job[EventT]"], None],
        on_event: Callable[["Job[EventT]", EventT | None, bool], object] | None = None,
        on_share: Callable[[JobShare], object] | None = None,
    ) -> None:
        self.kind = kind
        self.name = name
        self.about = about
        self.owners = owners
        self.stop_reason: StopReason | None = None
        self.is_ending = False
        self.end: EventT | None = None
        self.failure: str | None = None
        self.is_broken = False
        self.on_abandoned: Callable[[], object] | None = None
        self._on_end = on_end
        self._on_event = on_event
        self._on_share = on_share
        self._kept: dict[Hashable, EventT] = {}
        self._followers: set[Follower[EventT]] = set()
        self._ended = asyncio.Event()
        self._task = group.create_task(self._run(work))
        self._task.add_done_callback(self._on_done)

    @property
    def has_ended(self) -> bool:
        """Whether its last event was told."""
        return self._ended.is_set()

    def last(self, type_: type[_T]) -> _T | None:
        """Return the last event of a type that is kept."""
        return next((event for event in reversed(self._kept.values()) if isinstance(event, type_)), None)

    @property
    def is_seen(self) -> bool:
        """Whether it belongs to whoever asks."""
        return current_caller().may_see_any(self.owners)

    def share(self, owner: str | None) -> None:
        """Let it belong to one more."""
        if owner not in self.owners:
            self.owners |= {owner}
            self._tell_share(JobShare(self, owner))

    def release(self, owner: str | None, end: EventT) -> bool:
        """Take one owner's part away, where there are others for whom it goes on; tell whether it was so.

        Args:
            end: Told as the last event to those who follow for this owner.
        """
        if owner not in self.owners or len(self.owners) == 1:
            return False
        self.owners -= {owner}
        for follower in [each for each in self._followers if each.owner == owner]:
            follower.put(_END, end)
            self.leave(follower)
        self._tell_share(JobShare(self, owner, end))
        return True

    def _tell_share(self, share: JobShare) -> None:
        if self._on_share is not None:
            self._on_share(share)

    def tell(self, event: EventT) -> None:
        """Hand an event to all followers."""
        slot_of = self.kind.slot_of
        self._put(len(self._kept) if slot_of is None else slot_of(event), event)
        if self._on_event is not None and not self.kind.is_answer:
            self._on_event(self, event, False)

    def forget_events(self) -> None:
        """Keep nothing of what was told until now."""
        self._kept.clear()

    def stop(self, reason: StopReason) -> None:
        """Cancel the work, which then says how it ends. The first to ask decides the reason."""
        if self.stop_reason is None and not self.is_ending:
            self.stop_reason = reason
            # Not at once: work that is cancelled before its first step could not say how it ends.
            asyncio.get_running_loop().call_soon(self._cancel)

    async def wait(self) -> None:
        """Wait for its end."""
        await self._ended.wait()

    def follow(self, *, first: EventT | None = None, skip: int = 0) -> "Follower[EventT]":
        """Follow it from now on; what is kept is told before.

        Args:
            first: Told to this follower before everything else.
            skip: How many of the events that are kept it knows already.
        """
        before = [] if first is None else [(None, first)]
        follower = Follower(self, [*before, *islice(self._kept.items(), skip, None)])
        if not self.has_ended:
            self._followers.add(follower)
        return follower

    def leave(self, follower: "Follower[EventT]") -> None:
        """Follow no longer; for `Follower` alone."""
        if self.is_followed_by(follower):
            self._followers.discard(follower)
            if not self._followers and self.on_abandoned is not None:
                self.on_abandoned()

    def is_followed_by(self, follower: "Follower[EventT]") -> bool:
        """Whether more may come for it; for `Follower` alone."""
        return follower in self._followers

    def _cancel(self) -> None:
        if not self.is_ending:
            self._task.cancel()

    async def _run(self, work: "Work[EventT]") -> EventT | None:
        try:
            return await work(self)
        except Exception:  # a defect costs its job, and no other one
            logger.exception("a defect has ended the %s %s", self.kind.name, self.name)
            self.is_broken = True
            return None

    def _on_done(self, task: "asyncio.Task[EventT | None]") -> None:
        self.end = end = None if task.cancelled() else task.result()
        self._on_end(self)
        self.is_ending = True
        self._ended.set()
        followers = list(self._followers)
        if end is not None:
            self._put(_END, end)
        self._followers.clear()
        for follower in followers:
            follower.wake()
        if self._on_event is not None:
            self._on_event(self, end, True)

    def _put(self, slot: Hashable | None, event: EventT) -> None:
        if slot is not None:
            self._kept[slot] = event
        for follower in self._followers:
            follower.put(slot, event)


Work = Callable[[Job[EventT]], Awaitable[EventT | None]]
"""Tells its job events and returns the last one, also when it is cancelled or fails; None = it has none."""


class Follower(Generic[EventT]):
    """One who follows a job: an async iterator of its events to the last. Close it with `aclose`.

    A slow one misses events that later ones of their slot replaced, and nothing else.

    Attributes:
        owner: Key of whoever follows.
    """

    def __init__(self, job: Job[EventT], events: Iterable[tuple[Hashable | None, EventT]]) -> None:
        self.owner = current_caller().key_id
        self._job = job
        self._events = deque(events)
        self._has_news = asyncio.Event()

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> EventT:
        """Return the next event."""
        if not await self._has_more():
            raise StopAsyncIteration
        return self._events.popleft()[1]

    async def next_batch(self) -> list[EventT]:
        """Return all events that are there, waiting for one at least; nothing after the last."""
        await self._has_more()
        batch = [event for _, event in self._events]
        self._events.clear()
        return batch

    async def aclose(self) -> None:
        """Leave; a second call does nothing."""
        self._job.leave(self)

    def put(self, slot: Hashable | None, event: EventT) -> None:
        """Take an event; for `Job` alone."""
        if slot is not None and self._events and self._events[-1][0] == slot:
            self._events.pop()
        self._events.append((slot, event))
        self.wake()

    def wake(self) -> None:
        """Look again whether there is anything to come; for `Job` alone."""
        self._has_news.set()

    async def _has_more(self) -> bool:
        while not self._events and self._job.is_followed_by(self):
            self._has_news.clear()
            await self._has_news.wait()
        return bool(self._events)
