"""The worker processes and their records: start, load, stop, standby, and what each load and unload measured.

Part of the supervisor's task: nobody else calls in here. Not the queue and not the requests (`supervisor`), not the
decisions (`placement`), not the life of one process (`residency`).
"""

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from backends.machine.current import current_platform
from registry.engines import LOCAL_ENGINES, Engine
from router.config import Config
from router.errors import EngineCrashedError, RouterError
from router.models.auto.learning import Resident
from router.models.load_spec import load_spec_for
from router.models.model_request import ModelRequest
from router.models.targets import Target
from router.observers import Observers
from router.placement.lifecycle import WorkerState, check_transition
from router.placement.situation import PlacedWorker
from router.status import Swap
from router.workers.launch import WorkerLaunch
from router.workers.messages import Message, WorkerChanged, WorkerGone, WorkerMeasured
from router.workers.model_states import SeenWorker
from router.workers.read_ahead import read_ahead
from router.workers.residency import ManagedWorker, load_of, note_memory_before_load, run_worker, stop_worker

logger = logging.getLogger(__name__)

NUM_SWAPS_KEPT = 100
STANDBY_PATIENCE_S = 10.0
"""How long after a load the next standby worker waits for a moment without running answers."""

_UNLOADED = frozenset({WorkerState.STARTING, WorkerState.STANDBY})
_HAS_MODEL = frozenset({WorkerState.LOADING, WorkerState.READY, WorkerState.DRAINING})


class Fleet:
    """Owns the workers.

    Args:
        launch_for: Name of an engine to how its worker is started.
        context_of: Target to its context in tokens; None = unknown.
        why_no_draft: Target to why what drafts for it is not to be loaded now; None = it is.
        is_pinned: Tells whether a target's model is to stay loaded.
        saved_caches_dir: Where caches are saved when the config wants that.
        post: Puts a message into the supervisor's inbox.
        clock: Monotonic seconds.

    Attributes:
        swaps: The last loads and unloads, newest last.
        swapped: Told of each of them.
        removed: Told of each worker that was reaped; its `previous_state` tells where it stood.
    """

    def __init__(
        self,
        *,
        launch_for: Callable[[str], WorkerLaunch],
        post: Callable[[Message], None],
        saved_caches_dir: Path | None,
        clock: Callable[[], float],
        context_of: Callable[[Target], int | None] = lambda _target: None,
        why_no_draft: Callable[[Target], str | None] = lambda _target: None,
        is_pinned: Callable[[Target], bool] = lambda _target: False,
    ) -> None:
        self._launch_for = launch_for
        self._context_of = context_of
        self._why_no_draft = why_no_draft
        self._is_pinned = is_pinned
        self._post = post
        self._saved_caches_dir = saved_caches_dir
        self._clock = clock
        self._workers: dict[int, ManagedWorker] = {}
        self._broken_standby: set[Engine] = set()
        self._ids = itertools.count(1)
        self._tasks: asyncio.TaskGroup | None = None
        self.swaps: deque[Swap] = deque(maxlen=NUM_SWAPS_KEPT)
        self.swapped: Observers[Swap] = Observers()
        self.removed: Observers[ManagedWorker] = Observers()

    def __len__(self) -> int:
        return len(self._workers)

    def __iter__(self) -> Iterator[ManagedWorker]:
        return iter(list(self._workers.values()))

    def __getitem__(self, worker_id: int) -> ManagedWorker:
        return self._workers[worker_id]

    def use(self, tasks: asyncio.TaskGroup) -> None:
        """Let the processes' tasks live in `tasks`; to be called before anything is started."""
        self._tasks = tasks

    # ---- looks ------------------------------------------------------------------------------------------------------

    def get(self, worker_id: int) -> ManagedWorker | None:
        """Return a worker, or None when it is gone."""
        return self._workers.get(worker_id)

    def holders_of(self, model: str) -> list[ManagedWorker]:
        """Return the workers that have, get or give up a model, whatever their engine.

        Args:
            model: Its name, for it with any adapter or none; or `name+adapter`, for it with this one.
        """
        return [
            worker
            for worker in self
            if worker.target is not None and model in {worker.target.model, worker.target.label}
        ]

    def resident_of(self, model: str, *, is_waited_for: bool) -> Resident:
        """Return what is loaded of a model now, busy where answers run or requests wait."""
        holders = [worker for worker in self if worker.target is not None and worker.target.model == model]
        workers = [worker for worker in holders if worker.state in _HAS_MODEL]
        if not workers:
            return Resident()
        # A worker that drains goes, unless it is the only one.
        newest = max(workers, key=lambda worker: worker.state is not WorkerState.DRAINING)
        assert newest.target is not None
        is_busy = is_waited_for or any(worker.use.num_running for worker in workers)
        return Resident(newest.target.engine.kind, is_busy)

    def has_serving(self, target: Target) -> bool:
        """Tell whether a worker is there that serves `target` and may go on doing so."""
        return any(
            worker.target == target and worker.state is WorkerState.READY and worker.unwanted_reason is None
            for worker in self
        )

    @property
    def placed(self) -> list[PlacedWorker]:
        """The workers that have, get or give up a model, as placement sees them.

        One that has just died is on its way out, though it is not reaped yet: nothing may be handed to it.
        """
        return [
            PlacedWorker(
                worker.worker_id,
                worker.target,
                WorkerState.STOPPING if worker.has_died else worker.state,
                worker.state_since,
                worker.max_sequences,
                worker.use,
                worker.unwanted_reason is not None,
                worker.held_bytes,
                worker.is_pinned,
                (worker.load_ms or 0.0) / 1000,
            )
            for worker in self
            if worker.target is not None
        ]

    @property
    def seen(self) -> list[SeenWorker]:
        """The same workers, as their models' states need them."""
        fractions = {
            worker.worker_id: worker.client.load_fraction
            for worker in self
            if worker.client is not None and worker.state is WorkerState.LOADING
        }
        return [SeenWorker(placed, fractions.get(placed.worker_id)) for placed in self.placed]

    def unload_reason_of(self, model: str, engine: str) -> str | None:
        """Return why a model was unloaded last; None = that is not known any more."""
        for swap in reversed(self.swaps):
            if swap.event == "unload" and (swap.model, swap.engine) == (model, engine):
                return swap.reason
        return None

    # ---- start and load ---------------------------------------------------------------------------------------------

    def start(self, target: Target, config: Config, *, asked: ModelRequest | None = None) -> ManagedWorker:
        """Load `target`, on a standby worker if there is one, and return it.

        Args:
            asked: For whom.
        """
        standby = self._standby_for(target.engine)
        worker = standby or self._launch(target.engine, config)
        worker.was_standby = standby is not None
        worker.is_extra = self.has_serving(target)
        worker.target = target
        worker.asked = asked
        worker.wanted_at = self._clock()
        worker.is_pinned = self._is_pinned(target)
        if worker.state is WorkerState.STANDBY:
            self._load(worker, target, config)
        return worker

    def note_pins(self) -> None:
        """Ask again which models are to stay loaded."""
        for worker in self:
            worker.is_pinned = worker.target is not None and self._is_pinned(worker.target)

    def advance(self, worker: ManagedWorker, config: Config) -> bool:
        """Take over what the worker has said; return whether its model has become ready by it."""
        assert worker.client is not None
        if worker.state is WorkerState.STARTING and worker.client.hello is not None:
            self.set_state(worker, WorkerState.STANDBY)
            if worker.target is not None:
                self._load(worker, worker.target, config)
        if worker.state is not WorkerState.LOADING or worker.client.loaded is None:
            return False
        assert worker.target is not None
        now = self._clock()
        worker.load_ms = (now - worker.wanted_at) * 1000
        worker.max_sequences = worker.client.loaded.max_sequences
        worker.loaded_at = time.time()
        worker.ready_at = now
        self.set_state(worker, WorkerState.READY)
        self._broken_standby.discard(worker.engine)
        self._record(load_of(worker, worker.loaded_at))
        return True

    def _standby_for(self, engine: Engine) -> ManagedWorker | None:
        """Return a waiting worker; one that has just died is none, though it is not reaped yet."""
        for worker in self:
            if worker.target is None and worker.engine == engine and worker.state in _UNLOADED and not worker.has_died:
                return worker
        return None

    def _launch(self, engine: Engine, config: Config) -> ManagedWorker:
        assert self._tasks is not None
        worker = ManagedWorker(worker_id=next(self._ids), engine=engine, state_since=self._clock())
        self._workers[worker.worker_id] = worker
        self._tasks.create_task(self._run_worker(worker, config.limits.reclaim_timeout_s))
        return worker

    async def _run_worker(self, worker: ManagedWorker, reclaim_timeout_s: float) -> None:
        """Start the process, see it through to its end, and report."""
        changed = WorkerChanged(worker.worker_id)
        swap, error = await run_worker(
            worker,
            self._launch_for(worker.engine.kind),
            on_change=lambda: self._post(changed),
            reclaim_timeout_s=reclaim_timeout_s,
            other_pids=lambda: self._pids_beside(worker),
        )
        self._post(WorkerGone(worker.worker_id, swap, error))

    def _pids_beside(self, worker: ManagedWorker) -> list[int]:
        return [other.pid for other in self if other is not worker and other.pid is not None]

    def _load(self, worker: ManagedWorker, target: Target, config: Config) -> None:
        assert worker.client is not None
        self.set_state(worker, WorkerState.LOADING)
        num_cores = current_platform().num_compute_threads()
        spec = load_spec_for(
            target,
            config,
            num_cores=num_cores,
            context_length=self._context_of(target),
            why_no_draft=self._why_no_draft(target),
            saved_caches_dir=self._saved_caches_dir,
        )
        note_memory_before_load(worker)
        worker.client.load(spec)

    def measure(self, worker: ManagedWorker) -> None:
        """Have a worker's memory read; what comes of it is a message."""
        assert self._tasks is not None
        self._tasks.create_task(self._measure(worker))

    async def _measure(self, worker: ManagedWorker) -> None:
        assert worker.pid is not None
        footprint = await asyncio.to_thread(current_platform().footprint_of, worker.pid)
        if footprint is not None:
            self._post(WorkerMeasured(worker.worker_id, footprint.rss_bytes))

    # ---- standby ----------------------------------------------------------------------------------------------------

    def prepare(self, target: Target, config: Config) -> None:
        """Start a process for what is loaded next, without the model, and read its files into the system's cache.

        Does nothing where one waits already.
        """
        if self._launch_waiting(target.engine, config):
            assert self._tasks is not None
            self._tasks.create_task(asyncio.to_thread(read_ahead, Path(target.local.path)))

    def ensure_standby(self, config: Config, *, is_memory_short: bool = False) -> None:
        """Keep one waiting worker per engine if the config wants it, none otherwise; not in a load's first answer.

        A process that imports its libraries takes a core from a model that has just been loaded: the first answer on
        it does not share the machine with the standby worker for the next swap, unless it is a long one.
        """
        idle = [worker for worker in self if worker.target is None]
        if is_memory_short or not config.standby:
            for worker in idle:
                self.stop(worker, "memory pressure" if config.standby else "standby is off", config)
            return
        loaded_at = max((worker.ready_at for worker in self), default=0.0)
        is_answering = any(worker.use.num_running for worker in self)
        if is_answering and self._clock() - loaded_at < STANDBY_PATIENCE_S:
            return
        if all(worker.state is not WorkerState.LOADING for worker in self):
            for engine in map(Engine, LOCAL_ENGINES):
                self._launch_waiting(engine, config)

    def _launch_waiting(self, engine: Engine, config: Config) -> bool:
        """Start a worker without a model, unless one is there or the engine breaks; return whether it was started."""
        if engine in self._broken_standby or any(each.target is None and each.engine == engine for each in self):
            return False
        self._launch(engine, config)
        return True

    def give_up_standby(self, engine: Engine, words: str) -> None:
        """Start no standby worker for an engine that breaks, until a model has been loaded on it."""
        logger.warning("no standby worker for %s: %s", engine, words)
        self._broken_standby.add(engine)

    # ---- stop -------------------------------------------------------------------------------------------------------

    def stop(self, worker: ManagedWorker, reason: str, config: Config, *, error: RouterError | None = None) -> None:
        """End a worker; does nothing when it is ending already.

        Args:
            error: What its running requests get; None lets those without any text be tried again.
        """
        if worker.state in {WorkerState.STOPPING, WorkerState.GONE}:
            return
        assert self._tasks is not None
        self.set_state(worker, WorkerState.STOPPING)
        worker.stop_reason = reason
        if worker.client is not None:
            cut = EngineCrashedError("the worker was stopped before this answer was complete")
            worker.client.fail_streams(error or cut)
        stopping = stop_worker(
            worker, stop_timeout_s=config.limits.stop_timeout_s, other_pids=lambda: self._pids_beside(worker)
        )
        self._tasks.create_task(stopping)

    def remove(self, worker: ManagedWorker, swap: Swap | None) -> None:
        """Forget a worker that was reaped; `previous_state` tells where it stood."""
        del self._workers[worker.worker_id]
        self.set_state(worker, WorkerState.GONE)
        self.removed.tell(worker)
        if swap is not None:
            self._record(swap)

    def set_state(self, worker: ManagedWorker, state: WorkerState) -> None:
        """Take a step of the lifecycle."""
        worker.previous_state = worker.state
        worker.state = check_transition(worker.state, state)
        worker.state_since = self._clock()

    def _record(self, swap: Swap) -> None:
        self.swaps.append(swap)
        logger.info("%s", swap.log_line())
        self.swapped.tell(swap)
