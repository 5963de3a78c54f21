"""The one task that owns the queue and the workers: takes one message after the other, then asks what is to be done.

Everybody else sends it messages; it answers through futures. Not the decisions (`placement`), nor asking for them and
doing what they say (`placing`), not the processes
(`fleet`), not what goes wrong with them (`faults`), not the queue (`leasing`), not the frames (`client`), not the
protocol of any client.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, assert_never

from backends.wire.request import Priority
from router.conditions import Conditions
from router.config import Config, CurrentConfig
from router.errors import ShuttingDownError
from router.models.model_request import ModelRequest
from router.models.targets import Choice, Target
from router.placement.lifecycle import WorkerState
from router.placement.memory import MemoryBudget
from router.placement.sharing import LoadNeed
from router.workers.faults import WorkerFaults
from router.workers.fleet import Fleet
from router.workers.launch import WorkerLaunch
from router.workers.leasing import Leasing
from router.workers.ledger import Ledger
from router.workers.looks import Looks
from router.workers.messages import (
    STOPPED_BY_COMMAND,
    Checked,
    Close,
    ConditionsChanged,
    MemoryRead,
    Message,
    Release,
    SettingsChanged,
    StopModel,
    Submit,
    Withdraw,
    WorkerChanged,
    WorkerGone,
    WorkerMeasured,
)
from router.workers.model_states import ModelStates
from router.workers.placing import Placing
from router.workers.pressure import Relief
from router.workers.remote import RemoteServing
from router.workers.residency import ManagedWorker, StopReport
from router.workers.stop_commands import StopCommands
from router.workers.waiting import Lease, Ticket


class Supervisor(Looks):
    """Owns the workers; `run` is its task.

    Args:
        current: Knows the config in force; `refresh` is to be called when it is another one.
        resolve: Request to choice, from the registry and the settings in force; raises RouterError or RegistryError.
        launch_for: Engine name to how its worker is started.
        note_choice: Told of every request that is taken in, and where it goes.
        check_load: Refuses a target that cannot be loaded when the given workers are gone (InsufficientMemoryError),
            in its own time; None = whatever may be tried.
        context_of: Target to its context in tokens; None = unknown, it is as the config has it.
        why_no_draft: Target to why what drafts for it is not to be loaded now; None = it is.
        need_of: Target to what its load takes, as the last check of it found; None = not known.
        read_budget: Reads what memory the machine has; None = it is not known.
        is_pinned: Tells whether a target's model is to stay loaded.
        note_working_set: Told, in a thread, of what a worker has heard from Metal, in bytes.
        conditions: Under which all work is done; None = they are always good.
        saved_caches_dir: Where caches are saved when the config wants that.
        clock: Monotonic seconds.

    Attributes:
        models: Where each model stands, and who is told of it.
        swapped: Told of each load and unload.
        relieved: Told of each time that a worker gave back memory.
        removed: Told of each worker whose process was reaped.
        saved_caches_dir: As it was given.
    """

    def __init__(
        self,
        current: CurrentConfig,
        *,
        resolve: Callable[[ModelRequest], Choice],
        launch_for: Callable[[str], WorkerLaunch],
        note_choice: Callable[[ModelRequest, Choice], None] = lambda _request, _choice: None,
        check_load: Callable[[Target, Config, Sequence[ManagedWorker]], Awaitable[None]] | None = None,
        context_of: Callable[[Target], int | None] = lambda _target: None,
        why_no_draft: Callable[[Target], str | None] = lambda _target: None,
        need_of: Callable[[Target], LoadNeed | None] = lambda _target: None,
        read_budget: Callable[[], MemoryBudget] | None = None,
        is_pinned: Callable[[Target], bool] = lambda _target: False,
        note_working_set: Callable[[int], None] = lambda _bytes: None,
        conditions: Conditions | None = None,
        saved_caches_dir: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._current = current
        self._resolve = resolve
        self._note_working_set = note_working_set
        self._clock = clock
        self.saved_caches_dir = saved_caches_dir
        self._inbox: asyncio.Queue[Message] = asyncio.Queue()
        self._fleet = Fleet(
            launch_for=launch_for,
            post=self._inbox.put_nowait,
            saved_caches_dir=saved_caches_dir,
            clock=clock,
            context_of=context_of,
            why_no_draft=why_no_draft,
            is_pinned=is_pinned,
        )
        self._leasing = Leasing(
            self._fleet,
            resolve=resolve,
            note_choice=note_choice,
            check_load=check_load,
            post=self._inbox.put_nowait,
            run=self._run_beside,
            clock=clock,
        )
        self._faults = WorkerFaults(
            self._fleet,
            self._leasing.queue,
            clock=clock,
            fall_back=lambda target: self._leasing.fall_back(target, self.is_avoided),
        )
        self._stops = StopCommands(self._fleet, self._leasing.queue)
        self.swapped = self._fleet.swapped
        self.removed = self._fleet.removed
        self.models = ModelStates(fault_of=self._faults.fault_of, unload_reason_of=self._fleet.unload_reason_of)
        conditions = conditions or Conditions()
        conditions.changed.add(lambda _change: self._inbox.put_nowait(ConditionsChanged()))
        self._relief = Relief(conditions, self._fleet, self._leasing.queue, run=self._run_beside, clock=clock)
        self._ledger = Ledger(
            self._fleet,
            need_of=need_of,
            read=read_budget,
            post=self._inbox.put_nowait,
            run=self._run_beside,
            clock=clock,
        )
        self._placing = Placing(
            current, self._fleet, self._leasing, self._faults, self._relief, self._ledger, clock=clock
        )
        self.relieved = self._relief.told
        self._is_closing = False
        self._decided_at = clock()

    def serve_remotely(self, remote: RemoteServing) -> None:
        """Have what no worker here has served by others, from now on."""
        self._leasing.remote = remote

    # ---- for everybody else -----------------------------------------------------------------------------------------

    async def lease(
        self,
        model_request: ModelRequest,
        num_sequences: int = 1,
        priority: Priority = Priority.INTERACTIVE,
        session_id: str | None = None,
    ) -> Lease:
        """Wait for a worker that has what `model_request` means resident.

        Args:
            num_sequences: Places in the batch it needs; 0 for what takes none and waits for none.
            session_id: The conversation it belongs to, or None; it goes to the worker that served it last, if it can.

        Raises:
            QueueFullError: Too many wait already.
            InvalidRequestError: It names a worker that has not what it means.
            RouterError: The request cannot be met, the load failed, the wait was too long, or the server shuts down.
            RegistryError: The model is unknown.
        """
        ticket = self.submit(model_request, num_sequences, priority, session_id)
        try:
            return await ticket.lease
        except asyncio.CancelledError:
            self.withdraw(ticket)
            raise

    def submit(
        self,
        model_request: ModelRequest,
        num_sequences: int = 1,
        priority: Priority = Priority.INTERACTIVE,
        session_id: str | None = None,
    ) -> Ticket:
        """Queue a request without waiting for its lease; arguments and errors as in `lease`.

        Returns:
            The ticket: its `lease` is to be awaited without cancelling it, or given up with `withdraw`.
        """
        if self._is_closing:
            raise ShuttingDownError
        choice = self._resolve(model_request)
        if not choice.target.is_remote:
            self._faults.check(choice.target)
        return self._leasing.submit(model_request, choice, num_sequences, priority, session_id)

    def withdraw(self, ticket: Ticket) -> None:
        """Give up a ticket whose lease nobody took; harmless for one that has failed."""
        self._leasing.withdraw(ticket)

    async def stop_model(
        self, model: str, *, reason: str = STOPPED_BY_COMMAND, is_cut: bool = False, keeps_queue: bool = False
    ) -> StopReport:
        """Unload a model: no new requests, the running ones finish; return when its memory is back.

        Args:
            reason: Why, in words.
            is_cut: Whether the running ones are cut instead.
            keeps_queue: Whether those that wait for its load go on waiting, instead of failing.

        Raises:
            ShuttingDownError: All models are being unloaded.
        """
        if self._is_closing:
            raise ShuttingDownError
        done: asyncio.Future[StopReport] = asyncio.get_running_loop().create_future()
        self._inbox.put_nowait(StopModel(model, done, reason, is_cut, keeps_queue))
        return await done

    def refresh(self) -> None:
        """Resolve waiting requests again: settings of the config or the registry changed."""
        self._inbox.put_nowait(SettingsChanged())

    def close(self) -> None:
        """Refuse what waits, stop every worker, and let `run` return."""
        self._inbox.put_nowait(Close())

    def end_now(self) -> None:
        """Close, without giving the workers time to end in order."""
        self.close()
        for worker in self._fleet:
            if worker.client is not None:
                worker.client.kill()

    # ---- the task ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Own the workers until `close` was called and the last one is gone."""
        async with asyncio.TaskGroup() as tasks:
            self._fleet.use(tasks)
            self._tasks = tasks
            self._placing.ensure_standby()
            while not self._is_closing or self._fleet:
                await self._handle_messages()
                self._decided_at = now = self._clock()
                self._leasing.refuse_late(self._config, now)
                self._relief.refuse_held(self._config, now)
                self._faults.check_workers(self._config, now)
                if not self._is_closing:
                    self._placing.place(now)
                    self._placing.ensure_standby()
                self.models.look(self._fleet.seen)

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
                self._leasing.take_in(ticket, self._config)
            case Checked(ticket=ticket):
                self._leasing.on_checked(ticket, self._config)
            case Withdraw(ticket_id=ticket_id):
                self._leasing.queue.take(ticket_id)
            case Release():
                self._on_release(message)
            case WorkerChanged() | WorkerGone() | WorkerMeasured():
                self._on_worker(message)
            case StopModel():
                self._stops.on_stop_model(message, self._config)
            case MemoryRead() | SettingsChanged() | ConditionsChanged():
                self._on_news(message)
            case Close():
                self._on_close()
            case _:
                assert_never(message)

    # ---- messages ---------------------------------------------------------------------------------------------------

    def _on_release(self, message: Release) -> None:
        self._leasing.take_back(message)
        worker = self._fleet.get(message.worker_id)
        if worker is not None:
            self._relief.on_release(worker, self._config)

    def _on_worker(self, message: WorkerChanged | WorkerGone | WorkerMeasured) -> None:
        worker = self._fleet.get(message.worker_id)
        if worker is None:
            return
        match message:
            case WorkerChanged():
                self._on_worker_changed(worker)
            case WorkerGone():
                self._on_worker_gone(worker, message)
            case WorkerMeasured(memory_bytes=memory_bytes):
                self._faults.on_measured(worker, memory_bytes, self._config)

    def _on_worker_changed(self, worker: ManagedWorker) -> None:
        if worker.client is None or worker.state is WorkerState.STOPPING:
            return
        hello = worker.client.hello
        if worker.state is WorkerState.STARTING and hello is not None and hello.working_set_bytes is not None:
            self._tasks.create_task(asyncio.to_thread(self._note_working_set, hello.working_set_bytes))
        if worker.client.load_error is not None:
            self._faults.on_load_failed(worker, worker.client.load_error, self._config)
        elif self._fleet.advance(worker, self._config):
            self._faults.on_ready(worker)
            self._relief.on_ready(worker)
            self._ledger.on_fleet_changed()

    def _on_worker_gone(self, worker: ManagedWorker, message: WorkerGone) -> None:
        was_expected = worker.state is WorkerState.STOPPING
        self._fleet.remove(worker, message.swap)
        self._ledger.on_fleet_changed()
        self._leasing.on_worker_gone(worker.worker_id)
        if not was_expected:
            self._faults.on_death(worker, message.error or "")
        self._stops.on_worker_gone(worker.worker_id, message.swap)

    def _on_news(self, message: MemoryRead | SettingsChanged | ConditionsChanged) -> None:
        match message:
            case MemoryRead():
                self._ledger.on_read(message)
            case SettingsChanged():
                self._on_settings_changed()
            case ConditionsChanged():
                self._relief.on_changed()

    def _on_settings_changed(self) -> None:
        self._leasing.resolve_again()
        self._fleet.note_pins()
        if self._config.residency == "exclusive":
            return
        for ticket in self._leasing.queue:  # what some of them take was never looked at
            is_known = self._ledger.need_of(ticket.choice.target) is not None
            if not is_known and self._leasing.queue.take(ticket.ticket_id) is not None:
                self._leasing.take_in(ticket, self._config)

    def _on_close(self) -> None:
        self._is_closing = True
        self._leasing.close()
        for worker in self._fleet:
            self._fleet.stop(worker, "shutdown", self._config, error=ShuttingDownError())

    # ---- time -------------------------------------------------------------------------------------------------------

    def _seconds_to_deadline(self) -> float | None:
        # From the time of the last decision: what has become due since then is still to be decided.
        deadline = min(self._deadlines(self._decided_at), default=None)
        return None if deadline is None else max(0.0, deadline - self._clock())

    def _deadlines(self, now: float) -> Iterator[float]:
        yield from self._faults.deadlines(self._config, now)
        yield from self._relief.deadlines(self._config)
        timeout = self._leasing.next_timeout(self._config)
        if timeout is not None:
            yield timeout
        yield from self._placing.deadlines(now)

    def _run_beside(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.create_task(work)
