"""Requests that wait for a worker, and the lease each of them gets in the end.

The queue is owned by the supervisor's task. Not the decision who is served next (`placement`).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator

import msgspec

from backends.wire.request import Priority
from router.errors import RouterError
from router.models.model_request import ModelRequest
from router.models.targets import Choice, Target
from router.placement.situation import WaitingRequest
from router.status import WorkerRef
from router.workers.base import WorkerLink

MAX_RETRY_AFTER_S = 60.0
_FIRST_GUESS_S = 5.0
_NUM_SERVICE_TIMES = 32


class Lease:
    """The right to use a resident worker; to be released exactly once.

    Attributes:
        choice: What it serves, and why it is this engine.
        worker: Which one it is; None = an upstream serves, and no worker here.
        queue_ms: Time the request waited without its model being loaded.
    """

    def __init__(
        self,
        client: WorkerLink,
        choice: Choice,
        worker: WorkerRef | None,
        *,
        queue_ms: float,
        load_ms: float,
        release: Callable[[], None],
    ) -> None:
        self.client = client
        self.choice = choice
        self.worker = worker
        self.queue_ms = queue_ms
        self.load_ms = load_ms
        self._release: Callable[[], None] | None = release

    def release(self) -> None:
        """Give the place back; a second call does nothing."""
        if self._release is not None:
            release, self._release = self._release, None
            release()


class Ticket(msgspec.Struct):
    """One waiting request.

    Attributes:
        choice: What that means under the settings in force.
        session_id: The conversation it belongs to, or None.
        arrived_at: Monotonic seconds.
    """

    ticket_id: int
    model_request: ModelRequest
    choice: Choice
    num_sequences: int
    priority: Priority
    session_id: str | None
    arrived_at: float
    lease: asyncio.Future[Lease]


class WaitingQueue:
    """Tickets in order of arrival, and what their service took lately."""

    def __init__(self) -> None:
        self._tickets: dict[int, Ticket] = {}
        self._num_tickets = dict.fromkeys(Priority, 0)
        self._service_times_s = {priority: deque([_FIRST_GUESS_S], maxlen=_NUM_SERVICE_TIMES) for priority in Priority}

    def __len__(self) -> int:
        return len(self._tickets)

    def __iter__(self) -> Iterator[Ticket]:
        return iter(list(self._tickets.values()))

    def num_waiting(self, priority: Priority) -> int:
        """Tickets of one class."""
        return self._num_tickets[priority]

    def add(self, ticket: Ticket) -> None:
        """Queue a ticket."""
        self._tickets[ticket.ticket_id] = ticket
        self._num_tickets[ticket.priority] += 1

    def take(self, ticket_id: int) -> Ticket | None:
        """Remove and return a ticket; None when it is not there any more."""
        ticket = self._tickets.pop(ticket_id, None)
        if ticket is not None:
            self._num_tickets[ticket.priority] -= 1
        return ticket

    def fail(self, ticket: Ticket, error: BaseException) -> None:
        """Remove a ticket and give its client the error."""
        self.take(ticket.ticket_id)
        if not ticket.lease.done():
            ticket.lease.set_exception(error)

    def fail_target(self, target: Target, error: RouterError) -> None:
        """Fail everyone who waits for `target`."""
        for ticket in self:
            if ticket.choice.target == target:
                self.fail(ticket, error)

    def asking_for(self, target: Target) -> ModelRequest | None:
        """Return what the first of those that wait for `target` asks for; None = nobody waits for it."""
        return next((each.model_request for each in self._tickets.values() if each.choice.target == target), None)

    def on_served(self, priority: Priority, duration_s: float) -> None:
        """Note how long a lease was held."""
        self._service_times_s[priority].append(duration_s)

    def retry_after_s(self, priority: Priority, num_places: int) -> float:
        """Return when a request that is turned away now would have its turn, by the last service times.

        Each place serves one request after another, in the mean time of the class. Ahead are those that wait in the
        same class, and in front of a background request the interactive ones as well.

        Args:
            num_places: Requests that are served at a time, >= 1.

        Returns:
            Seconds, 1 to MAX_RETRY_AFTER_S; never less for a longer queue.
        """
        ahead = [Priority.INTERACTIVE] if priority is Priority.INTERACTIVE else list(Priority)
        work_s = sum(self._num_tickets[each] * self._mean_service_s(each) for each in ahead)
        wait_s = (work_s + self._mean_service_s(priority)) / num_places
        return min(MAX_RETRY_AFTER_S, max(1.0, wait_s))

    @property
    def targets(self) -> list[Target]:
        """What is waited for, each once for every request."""
        return [ticket.choice.target for ticket in self._tickets.values()]

    @property
    def requests(self) -> list[WaitingRequest]:
        """The queue as placement sees it."""
        return [
            WaitingRequest(
                ticket.ticket_id,
                ticket.choice.target,
                ticket.num_sequences,
                ticket.arrived_at,
                ticket.priority,
                ticket.session_id,
                ticket.model_request.worker_id,
            )
            for ticket in self._tickets.values()
        ]

    def _mean_service_s(self, priority: Priority) -> float:
        times = self._service_times_s[priority]
        return sum(times) / len(times)
