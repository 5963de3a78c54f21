"""The requests of one upstream: so many at a time, the others in a queue of its own, interactive ones first.

Beside the supervisor's queue, because nothing is loaded or unloaded for them. Owned by the event loop.
"""

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator

from backends.wire.request import Priority
from router.config import LimitsConfig
from router.errors import QueueFullError, RouterError, ShuttingDownError, UnavailableError
from router.placement.situation import WaitingRequest
from router.sleep.awake import AwakeTimer
from router.workers.base import WorkerLink
from router.workers.waiting import Lease, Ticket, WaitingQueue


def _nothing() -> None:
    """Do nothing."""


class Lane:
    """One per upstream.

    Args:
        parallel: Sequences at a time; a request of more has the upstream for itself.
        limits: Gives those in force.
        link_for: Makes what serves a ticket's request.
        begin: Told of each that gets a place; what it returns is called at the end.
        clock: Monotonic seconds.

    Attributes:
        num_running: Sequences that have a place.
    """

    def __init__(
        self,
        parallel: int,
        *,
        limits: Callable[[], LimitsConfig],
        link_for: Callable[[Ticket], WorkerLink],
        begin: Callable[[Ticket], Callable[[], None]] = lambda _ticket: _nothing,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._parallel = parallel
        self._limits = limits
        self._link_for = link_for
        self._begin = begin
        self._clock = clock
        self._queue = WaitingQueue()
        self._timers: dict[int, AwakeTimer] = {}
        self._numbers = itertools.count(1)
        self._links: dict[int, WorkerLink] = {}
        self._released = asyncio.Event()
        self._is_open = False
        self._has_ended = False
        self.num_running = 0

    @property
    def waiting(self) -> list[WaitingRequest]:
        """Those that wait."""
        return self._queue.requests

    @property
    def num_waiting(self) -> int:
        """How many sequences those want that wait."""
        return sum(ticket.num_sequences for ticket in self._queue)

    async def until_idle(self) -> None:
        """Wait until nobody has a place."""
        while self._links:
            self._released.clear()
            await self._released.wait()

    def open(self) -> None:
        """Begin to give leases: the upstream can be asked."""
        self._is_open = True
        self._grant()

    def admit(self, ticket: Ticket) -> None:
        """Queue a ticket, or refuse it where the queue is full."""
        if ticket.lease.done():
            return
        if self._has_ended:
            ticket.lease.set_exception(ShuttingDownError())
            return
        limits, priority = self._limits(), ticket.priority
        is_urgent = priority is Priority.INTERACTIVE
        most = limits.max_queue if is_urgent else limits.max_queue_background
        if self._queue.num_waiting(priority) >= most and not self._has_place(ticket):
            ticket.lease.set_exception(
                QueueFullError(retry_after_s=self._queue.retry_after_s(priority, self._parallel))
            )
            return
        self._queue.add(ticket)
        wait_s = limits.queue_timeout_s if is_urgent else limits.queue_timeout_background_s
        late = UnavailableError(f"the request waited {wait_s:g} s for the upstream without being served")
        self._timers[ticket.ticket_id] = AwakeTimer(wait_s, lambda: self._fail(ticket, late))
        ticket.lease.add_done_callback(lambda _lease: self._on_settled(ticket))
        self._grant()

    def take_waiting(self) -> list[Ticket]:
        """Return those that wait, who do so no longer."""
        tickets = list(self._queue)
        for ticket in tickets:
            self._forget(ticket)
        return tickets

    def end(self, error: RouterError) -> None:
        """Refuse what waits, and cut what runs."""
        self._has_ended = True
        for ticket in list(self._queue):
            self._fail(ticket, error)
        for link in list(self._links.values()):
            link.fail_streams(error)

    def _in_turn(self) -> Iterator[Ticket]:
        for priority in (Priority.INTERACTIVE, Priority.BACKGROUND):
            yield from (ticket for ticket in self._queue if ticket.priority is priority)

    def _has_place(self, ticket: Ticket) -> bool:
        return self.num_running == 0 or self.num_running + ticket.num_sequences <= self._parallel

    def _grant(self) -> None:
        """Give leases as long as there are places; who waits for several is not passed by those who came later."""
        for ticket in list(self._in_turn()) if self._is_open else ():
            if not self._has_place(ticket):
                return
            self._forget(ticket)
            if not ticket.lease.done():
                self._give(ticket)

    def _give(self, ticket: Ticket) -> None:
        try:
            link = self._link_for(ticket)
        except RouterError as exc:
            ticket.lease.set_exception(exc)
            return
        number, now, size = next(self._numbers), self._clock(), ticket.num_sequences
        self._links[number] = link
        end = self._begin(ticket)
        self.num_running += size

        def release() -> None:
            del self._links[number]
            end()
            self._released.set()
            self.num_running -= size
            if size:
                self._queue.on_served(ticket.priority, self._clock() - now)
            self._grant()

        waited_ms = (now - ticket.arrived_at) * 1000
        ticket.lease.set_result(Lease(link, ticket.choice, None, queue_ms=waited_ms, load_ms=0.0, release=release))

    def _on_settled(self, ticket: Ticket) -> None:
        """Its client may have gone while it waited."""
        self._forget(ticket)

    def _forget(self, ticket: Ticket) -> None:
        self._queue.take(ticket.ticket_id)
        timer = self._timers.pop(ticket.ticket_id, None)
        if timer is not None:
            timer.cancel()

    def _fail(self, ticket: Ticket, error: RouterError) -> None:
        self._forget(ticket)
        if not ticket.lease.done():
            ticket.lease.set_exception(error)
