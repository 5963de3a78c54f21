"""Where requests come in and get their leases: bounded queues, and the record of who was served where and how long.

Part of the supervisor's task. Not what a request means (`router.models.directory`), not the decision who is served next
(`placement`, `dispatching`).
"""

import asyncio
import itertools
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from backends.wire.request import Priority
from registry.errors import RegistryError
from router.config import Config
from router.errors import InvalidRequestError, QueueFullError, RouterError, ShuttingDownError, UnavailableError
from router.http.headers import WORKER_HEADER
from router.models.load_settings import config_for
from router.models.model_request import ModelRequest
from router.models.targets import Choice, Target
from router.placement.dispatching import has_free_place
from router.placement.lifecycle import WorkerState
from router.status import WorkerRef
from router.workers.fleet import Fleet
from router.workers.messages import Checked, Message, Release, Submit, Withdraw
from router.workers.remote import RemoteServing
from router.workers.residency import ManagedWorker
from router.workers.waiting import Lease, Ticket, WaitingQueue

logger = logging.getLogger(__name__)

MAX_SESSIONS = 4096
"""Sessions that are remembered; the one that was not used for longest goes first."""


class SessionAffinity(OrderedDict[str, int]):
    """Session id to the worker that served it last, whose cache may still be there; the last used at the end."""

    def settle(self, session_id: str, worker_id: int) -> None:
        """Note that `worker_id` serves the session."""
        self[session_id] = worker_id
        self.move_to_end(session_id)
        if len(self) > MAX_SESSIONS:
            self.popitem(last=False)

    def on_worker_gone(self, worker_id: int) -> None:
        """Forget the sessions of a worker."""
        for session_id in [session_id for session_id, last_id in self.items() if last_id == worker_id]:
            del self[session_id]


class Leasing:
    """Owns the queue.

    Args:
        resolve: Request to choice, from the registry and the settings in force; raises RouterError or RegistryError.
        note_choice: Told of every request that is taken in, and where it goes.
        check_load: Refuses a target that cannot be loaded when the given workers are gone (InsufficientMemoryError),
            in its own time; None = whatever may be tried.
        post: Puts a message into the supervisor's inbox.
        run: Lets work go on beside the supervisor's task, as long as that runs.
        clock: Monotonic seconds.

    Attributes:
        affinity: Which worker served a session last.
        remote: Who serves what no worker here has; None = nobody.
    """

    def __init__(
        self,
        fleet: Fleet,
        *,
        resolve: Callable[[ModelRequest], Choice],
        note_choice: Callable[[ModelRequest, Choice], None],
        check_load: Callable[[Target, Config, Sequence[ManagedWorker]], Awaitable[None]] | None,
        post: Callable[[Message], None],
        run: Callable[[Coroutine[Any, Any, None]], None],
        clock: Callable[[], float],
    ) -> None:
        self._fleet = fleet
        self._resolve = resolve
        self._note_choice = note_choice
        self._check_load = check_load
        self._post = post
        self._run = run
        self._clock = clock
        self._is_closed = False
        self._ids = itertools.count(1)
        self.queue = WaitingQueue()
        self.affinity = SessionAffinity()
        self.remote: RemoteServing | None = None

    # ---- for the supervisor's callers -------------------------------------------------------------------------------

    def submit(
        self,
        model_request: ModelRequest,
        choice: Choice,
        num_sequences: int,
        priority: Priority,
        session_id: str | None,
    ) -> Ticket:
        """Have a request taken in by the supervisor's task; raises what `check_worker` does."""
        if not choice.target.is_remote:
            self.check_worker(model_request, choice.target)
        granted: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        ticket = Ticket(
            next(self._ids), model_request, choice, num_sequences, priority, session_id, self._clock(), granted
        )
        self._send(ticket)
        return ticket

    def _send(self, ticket: Ticket) -> None:
        """Have a ticket taken in by whoever its choice names; for an upstream nothing is placed here."""
        if self.remote is not None and ticket.choice.target.is_remote:
            self._note_choice(ticket.model_request, ticket.choice)
            self.remote.admit(ticket)
        else:
            self._post(Submit(ticket))

    def withdraw(self, ticket: Ticket) -> None:
        """Give up a ticket and its lease, whether that was granted or not."""
        if not ticket.lease.done():
            ticket.lease.cancel()
        elif not ticket.lease.cancelled() and ticket.lease.exception() is None:
            ticket.lease.result().release()
        self._post(Withdraw(ticket.ticket_id))

    # ---- workers that requests name ---------------------------------------------------------------------------------

    def check_worker(self, model_request: ModelRequest, target: Target) -> None:
        """Let a request pass that names no worker, or one that has or gets what it means.

        Raises:
            InvalidRequestError: There is no such worker, or it has another model.
        """
        if model_request.worker_id is None:
            return
        worker = self._fleet.get(model_request.worker_id)
        if worker is None or worker.target != target or worker.has_died or worker.state is WorkerState.STOPPING:
            raise InvalidRequestError(self._why_not(model_request.worker_id, worker, target), WORKER_HEADER)

    def on_worker_gone(self, worker_id: int) -> None:
        """Forget a worker's sessions, and refuse those that wait for it alone."""
        self.affinity.on_worker_gone(worker_id)
        for ticket in self.queue:
            if ticket.model_request.worker_id == worker_id:
                words = self._why_not(worker_id, None, ticket.choice.target)
                self.queue.fail(ticket, InvalidRequestError(words, WORKER_HEADER))

    def _why_not(self, worker_id: int, worker: ManagedWorker | None, target: Target) -> str:
        what = f"'{target.label}' on {target.engine}, loaded as this request wants it"
        having = [each.worker_id for each in self._fleet if each.target == target and each.state.is_resident]
        ways = f"; send {' or '.join(map(str, having))}, or" if having else ";"
        is_other = worker is not None and worker.target is not None and worker.target != target
        why = f"worker {worker_id} has not {what}" if is_other else f"there is no worker {worker_id} with {what}"
        return f"{WORKER_HEADER}: {why}{ways} leave the header out"

    # ---- taking in --------------------------------------------------------------------------------------------------

    def take_in(self, ticket: Ticket, config: Config) -> None:
        """Admit a ticket at once where its model is loaded, else when that is known to fit."""
        holders = [worker for worker in self._fleet if worker.target is not None]
        if self._check_load is None or any(worker.target == ticket.choice.target for worker in holders):
            self.admit(ticket, config)
        elif not ticket.lease.done():
            self._run(self._check(ticket, self._check_load(ticket.choice.target, config, holders)))

    async def _check(self, ticket: Ticket, check: Awaitable[None]) -> None:
        try:
            await check
        except Exception as exc:  # a defect costs its request, and not the workers
            if not isinstance(exc, RouterError | RegistryError):
                logger.exception("a defect has ended the look whether '%s' fits", ticket.choice.target.label)
            self.queue.fail(ticket, exc)
            return
        if self._is_closed:
            self.queue.fail(ticket, ShuttingDownError())  # the inbox may have been read for the last time
        else:
            self._post(Checked(ticket))

    def on_checked(self, ticket: Ticket, config: Config) -> None:
        """Admit a ticket whose model fits, unless it means another one since it was asked."""
        checked = ticket.choice.target
        try:
            ticket.choice = self._resolve(ticket.model_request)
        except (RouterError, RegistryError) as exc:
            self.queue.fail(ticket, exc)
            return
        if ticket.choice.target == checked:
            self.admit(ticket, config)
        else:
            self.take_in(ticket, config)

    def admit(self, ticket: Ticket, config: Config) -> None:
        """Queue a ticket, or give its client a QueueFullError, or what `check_worker` raises."""
        if self._is_closed:
            self.queue.fail(ticket, ShuttingDownError())
            return
        if ticket.lease.done():  # its client has gone away meanwhile
            return
        self._note_choice(ticket.model_request, ticket.choice)
        try:
            self.check_worker(ticket.model_request, ticket.choice.target)
        except InvalidRequestError as exc:
            ticket.lease.set_exception(exc)
            return
        is_full = self.queue.num_waiting(ticket.priority) >= _max_waiting(ticket.priority, config)
        if is_full and not self._can_serve_at_once(ticket):
            retry_after_s = self.queue.retry_after_s(ticket.priority, self._num_places(ticket, config))
            ticket.lease.set_exception(QueueFullError(retry_after_s=retry_after_s))
        else:
            self.queue.add(ticket)

    def close(self) -> None:
        """Refuse all that wait or come, with a ShuttingDownError."""
        self._is_closed = True
        if self.remote is not None:
            self.remote.end()
        for ticket in self.queue:
            self.queue.fail(ticket, ShuttingDownError())

    # ---- leases -----------------------------------------------------------------------------------------------------

    def grant(self, ticket_id: int, worker: ManagedWorker) -> None:
        """Give a ticket its lease, unless its client has gone."""
        ticket = self.queue.take(ticket_id)
        if ticket is None or ticket.lease.done():
            return
        assert worker.client is not None
        now = self._clock()
        waited_ms = (now - ticket.arrived_at) * 1000
        # The load that this request waited for, if it arrived before the model was ready.
        has_waited_for_load = ticket.arrived_at < worker.ready_at and not worker.is_extra
        load_ms = min(waited_ms, worker.load_ms or 0.0) if has_waited_for_load else 0.0
        worker.use = worker.use.with_lease(ticket.priority, ticket.num_sequences, now, ticket.choice.keep_alive_s)
        worker.asked = ticket.model_request
        if ticket.session_id is not None:
            self.affinity.settle(ticket.session_id, worker.worker_id)

        def release() -> None:
            if ticket.num_sequences > 0:
                self.queue.on_served(ticket.priority, self._clock() - now)
            self._post(Release(worker.worker_id, ticket.priority, ticket.num_sequences))

        ticket.lease.set_result(
            Lease(
                worker.client,
                ticket.choice,
                WorkerRef(worker.worker_id, worker.pid),
                queue_ms=waited_ms - load_ms,
                load_ms=load_ms,
                release=release,
            )
        )

    def take_back(self, message: Release) -> None:
        """Free the places of a lease."""
        worker = self._fleet.get(message.worker_id)
        if worker is not None:
            worker.use = worker.use.without_lease(message.priority, message.num_sequences, self._clock())

    # ---- other ways -------------------------------------------------------------------------------------------------

    def resolve_again(self) -> None:
        """Follow changed settings with all that wait; whose request has lost its meaning is told why."""
        if self.remote is not None:
            self.remote.resolve_again(self._resolve, self._send)
        for ticket in self.queue:
            try:
                ticket.choice = self._resolve(ticket.model_request)
                if ticket.choice.target.is_remote:
                    self.queue.take(ticket.ticket_id)
                    self._send(ticket)
                    continue
                self.check_worker(ticket.model_request, ticket.choice.target)
            except (RouterError, RegistryError) as exc:
                self.queue.fail(ticket, exc)

    def fall_back(self, target: Target, is_avoided: Callable[[Target], bool]) -> bool:
        """Let those that wait for a target, whose load has failed, come in anew as what else may serve them.

        Args:
            is_avoided: Tells of what has failed as well, and is no way out.

        Returns:
            Whether there was any; the others go on waiting for the target.
        """
        waiting = [ticket for ticket in self.queue if ticket.choice.target == target]
        num_moved = 0
        for ticket in waiting:
            try:
                choice = self._resolve(ticket.model_request)
            except (RouterError, RegistryError) as exc:
                logger.debug("nothing else serves a request for '%s': %s", target.label, exc)
                continue
            is_way_out = choice.target != target and not is_avoided(choice.target)
            if is_way_out and self.queue.take(ticket.ticket_id) is not None:
                num_moved += 1
                ticket.choice = choice
                self._send(ticket)
        return num_moved > 0

    # ---- time and places --------------------------------------------------------------------------------------------

    def refuse_late(self, config: Config, now: float) -> None:
        """Turn away those that have waited for longer than the config allows."""
        for ticket in self.queue:
            timeout_s = _queue_timeout_s(ticket.priority, config)
            if now >= ticket.arrived_at + timeout_s:
                message = f"the request waited {timeout_s:g} s in the queue without being served"
                retry_after_s = self.queue.retry_after_s(ticket.priority, self._num_places(ticket, config))
                self.queue.fail(ticket, UnavailableError(message, retry_after_s=retry_after_s))

    def next_timeout(self, config: Config) -> float | None:
        """Return when `refuse_late` has something to do next, monotonic, or None."""
        timeouts = (ticket.arrived_at + _queue_timeout_s(ticket.priority, config) for ticket in self.queue)
        return min(timeouts, default=None)

    def _can_serve_at_once(self, ticket: Ticket) -> bool:
        """Tell whether a place is left, after everybody of its class who waits for the same target."""
        target = ticket.choice.target
        named = ticket.model_request.worker_id
        ready = [
            worker
            for worker in self._fleet.placed
            if worker.target == target and worker.state is WorkerState.READY and named in {None, worker.worker_id}
        ]
        if ticket.num_sequences == 0:
            return bool(ready)
        num_ahead = sum(
            other.num_sequences
            for other in self.queue
            if other.choice.target == target and ticket.priority in {other.priority, Priority.BACKGROUND}
        )
        return has_free_place(ticket.priority, num_ahead, ready)

    def _num_places(self, ticket: Ticket, config: Config) -> int:
        target = ticket.choice.target
        here = [worker for worker in self._fleet.placed if worker.state is WorkerState.READY]
        own = [worker for worker in here if worker.target == target]
        ready = [worker.max_sequences for worker in own or here]
        generation = config_for(config, target.load).generation
        return sum(ready) or generation.parallel * generation.workers


def _max_waiting(priority: Priority, config: Config) -> int:
    limits = config.limits
    return limits.max_queue if priority is Priority.INTERACTIVE else limits.max_queue_background


def _queue_timeout_s(priority: Priority, config: Config) -> float:
    limits = config.limits
    return limits.queue_timeout_s if priority is Priority.INTERACTIVE else limits.queue_timeout_background_s
