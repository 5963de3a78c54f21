"""The one task that owns the queue and the workers: asks placement what to do, and does it.

Everybody else sends it messages; it answers through futures. Not the decisions (`placement`), not the processes
(`fleet`), not the frames (`worker_client`), not the protocol of any client.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Iterator
from typing import assert_never

from backends.sequence import Priority
from registry.errors import RegistryError
from router.breaker import LoadBreaker
from router.config import Config
from router.errors import (
    EngineTimeoutError,
    ModelLoadFailedError,
    QueueFullError,
    RouterError,
    ShuttingDownError,
    UnavailableError,
)
from router.fleet import Fleet
from router.lifecycle import WorkerState
from router.placement import (
    Dispatch,
    DrainWorker,
    Effect,
    KeepWorker,
    PlacementLimits,
    StartWorker,
    StopWorker,
    WaitingRequest,
    decide,
    next_deadline,
)
from router.residency import ManagedWorker, StopReport, Swap
from router.supervisor_messages import (
    Close,
    Message,
    Release,
    SettingsChanged,
    StopModel,
    Submit,
    Withdraw,
    WorkerChanged,
    WorkerGone,
)
from router.targets import Choice
from router.waiting import Lease, Ticket, WaitingQueue, Wish
from router.worker_client import WorkerLaunch

logger = logging.getLogger(__name__)

STALL_CHECK_INTERVAL_S = 1.0


class Supervisor:
    """Owns the workers; `run` is its task.

    Args:
        config: In force at the start; `set_config` replaces it.
        resolve: Wish to choice, from the registry and the settings in force; raises RouterError or RegistryError.
        launch_for: Engine name to how its worker is started.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        config: Config,
        *,
        resolve: Callable[[Wish], Choice],
        launch_for: Callable[[str], WorkerLaunch],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._resolve = resolve
        self._clock = clock
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._queue = WaitingQueue()
        self._fleet = Fleet(launch_for=launch_for, post=self._inbox.put_nowait, clock=clock)
        self._stops: list[tuple[str, asyncio.Future[StopReport]]] = []
        self._breaker = LoadBreaker()
        self._ids = itertools.count(1)
        self._is_closing = False

    # ---- for everybody else -----------------------------------------------------------------------------------------

    async def lease(self, wish: Wish, num_sequences: int = 1, priority: Priority = Priority.INTERACTIVE) -> Lease:
        """Wait for a worker that has what `wish` means resident.

        Args:
            wish: The request's.
            num_sequences: Places in the batch it needs; 0 for what takes none and waits for none.
            priority: Interactive requests go before background ones.

        Raises:
            QueueFullError: Too many wait already.
            RouterError: The wish cannot be met, the load failed, the wait was too long, or the server shuts down.
            RegistryError: The model is unknown.
        """
        ticket = self.submit(wish, num_sequences, priority)
        try:
            return await ticket.lease
        except asyncio.CancelledError:
            self.withdraw(ticket)
            raise

    def submit(self, wish: Wish, num_sequences: int = 1, priority: Priority = Priority.INTERACTIVE) -> Ticket:
        """Queue a request without waiting for its lease; arguments and errors as in `lease`.

        Returns:
            The ticket: its `lease` is to be awaited without cancelling it, or given up with `withdraw`.
        """
        if self._is_closing:
            raise ShuttingDownError
        now = self._clock()
        choice = self._resolve(wish)
        self._breaker.check(choice.target, now)
        granted: asyncio.Future[Lease] = asyncio.get_running_loop().create_future()
        ticket = Ticket(next(self._ids), wish, choice, num_sequences, priority, now, granted)
        self._inbox.put_nowait(Submit(ticket))
        return ticket

    def withdraw(self, ticket: Ticket) -> None:
        """Give up a ticket whose lease nobody took; harmless for one that has failed."""
        if not ticket.lease.done():
            ticket.lease.cancel()
        elif not ticket.lease.cancelled() and ticket.lease.exception() is None:
            ticket.lease.result().release()
        self._inbox.put_nowait(Withdraw(ticket.ticket_id))

    async def stop_model(self, model: str) -> StopReport:
        """Unload a model: no new requests, the running ones finish; return when its memory is back.

        Raises:
            ShuttingDownError: All models are being unloaded.
        """
        if self._is_closing:
            raise ShuttingDownError
        done: asyncio.Future[StopReport] = asyncio.get_running_loop().create_future()
        self._inbox.put_nowait(StopModel(model, done))
        return await done

    def set_config(self, config: Config) -> None:
        """Take over new settings; requests that wait without an engine of their own are resolved again."""
        self._inbox.put_nowait(SettingsChanged(config))

    def refresh(self) -> None:
        """Resolve waiting requests again: the registry's settings changed."""
        self._inbox.put_nowait(SettingsChanged(None))

    def close(self) -> None:
        """Refuse what waits, stop every worker, and let `run` return."""
        self._inbox.put_nowait(Close())

    @property
    def workers(self) -> tuple[ManagedWorker, ...]:
        """A look at the workers, for the status page; nothing may be decided on it."""
        return tuple(self._fleet)

    @property
    def swaps(self) -> tuple[Swap, ...]:
        """The last loads and unloads, newest last."""
        return tuple(self._fleet.swaps)

    @property
    def waiting(self) -> tuple[WaitingRequest, ...]:
        """A look at the queue."""
        return tuple(self._queue.requests)

    # ---- the task ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Own the workers until `close` was called and the last one is gone."""
        async with asyncio.TaskGroup() as tasks:
            self._fleet.use(tasks)
            self._ensure_standby()
            while not self._is_closing or self._fleet:
                await self._handle_messages()
                now = self._clock()
                self._check_deadlines(now)
                for effect in decide(self._queue.requests, self._fleet.placed, self._limits, now):
                    self._perform(effect)
                self._ensure_standby()

    async def _handle_messages(self) -> None:
        """Wait for a message or the next deadline, then take every message that is there."""
        try:
            async with asyncio.timeout(self._seconds_to_deadline()):
                self._handle(await self._inbox.get())
        except TimeoutError:
            return
        while not self._inbox.empty():
            self._handle(self._inbox.get_nowait())

    def _handle(self, message: Message) -> None:
        match message:
            case Submit(ticket=ticket):
                self._on_submit(ticket)
            case Withdraw(ticket_id=ticket_id):
                self._queue.take(ticket_id)
            case Release(worker_id=worker_id, num_sequences=num_sequences):
                worker = self._fleet.get(worker_id)
                if worker is not None:
                    worker.num_running -= num_sequences
            case WorkerChanged(worker_id=worker_id):
                self._on_worker_changed(worker_id)
            case WorkerGone():
                self._on_worker_gone(message)
            case StopModel():
                self._on_stop_model(message)
            case SettingsChanged(config=config):
                self._on_settings_changed(config)
            case Close():
                self._on_close()
            case _:
                assert_never(message)

    # ---- messages ---------------------------------------------------------------------------------------------------

    def _on_submit(self, ticket: Ticket) -> None:
        if ticket.lease.done():
            return  # the client went away meanwhile
        if self._is_closing:
            ticket.lease.set_exception(ShuttingDownError())
        elif len(self._queue) >= self._config.limits.max_queue and not self._can_serve_at_once(ticket):
            ticket.lease.set_exception(QueueFullError(retry_after_s=self._queue.expected_wait_s))
        else:
            self._queue.add(ticket)

    def _on_worker_changed(self, worker_id: int) -> None:
        worker = self._fleet.get(worker_id)
        if worker is None or worker.client is None or worker.state is WorkerState.STOPPING:
            return
        if worker.client.load_error is not None:
            self._on_load_failed(worker, worker.client.load_error)
        elif self._fleet.advance(worker, self._config):
            assert worker.target is not None
            self._breaker.on_success(worker.target)

    def _on_load_failed(self, worker: ManagedWorker, error: RouterError) -> None:
        self._note_failure(worker, error)
        self._stop(worker, "load failed")

    def _on_worker_gone(self, message: WorkerGone) -> None:
        worker = self._fleet.get(message.worker_id)
        if worker is None:
            return
        was_expected = worker.state is WorkerState.STOPPING
        self._fleet.remove(worker, message.swap)
        if not was_expected:
            self._on_crash(worker, message.error or "")
        stopped = [stop for stop in self._stops if worker.target is not None and stop[0] == worker.target.model]
        for stop in stopped:
            self._stops.remove(stop)
            if not stop[1].done():
                stop[1].set_result(StopReport(stopped=True, swap=message.swap))

    def _on_crash(self, worker: ManagedWorker, words: str) -> None:
        logger.warning("the %s worker died while it was %s%s", worker.engine, worker.previous_state, words)
        if worker.previous_state is WorkerState.LOADING and worker.died_as_standby:
            return  # those who wait get a fresh process
        if worker.previous_state not in {WorkerState.READY, WorkerState.DRAINING}:
            model = "" if worker.target is None else f" '{worker.target.model}'"
            self._note_failure(
                worker, ModelLoadFailedError(f"the {worker.engine} engine died while it loaded{model}{words}")
            )

    def _note_failure(self, worker: ManagedWorker, error: RouterError) -> None:
        """Tell everybody who waits for the load; without a model it was a standby worker, and nobody waits."""
        if worker.target is None:
            self._fleet.give_up_standby(worker.engine, str(error))
        else:
            self._breaker.on_failure(worker.target, str(error), self._clock())
            self._queue.fail_target(worker.target, error)

    def _on_stop_model(self, message: StopModel) -> None:
        if message.done.done():
            return  # whoever asked went away meanwhile
        worker = self._fleet.holder_of(message.model)
        if worker is None:
            message.done.set_result(StopReport(stopped=False, swap=None))
            return
        self._stops.append((message.model, message.done))
        worker.is_unwanted = True
        if worker.state in {WorkerState.STARTING, WorkerState.LOADING}:
            assert worker.target is not None
            self._queue.fail_target(worker.target, UnavailableError("the model was stopped while it loaded"))
            self._stop(worker, "stopped by command")

    def _on_settings_changed(self, config: Config | None) -> None:
        self._config = config or self._config
        for ticket in self._queue:
            try:
                ticket.choice = self._resolve(ticket.wish)
            except (RouterError, RegistryError) as exc:
                self._queue.fail(ticket, exc)

    def _on_close(self) -> None:
        self._is_closing = True
        for ticket in self._queue:
            self._queue.fail(ticket, ShuttingDownError())
        for worker in self._fleet:
            self._fleet.stop(worker, "shutdown", self._config, error=ShuttingDownError())

    # ---- effects ----------------------------------------------------------------------------------------------------

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Dispatch(ticket_id=ticket_id, worker_id=worker_id):
                self._dispatch(self._queue.take(ticket_id), self._worker(worker_id))
            case StartWorker(target=target):
                self._fleet.start(target, self._config)
            case DrainWorker(worker_id=worker_id):
                self._fleet.set_state(self._worker(worker_id), WorkerState.DRAINING)
            case KeepWorker(worker_id=worker_id):
                self._fleet.set_state(self._worker(worker_id), WorkerState.READY)
            case StopWorker(worker_id=worker_id):
                worker = self._worker(worker_id)
                self._stop(worker, "stopped by command" if worker.is_unwanted else "swap")
            case _:
                assert_never(effect)

    def _dispatch(self, ticket: Ticket | None, worker: ManagedWorker) -> None:
        if ticket is None or ticket.lease.done():
            return
        assert worker.client is not None
        now = self._clock()
        waited_ms = (now - ticket.arrived_at) * 1000
        # The load that this request waited for, if it arrived before the model was ready.
        load_ms = min(waited_ms, worker.load_ms or 0.0) if ticket.arrived_at < worker.ready_at else 0.0
        worker.num_running += ticket.num_sequences

        def release() -> None:
            self._queue.on_served(self._clock() - now)
            self._inbox.put_nowait(Release(worker.worker_id, ticket.num_sequences))

        ticket.lease.set_result(
            Lease(worker.client, ticket.choice, queue_ms=waited_ms - load_ms, load_ms=load_ms, release=release)
        )

    def _stop(self, worker: ManagedWorker, reason: str) -> None:
        self._fleet.stop(worker, reason, self._config)

    def _ensure_standby(self) -> None:
        """Look after standby workers, unless work is to be done first."""
        if not self._is_closing and not self._queue:
            self._fleet.ensure_standby(self._config)

    # ---- time -------------------------------------------------------------------------------------------------------

    def _check_deadlines(self, now: float) -> None:
        limits = self._config.limits
        for ticket in self._queue:
            if now >= ticket.arrived_at + limits.queue_timeout_s:
                message = f"the request waited {limits.queue_timeout_s:g} s in the queue without being served"
                self._queue.fail(ticket, UnavailableError(message, retry_after_s=self._queue.expected_wait_s))
        for worker in self._fleet:
            if worker.state in {WorkerState.STARTING, WorkerState.LOADING}:
                if now >= worker.state_since + limits.load_timeout_s:
                    self._on_load_failed(worker, EngineTimeoutError(f"the load took over {limits.load_timeout_s:g} s"))
            elif worker.is_stalled(now, limits.stall_timeout_s):
                self._on_stall(worker)

    def _on_stall(self, worker: ManagedWorker) -> None:
        assert worker.client is not None
        stall_s = self._config.limits.stall_timeout_s
        logger.warning("the %s worker (pid %s) gave no sign of life for %g s", worker.engine, worker.pid, stall_s)
        worker.client.fail_streams(EngineTimeoutError(f"the engine gave no sign of life for {stall_s:g} s"))
        worker.client.kill()
        self._stop(worker, "stalled")

    def _seconds_to_deadline(self) -> float | None:
        deadlines = list(self._deadlines())
        return max(0.0, min(deadlines) - self._clock()) if deadlines else None

    def _deadlines(self) -> Iterator[float]:
        limits = self._config.limits
        for ticket in self._queue:
            yield ticket.arrived_at + limits.queue_timeout_s
        for worker in self._fleet:
            if worker.state in {WorkerState.STARTING, WorkerState.LOADING}:
                yield worker.state_since + limits.load_timeout_s
            elif worker.num_running:
                yield self._clock() + STALL_CHECK_INTERVAL_S
        placement = next_deadline(self._queue.requests, self._fleet.placed, self._limits, self._clock())
        if placement is not None:
            yield placement

    # ---- looks ------------------------------------------------------------------------------------------------------

    @property
    def _limits(self) -> PlacementLimits:
        limits = self._config.limits
        return PlacementLimits(limits.swap_max_wait_s, limits.swap_drain_timeout_s)

    def _worker(self, worker_id: int) -> ManagedWorker:
        worker = self._fleet.get(worker_id)
        assert worker is not None, "placement names workers it was shown"
        return worker

    def _can_serve_at_once(self, ticket: Ticket) -> bool:
        """Tell whether a place is left in the batch, after everybody who waits for the same target."""
        num_waiting = sum(other.num_sequences for other in self._queue if other.choice.target == ticket.choice.target)
        return any(
            worker.target == ticket.choice.target
            and worker.state is WorkerState.READY
            and worker.num_running + num_waiting < worker.max_sequences
            for worker in self._fleet
        )
