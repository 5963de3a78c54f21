"""What the workers' models hold of the memory and may hold together: readings, kept for `placement`.

Part of the supervisor's task; the readings are made on a thread, and come back as a message. While one model is loaded
at a time nothing is read and nothing kept. Not here: what follows (`placement.room`), and how short the machine is of
memory (`router.memory`).
"""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable
from typing import Any, Final

from msgspec.structs import replace

from backends.machine.current import current_platform
from router.config import Config
from router.models.targets import Target
from router.placement.lifecycle import WorkerState
from router.placement.memory import MemoryBudget
from router.placement.sharing import EXCLUSIVE, Group, LoadNeed, Residency, workers_limit
from router.workers.fleet import Fleet
from router.workers.memory_readings import MemoryReadings, read_everything
from router.workers.messages import MemoryRead, Message
from router.workers.residency import ManagedWorker

VALID_S: Final = 1.0
"""How long a reading counts while somebody waits for room."""
_MAX_LEARNED: Final = 256


class Ledger:
    """Keeps what was read.

    Args:
        need_of: Target to what its load takes, as it was estimated; None = not known.
        read: Reads what the machine has; None = nothing is known, and nothing is loaded beside others.
        post: Puts a message into the supervisor's inbox.
        run: Runs something beside the supervisor's task.
        clock: Monotonic seconds.

    Attributes:
        readings: The last ones; None before the first.
    """

    def __init__(
        self,
        fleet: Fleet,
        *,
        need_of: Callable[[Target], LoadNeed | None],
        read: Callable[[], MemoryBudget] | None,
        post: Callable[[Message], None],
        run: Callable[[Coroutine[Any, Any, None]], object],
        clock: Callable[[], float],
    ) -> None:
        self._fleet = fleet
        self._need_of = need_of
        self._read = read
        self._post = post
        self._run = run
        self._clock = clock
        self._learned: dict[Target, int] = {}
        self._is_reading = False
        self._changed_at = clock()
        self._groups: tuple[object, tuple[Group, ...]] = (None, ())
        self.readings: MemoryReadings | None = None

    # ---- for placement ----------------------------------------------------------------------------------------------

    def residency(self, config: Config, waiting: Collection[Target]) -> Residency:
        """Return what placement is told.

        Args:
            waiting: Targets of which somebody waits for the load.
        """
        if config.residency == "exclusive":
            return EXCLUSIVE
        needs = {target: need for target in waiting if (need := self.need_of(target)) is not None}
        rules = Residency(mode=config.residency, groups=self._groups_of(config), needs=needs)
        if self.readings is None:
            return rules
        budget = self.readings.budget
        return replace(
            rules,
            limit_bytes=self.limit_bytes(config, self.readings),
            wired_limit_bytes=budget.wired_limit_bytes,
            is_fresh=self.readings.taken_at >= self._changed_at,
        )

    def need_of(self, target: Target) -> LoadNeed | None:
        """Return what a load takes: as it was estimated, or as much as a load of it was seen to hold."""
        need, seen_bytes = self._need_of(target), self._learned.get(target, 0)
        if need is None:
            return LoadNeed(seen_bytes, seen_bytes) if seen_bytes else None
        return replace(need, full_bytes=max(need.full_bytes, seen_bytes))

    def limit_bytes(self, config: Config, readings: MemoryReadings | None) -> int | None:
        """Return what all workers may hold together by some readings; None without any."""
        if readings is None:
            return None
        return workers_limit(
            readings.budget,
            config.memory,
            anonymous_bytes=sum(each.anonymous_bytes for each in readings.footprints.values()),
            others_bytes=readings.own_bytes + readings.standby_bytes,
            has_own_level=readings.has_own_level,
        )

    async def readings_now(self) -> MemoryReadings | None:
        """Read anew, for whoever asks; nothing is decided by it. None = nothing can be read."""
        if self._read is None:
            return None
        pids, standby = self._pids()
        try:
            return await asyncio.to_thread(
                read_everything, current_platform(), self._read, pids, standby, self._clock()
            )
        except OSError:
            return None

    def read_bytes_of(self, worker: ManagedWorker, readings: MemoryReadings | None) -> int | None:
        """Return what a worker holds; mapped files with the first of those that have the same model.

        None = it was not there then.
        """
        footprint = None if readings is None else readings.footprints.get(worker.worker_id)
        if footprint is None:
            return None
        return footprint.rss_bytes if self._is_first(worker) else footprint.anonymous_bytes

    def _is_first(self, worker: ManagedWorker) -> bool:
        return worker.worker_id == min(each.worker_id for each in self._fleet if each.target == worker.target)

    def on_fleet_changed(self) -> None:
        """Take note that something was loaded or has ended: readings from before that say nothing of now."""
        self._changed_at = self._clock()

    def ensure_reading(self, waiting: Collection[Target]) -> None:
        """Have the memory read where somebody waits for room and the last reading is too old."""
        if self._read is None or self._is_reading or not self._misses(waiting):
            return
        if self._is_due(self._clock()):
            self._is_reading = True
            self._run(self._look())

    def deadlines(self, waiting: Collection[Target]) -> Iterable[float]:
        """Return when `ensure_reading` has something to do, monotonic."""
        if self.readings is None or not self._misses(waiting):
            return ()
        return (self.readings.taken_at + VALID_S,)

    def on_read(self, message: MemoryRead) -> None:
        """Take over what was read."""
        self._is_reading = False
        if message.readings is None:
            return
        self.readings = message.readings
        for worker in self._fleet:
            self._charge(worker, message.readings)

    def on_start(self, worker: ManagedWorker) -> None:
        """Charge a worker for the load that it is about to begin."""
        need = None if worker.target is None else self.need_of(worker.target)
        worker.need_bytes = worker.held_bytes = 0 if need is None else need.full_bytes

    # ---- readings ---------------------------------------------------------------------------------------------------

    def _is_due(self, now: float) -> bool:
        return self.readings is None or self.readings.taken_at < max(self._changed_at, now - VALID_S)

    def _misses(self, waiting: Collection[Target]) -> bool:
        """Tell whether a target waits that no worker has."""
        return any(all(worker.target != target for worker in self._fleet) for target in waiting)

    async def _look(self) -> None:
        self._post(MemoryRead(await self.readings_now()))  # where it failed, the next message has it tried again

    def _pids(self) -> tuple[dict[int, int | None], list[int | None]]:
        """Return the processes of workers with a model by their ids, and those of the others."""
        with_model = {worker.worker_id: worker.pid for worker in self._fleet if worker.target is not None}
        return with_model, [worker.pid for worker in self._fleet if worker.target is None]

    def _charge(self, worker: ManagedWorker, readings: MemoryReadings) -> None:
        """Note what a worker counts for: what it holds, or what was estimated where that is more."""
        read_bytes = self.read_bytes_of(worker, readings)
        if read_bytes is None or worker.target is None:
            return
        is_first = self._is_first(worker)
        footprint = readings.footprints[worker.worker_id]
        mapped_bytes = 0 if is_first else footprint.rss_bytes - footprint.anonymous_bytes
        worker.held_bytes = max(read_bytes, worker.need_bytes - mapped_bytes)
        if is_first and worker.state is not WorkerState.STOPPING:
            self._learn(worker.target, read_bytes)

    def _learn(self, target: Target, num_bytes: int) -> None:
        if len(self._learned) >= _MAX_LEARNED and target not in self._learned:
            self._learned.clear()
        self._learned[target] = max(num_bytes, self._learned.get(target, 0))

    def _groups_of(self, config: Config) -> tuple[Group, ...]:
        if self._groups[0] is not config.groups:
            groups = tuple(Group(name, frozenset(members)) for name, members in config.groups.items())
            self._groups = (config.groups, groups)
        return self._groups[1]
