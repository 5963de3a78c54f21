"""The one task that owns the queue and the workers: asks placement what to do, and does it.

Everybody else sends it messages; it answers through futures. Not the decisions (`placement`), not the frames
(`worker_client`), not the protocol of any client.
"""

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import assert_never

from registry.errors import RegistryError
from router.breaker import LoadBreaker
from router.config import Config
from router.errors import (
    EngineCrashedError,
    EngineTimeoutError,
    ModelLoadFailedError,
    QueueFullError,
    RouterError,
    ShuttingDownError,
    UnavailableError,
)
from router.lifecycle import WorkerState, check_transition
from router.load_spec import load_spec_for
from router.placement import (
    Dispatch,
    DrainWorker,
    Effect,
    KeepWorker,
    PlacedWorker,
    PlacementLimits,
    StartWorker,
    StopWorker,
    WaitingRequest,
    decide,
    next_deadline,
)
from router.residency import ManagedWorker, StopReport, Swap, run_worker, stop_worker
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
from router.targets import ENGINES, Choice, Target
from router.waiting import Lease, Ticket, WaitingQueue, Wish
from router.worker_client import WorkerLaunch

logger = logging.getLogger(__name__)

STALL_CHECK_INTERVAL_S = 1.0
NUM_SWAPS_KEPT = 100


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
        self._launch_for = launch_for
        self._clock = clock
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._queue = WaitingQueue()
        self._workers: dict[int, ManagedWorker] = {}
        self._stops: list[tuple[str, asyncio.Future[StopReport]]] = []
        self._swaps: deque[Swap] = deque(maxlen=NUM_SWAPS_KEPT)
        self._breaker = LoadBreaker()
        self._broken_standby: set[str] = set()
        self._ids = itertools.count(1)
        self._is_closing = False
        self._tasks: asyncio.TaskGroup | None = None

    # ---- for everybody else -----------------------------------------------------------------------------------------

    async def lease(self, wish: Wish, num_sequences: int = 1) -> Lease:
        """Wait for a worker that has what `wish` means resident.

        Args:
            wish: The request's.
            num_sequences: Places in the batch it needs, >= 1.

        Raises:
            QueueFullError: Too many wait already.
            RouterError: The wish cannot be met, the load failed, the wait was too long, or the server shuts down.
            RegistryError: The model is unknown.
        """
        if self._is_closing:
            raise ShuttingDownError
        now = self._clock()
        choice = self._resolve(wish)
        self._breaker.check(choice.target, now)
        if len(self._queue) >= self._config.limits.max_queue and not self._can_serve_at_once(choice.target):
            raise QueueFullError(retry_after_s=self._queue.expected_wait_s)
        ticket = Ticket(next(self._ids), wish, choice, num_sequences, now, asyncio.get_running_loop().create_future())
        self._inbox.put_nowait(Submit(ticket))
        try:
            return await ticket.lease
        except asyncio.CancelledError:
            if ticket.lease.done() and not ticket.lease.cancelled() and ticket.lease.exception() is None:
                ticket.lease.result().release()
            self._inbox.put_nowait(Withdraw(ticket.ticket_id))
            raise

    async def stop_model(self, model: str) -> StopReport:
        """Unload a model: no new requests, the running ones finish; return when its memory is back."""
        done: asyncio.Future[StopReport] = asyncio.get_running_loop().create_future()
        self._inbox.put_nowait(StopModel(model, done))
        return await done

    def set_config(self, config: Config) -> None:
        """Take over new settings; requests that wait without an engine of their own are resolved again."""
        self._inbox.put_nowait(SettingsChanged(config))

    def refresh(self) -> None:
        """Resolve waiting requests again: the registry's settings changed."""
        self.set_config(self._config)

    def close(self) -> None:
        """Refuse what waits, stop every worker, and let `run` return."""
        self._inbox.put_nowait(Close())

    @property
    def workers(self) -> tuple[ManagedWorker, ...]:
        """A look at the workers, for the status page; nothing may be decided on it."""
        return tuple(self._workers.values())

    @property
    def swaps(self) -> tuple[Swap, ...]:
        """The last loads and unloads, newest last."""
        return tuple(self._swaps)

    @property
    def waiting(self) -> tuple[WaitingRequest, ...]:
        """A look at the queue."""
        return tuple(self._queue.requests)

    # ---- the task ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Own the workers until `close` was called and the last one is gone."""
        async with asyncio.TaskGroup() as self._tasks:
            self._ensure_standby()
            while not self._is_closing or self._workers:
                await self._handle_messages()
                now = self._clock()
                self._check_deadlines(now)
                for effect in decide(self._queue.requests, self._placed_workers(), self._limits, now):
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
                if worker_id in self._workers:
                    self._workers[worker_id].num_running -= num_sequences
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
        else:
            self._queue.add(ticket)

    def _on_worker_changed(self, worker_id: int) -> None:
        worker = self._workers.get(worker_id)
        if worker is None or worker.client is None:
            return
        if worker.client.load_error is not None:
            if worker.state is not WorkerState.STOPPING:
                self._on_load_failed(worker, worker.client.load_error)
            return
        if worker.state is WorkerState.STARTING and worker.client.hello is not None:
            self._set_state(worker, WorkerState.STANDBY)
            if worker.target is not None:
                self._load(worker, worker.target)
        if worker.state is WorkerState.LOADING and worker.client.loaded is not None:
            self._on_loaded(worker)

    def _on_loaded(self, worker: ManagedWorker) -> None:
        assert worker.client is not None
        assert worker.client.loaded is not None
        assert worker.target is not None
        now = self._clock()
        worker.load_ms = (now - worker.wanted_at) * 1000
        worker.max_sequences = worker.client.loaded.max_sequences
        worker.loaded_at = time.time()
        worker.ready_at = now
        self._set_state(worker, WorkerState.READY)
        self._breaker.on_success(worker.target)
        self._record(
            Swap(at=time.time(), event="load", model=worker.target.model, engine=worker.engine, load_ms=worker.load_ms)
        )

    def _on_load_failed(self, worker: ManagedWorker, error: RouterError) -> None:
        if worker.target is None:
            self._broken_standby.add(worker.engine)
            logger.warning("no standby worker for %s: %s", worker.engine, error)
        else:
            self._breaker.on_failure(worker.target, str(error), self._clock())
            self._queue.fail_target(worker.target, error)
        self._stop(worker, "load failed")

    def _on_worker_gone(self, message: WorkerGone) -> None:
        worker = self._workers.pop(message.worker_id, None)
        if worker is None:
            return
        was_expected = worker.state is WorkerState.STOPPING
        self._set_state(worker, WorkerState.GONE)
        if message.swap is not None:
            self._record(message.swap)
        if not was_expected:
            self._on_crash(worker, message.error or "")
        stopped = [stop for stop in self._stops if worker.target is not None and stop[0] == worker.target.model]
        for stop in stopped:
            self._stops.remove(stop)
            if not stop[1].done():
                stop[1].set_result(StopReport(stopped=True, swap=message.swap))

    def _on_crash(self, worker: ManagedWorker, words: str) -> None:
        logger.warning("the %s worker died while it was %s%s", worker.engine, worker.previous_state, words)
        if worker.target is None:
            self._broken_standby.add(worker.engine)
        elif worker.previous_state is not WorkerState.READY and worker.previous_state is not WorkerState.DRAINING:
            error = ModelLoadFailedError(
                f"the {worker.engine} engine died while it loaded '{worker.target.model}'{words}"
            )
            self._breaker.on_failure(worker.target, str(error), self._clock())
            self._queue.fail_target(worker.target, error)

    def _on_stop_model(self, message: StopModel) -> None:
        worker = next((w for w in self._workers.values() if w.target and w.target.model == message.model), None)
        if worker is None:
            message.done.set_result(StopReport(stopped=False, swap=None))
            return
        self._stops.append((message.model, message.done))
        worker.is_unwanted = True
        if worker.state in {WorkerState.STARTING, WorkerState.LOADING}:
            assert worker.target is not None
            self._queue.fail_target(worker.target, UnavailableError("the model was stopped while it loaded"))
            self._stop(worker, "stopped by command")

    def _on_settings_changed(self, config: Config) -> None:
        self._config = config
        for ticket in self._queue:
            try:
                ticket.choice = self._resolve(ticket.wish)
            except (RouterError, RegistryError) as exc:
                self._queue.fail(ticket, exc)

    def _on_close(self) -> None:
        self._is_closing = True
        for ticket in self._queue:
            self._queue.fail(ticket, ShuttingDownError())
        for worker in self._workers.values():
            self._stop(worker, "shutdown")

    # ---- effects ----------------------------------------------------------------------------------------------------

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Dispatch(ticket_id=ticket_id, worker_id=worker_id):
                self._dispatch(self._queue.take(ticket_id), self._workers[worker_id])
            case StartWorker(target=target):
                self._start(target)
            case DrainWorker(worker_id=worker_id):
                self._set_state(self._workers[worker_id], WorkerState.DRAINING)
            case KeepWorker(worker_id=worker_id):
                self._set_state(self._workers[worker_id], WorkerState.READY)
            case StopWorker(worker_id=worker_id):
                self._stop(self._workers[worker_id], self._reason_to_stop(self._workers[worker_id]))
            case _:
                assert_never(effect)

    def _reason_to_stop(self, worker: ManagedWorker) -> str:
        return "stopped by command" if worker.is_unwanted else "swap"

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

    def _start(self, target: Target) -> None:
        standby = next(
            (
                worker
                for worker in self._workers.values()
                if worker.target is None
                and worker.engine == target.engine
                and worker.state in {WorkerState.STARTING, WorkerState.STANDBY}
            ),
            None,
        )
        worker = standby or self._launch(target.engine)
        worker.target = target
        worker.wanted_at = self._clock()
        if worker.state is WorkerState.STANDBY:
            self._load(worker, target)

    def _launch(self, engine: str) -> ManagedWorker:
        assert self._tasks is not None
        worker = ManagedWorker(worker_id=next(self._ids), engine=engine, state_since=self._clock())
        self._workers[worker.worker_id] = worker
        self._tasks.create_task(self._run_worker(worker))
        return worker

    async def _run_worker(self, worker: ManagedWorker) -> None:
        """Start the process, see it through to its end, and report."""
        launch = self._launch_for(worker.engine)
        changed = WorkerChanged(worker.worker_id)
        swap, error = await run_worker(
            worker,
            launch,
            on_change=lambda: self._inbox.put_nowait(changed),
            reclaim_timeout_s=self._config.limits.reclaim_timeout_s,
        )
        self._inbox.put_nowait(WorkerGone(worker.worker_id, swap, error))

    def _load(self, worker: ManagedWorker, target: Target) -> None:
        assert worker.client is not None
        self._set_state(worker, WorkerState.LOADING)
        worker.client.load(load_spec_for(target, self._config))

    def _stop(self, worker: ManagedWorker, reason: str) -> None:
        if worker.state in {WorkerState.STOPPING, WorkerState.GONE}:
            return
        assert self._tasks is not None
        self._set_state(worker, WorkerState.STOPPING)
        worker.stop_reason = reason
        if worker.client is not None:
            worker.client.fail_streams(EngineCrashedError("the worker was stopped before this answer was complete"))
        self._tasks.create_task(stop_worker(worker, stop_timeout_s=self._config.limits.stop_timeout_s))

    def _ensure_standby(self) -> None:
        """Keep one waiting worker per engine, unless work is to be done first."""
        if not self._config.standby or self._is_closing or self._queue:
            return
        if any(worker.state is WorkerState.LOADING for worker in self._workers.values()):
            return
        waiting_for = {worker.engine for worker in self._workers.values() if worker.target is None}
        for engine in ENGINES:
            if engine not in waiting_for | self._broken_standby:
                self._launch(engine)

    # ---- time -------------------------------------------------------------------------------------------------------

    def _check_deadlines(self, now: float) -> None:
        limits = self._config.limits
        for ticket in self._queue:
            if now - ticket.arrived_at >= limits.queue_timeout_s:
                message = f"the request waited {limits.queue_timeout_s:g} s in the queue without being served"
                self._queue.fail(ticket, UnavailableError(message, retry_after_s=self._queue.expected_wait_s))
        for worker in list(self._workers.values()):
            if worker.state in {WorkerState.STARTING, WorkerState.LOADING}:
                if now - worker.state_since >= limits.load_timeout_s:
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
        for worker in self._workers.values():
            if worker.state in {WorkerState.STARTING, WorkerState.LOADING}:
                yield worker.state_since + limits.load_timeout_s
            elif worker.num_running:
                yield self._clock() + STALL_CHECK_INTERVAL_S
        placement = next_deadline(self._queue.requests, self._placed_workers(), self._limits, self._clock())
        if placement is not None:
            yield placement

    # ---- looks ------------------------------------------------------------------------------------------------------

    @property
    def _limits(self) -> PlacementLimits:
        limits = self._config.limits
        return PlacementLimits(limits.swap_max_wait_s, limits.swap_drain_timeout_s)

    def _placed_workers(self) -> list[PlacedWorker]:
        return [
            PlacedWorker(
                worker.worker_id,
                worker.target,
                worker.state,
                worker.num_running,
                worker.max_sequences,
                worker.state_since,
                worker.is_unwanted,
            )
            for worker in self._workers.values()
            if worker.target is not None
        ]

    def _can_serve_at_once(self, target: Target) -> bool:
        return any(
            worker.target == target
            and worker.state is WorkerState.READY
            and worker.num_running + len(self._queue) < worker.max_sequences
            for worker in self._workers.values()
        )

    def _set_state(self, worker: ManagedWorker, state: WorkerState) -> None:
        worker.previous_state = worker.state
        worker.state = check_transition(worker.state, state)
        worker.state_since = self._clock()

    def _record(self, swap: Swap) -> None:
        self._swaps.append(swap)
        logger.info("%s", swap.log_line())
