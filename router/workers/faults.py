"""What goes wrong with workers, and what follows: failed loads, deaths, silence, and too much memory.

Part of the supervisor's task. Not the processes (`fleet`) and not the decisions about models (`placement`).
"""

import logging
import signal
from collections.abc import Callable, Iterator

import msgspec

from router.config import Config
from router.errors import EngineCrashedError, EngineTimeoutError, ModelLoadFailedError, RouterError, UnavailableError
from router.models.load_settings import config_for
from router.models.targets import Target
from router.placement.lifecycle import WorkerState
from router.workers.fleet import Fleet
from router.workers.model_states import Fault
from router.workers.residency import ManagedWorker
from router.workers.versions import clash_of, installed_version
from router.workers.waiting import WaitingQueue

logger = logging.getLogger(__name__)

MAX_FAILURES = 3
"""Loads in a row that may fail before requests are refused without a try."""
OPEN_S = 60.0
"""How long they are refused; the file may have been mended meanwhile."""
CHECK_INTERVAL_S = 1.0
"""How often a worker that serves requests is looked at: whether it is silent, and how much memory it has."""
TRIED_AGAIN = "The next request tries to load it again."
MAX_AVOIDED_S = 3600.0
"""Where others can serve, a target whose loads fail is left alone for OPEN_S, then twice as long, and so on to this."""
MENDED = (
    f"Requests for it are refused for {OPEN_S:g} s, then one tries to load it again; "
    "see to its files and settings meanwhile (`mlxr models show`, `mlxr doctor`)."
)
FELL_BACK = (
    "The other engine serves its requests meanwhile (`engine_fallback`), and now and then, at most once an hour in the "
    "end, one tries to load it again; see to its files and settings (`mlxr models show`, `mlxr doctor`)."
)
KILL_SHARE = 1.25
"""Share of the memory limit over which a worker is not given the time to finish."""


class _Record(msgspec.Struct):
    num_failures: int
    words: str
    failed_at: float
    is_tried_again: bool


class LoadBreaker:
    """Keeps a model that fails to load from being loaded again by every request for it; pure but for its counts."""

    def __init__(self) -> None:
        self._records: dict[Target, _Record] = {}

    def is_open(self, target: Target, now: float) -> bool:
        """Tell whether requests for a target are refused."""
        record = self._records.get(target)
        return record is not None and record.num_failures >= MAX_FAILURES and now < record.failed_at + OPEN_S

    def check(self, target: Target, now: float) -> None:
        """Let a request pass, or not.

        Raises:
            UnavailableError: The last MAX_FAILURES loads failed, the last one less than OPEN_S ago.
        """
        if self.is_open(target, now):
            record = self._records[target]
            left_s = record.failed_at + OPEN_S - now
            raise UnavailableError(
                f"the model '{target.label}' failed to load {record.num_failures} times on {target.engine} "
                f"({record.words}); it is tried again in {left_s:.0f} s",
                retry_after_s=left_s,
            )

    def has_failed(self, target: Target | None) -> bool:
        """Tell whether its last load failed."""
        return target in self._records

    def is_avoided(self, target: Target, now: float) -> bool:
        """Tell whether a target is left alone where something else can serve; each try costs two swaps."""
        record = self._records.get(target)
        if record is None or record.is_tried_again:
            return False
        return now < record.failed_at + min(MAX_AVOIDED_S, OPEN_S * 2.0 ** min(record.num_failures - 1, 10))

    def on_failure(self, target: Target, words: str, now: float, *, is_tried_again: bool = False) -> None:
        """Count a failed load.

        Args:
            is_tried_again: Whether those that waited for it go on waiting, for the next try.
        """
        record = self._records.get(target)
        num_failures = 1 if record is None else record.num_failures + 1
        self._records[target] = _Record(num_failures, words, now, is_tried_again)

    def on_success(self, target: Target) -> None:
        """Forget the failures."""
        self._records.pop(target, None)


class WorkerFaults:
    """Watches the workers and deals with what goes wrong.

    Args:
        fall_back: Sends those that wait for a target, whose load has failed, to what else may serve them; returns
            whether it did so with any of them.
        clock: Monotonic seconds.

    Attributes:
        version_clash: Why the server is to be restarted: workers are of another version than it; None = they are not.
    """

    def __init__(
        self,
        fleet: Fleet,
        queue: WaitingQueue,
        *,
        clock: Callable[[], float],
        fall_back: Callable[[Target], bool] = lambda _target: False,
    ) -> None:
        self._fleet = fleet
        self._queue = queue
        self._clock = clock
        self._fall_back = fall_back
        self._breaker = LoadBreaker()
        self._faults: dict[Target, Fault] = {}
        self._replicas_again_at: dict[Target, float] = {}
        self.version_clash: str | None = None

    def fault_of(self, target: Target) -> Fault | None:
        """Return what went wrong with a target last, unless it has been loaded since."""
        return self._faults.get(target)

    # ---- loads ------------------------------------------------------------------------------------------------------

    def check(self, target: Target) -> None:
        """Let a request for `target` pass, or not.

        Raises:
            UnavailableError: Its last loads failed, and no worker has it.
        """
        if not self._fleet.has_serving(target):
            self._breaker.check(target, self._clock())

    def is_avoided(self, target: Target) -> bool:
        """Tell whether a target's loads fail, so that what else can serve is to do so."""
        return self._breaker.is_avoided(target, self._clock()) and not self._fleet.has_serving(target)

    def num_workers(self, target: Target, config: Config, now: float) -> int:
        """Return how many workers a resident target is to have.

        One, for a while after a further one could not be loaded.
        """
        if now < self._replicas_again_at.get(target, now):
            return 1
        return config_for(config, target.load).generation.workers

    def on_ready(self, worker: ManagedWorker) -> None:
        """Take note of a good load."""
        assert worker.target is not None
        self.version_clash = None
        self._breaker.on_success(worker.target)
        self._faults.pop(worker.target, None)

    def on_load_failed(self, worker: ManagedWorker, error: RouterError, config: Config) -> None:
        """Tell those who wait for the load, and end the worker."""
        assert worker.client is not None
        if worker.client.loaded is None and worker.client.hello is not None:
            self._note_version(worker.client.hello.version)
        self._note_failure(worker, error)
        self._fleet.stop(worker, "load failed", config)

    def on_death(self, worker: ManagedWorker, words: str) -> None:
        """Deal with the end of a worker that nobody told to end; its requests have been told."""
        logger.warning("the %s worker died while it was %s%s", worker.engine, worker.previous_state, words)
        if worker.previous_state.is_resident:
            self._note_lost(worker, f"its worker died{words}")
        if worker.previous_state is WorkerState.LOADING and worker.died_as_standby:
            return  # those who wait get a fresh process
        if self._was_load_killed(worker):
            assert worker.target is not None
            self._on_load_failure(worker.target, f"it was killed while it loaded{words}", is_tried_again=True)
            return  # once
        if worker.previous_state is WorkerState.STARTING:  # perhaps it could not even speak with us
            self._note_version(installed_version())
        if self.version_clash is not None and worker.previous_state is WorkerState.STARTING:
            self._note_failure(worker, ModelLoadFailedError(f"{self.version_clash}{words}"))
        elif not worker.previous_state.is_resident:
            model = "" if worker.target is None else f" '{worker.target.label}'"
            self._note_failure(
                worker, ModelLoadFailedError(f"the {worker.engine} engine died while it loaded{model}{words}")
            )

    def _note_version(self, version: str | None) -> None:
        self.version_clash = clash_of(version)

    def _was_load_killed(self, worker: ManagedWorker) -> bool:
        """Tell whether somebody, or the system for want of memory, ended the first try to load a model."""
        is_kill = worker.client is not None and worker.client.exit_code == -signal.SIGKILL
        is_load = worker.previous_state is WorkerState.LOADING and worker.target is not None
        return is_kill and is_load and not self._breaker.has_failed(worker.target)

    def _note_failure(self, worker: ManagedWorker, error: RouterError) -> None:
        """Tell everybody who waits for the load; nobody does for a standby worker's or a further worker's."""
        if worker.target is None:
            self._fleet.give_up_standby(worker.engine, str(error))
        elif self._fleet.has_serving(worker.target):
            logger.warning("no further worker for '%s' in the next %g s: %s", worker.target.label, OPEN_S, error)
            self._replicas_again_at[worker.target] = self._clock() + OPEN_S
        else:
            self._on_load_failure(worker.target, str(error))
            if self._fall_back(worker.target):
                self._faults[worker.target] = Fault(str(error), FELL_BACK)
            self._queue.fail_target(worker.target, error)

    def _on_load_failure(self, target: Target, words: str, *, is_tried_again: bool = False) -> None:
        now = self._clock()
        self._breaker.on_failure(target, words, now, is_tried_again=is_tried_again)
        self._faults[target] = Fault(words, MENDED if self._breaker.is_open(target, now) else TRIED_AGAIN)

    def _note_lost(self, worker: ManagedWorker, words: str) -> None:
        """Take note of the end of a worker that served, unless others go on doing so."""
        if worker.target is not None and not self._fleet.has_serving(worker.target):
            self._faults[worker.target] = Fault(words, TRIED_AGAIN)

    # ---- time -------------------------------------------------------------------------------------------------------

    def check_workers(self, config: Config, now: float) -> None:
        """End loads that take too long and workers that are silent; have the memory of the others measured."""
        limits = config.limits
        for worker in self._fleet:
            if worker.state.is_getting_ready:
                if now >= worker.state_since + limits.load_timeout_s:
                    error = EngineTimeoutError(f"the load took over {limits.load_timeout_s:g} s")
                    self.on_load_failed(worker, error, config)
            elif worker.is_stalled(now, limits.stall_timeout_s):
                self._on_stall(worker, config)
            elif limits.worker_memory_bytes is not None and _is_memory_due(worker, now):
                worker.memory_checked_at = now
                self._fleet.measure(worker)

    def deadlines(self, config: Config, now: float) -> Iterator[float]:
        """Yield when `check_workers` or `num_workers` may answer differently, monotonic."""
        for worker in self._fleet:
            if worker.state.is_getting_ready:
                yield worker.state_since + config.limits.load_timeout_s
            elif worker.use.num_running:
                yield now + CHECK_INTERVAL_S
        yield from (again_at for again_at in self._replicas_again_at.values() if now < again_at)

    def _on_stall(self, worker: ManagedWorker, config: Config) -> None:
        stall_s = config.limits.stall_timeout_s
        logger.warning("the %s worker (pid %s) gave no sign of life for %g s", worker.engine, worker.pid, stall_s)
        error = EngineTimeoutError(f"the engine gave no sign of life for {stall_s:g} s")
        self._kill(worker, "stalled", error, config)

    def on_measured(self, worker: ManagedWorker, memory_bytes: int, config: Config) -> None:
        """Take a worker that holds more than it may out of service, at once or when it is idle."""
        limit_bytes = config.limits.worker_memory_bytes
        if limit_bytes is None or memory_bytes <= limit_bytes or not worker.state.is_resident:
            return
        words = (
            f"the {worker.engine} worker held {memory_bytes} bytes of memory, over limits.worker_memory_bytes "
            f"({limit_bytes}); raise that limit, or lower the config's or the model's parallel or context_length"
        )
        if worker.unwanted_reason is None:
            logger.warning("pid %s is replaced: %s", worker.pid, words)
            worker.unwanted_reason = "over its memory limit"
        if memory_bytes > KILL_SHARE * limit_bytes:
            self._kill(worker, "far over its memory limit", EngineCrashedError(words), config)

    def _kill(self, worker: ManagedWorker, reason: str, error: RouterError, config: Config) -> None:
        assert worker.client is not None
        worker.client.fail_streams(error)
        worker.client.kill()
        self._fleet.stop(worker, reason, config)
        self._note_lost(worker, str(error))


def _is_memory_due(worker: ManagedWorker, now: float) -> bool:
    """Tell whether a serving worker has done something since it was looked at, and that was a while ago."""
    is_used = worker.use.num_running > 0 or worker.use.used_at > worker.memory_checked_at
    return worker.state.is_resident and is_used and now >= worker.memory_checked_at + CHECK_INTERVAL_S
