"""What everybody may see of the supervisor: its workers, its queue, and what it has done. Nothing is decided on it."""

from collections import Counter
from collections.abc import Callable, Mapping

import msgspec

from router.config import Config, CurrentConfig
from router.models.auto.learning import Resident
from router.models.targets import Target
from router.placement.keep_alive import expires_at
from router.placement.lifecycle import WorkerState
from router.placement.room import Home, eviction_order, homes_of
from router.placement.situation import PlacementLimits, WaitingRequest
from router.status import Swap
from router.status.memory import MemoryRelief
from router.workers.faults import WorkerFaults
from router.workers.fleet import Fleet
from router.workers.leasing import Leasing
from router.workers.ledger import Ledger
from router.workers.placing import Placing
from router.workers.pressure import Relief
from router.workers.residency import ManagedWorker


class SeenHomes(msgspec.Struct, frozen=True):
    """What is loaded now, by model.

    Attributes:
        homes: In the order in which they would go, pinned ones last.
        read_bytes: What each holds, files that its workers have mapped once.
        limit_bytes: What all may hold together; None = one is loaded at a time, or it is not known.
    """

    homes: tuple[Home, ...]
    read_bytes: Mapping[Target, int]
    limit_bytes: int | None
    limits: PlacementLimits


class Looks:
    """The part of the supervisor that shows what the other one owns."""

    _current: CurrentConfig
    _fleet: Fleet
    _leasing: Leasing
    _ledger: Ledger
    _placing: Placing
    _relief: Relief
    _faults: WorkerFaults
    _clock: Callable[[], float]

    @property
    def _config(self) -> Config:
        return self._current.config

    @property
    def workers(self) -> tuple[ManagedWorker, ...]:
        """A look at the workers, for the status page; nothing may be decided on it."""
        return tuple(self._fleet)

    @property
    def version_clash(self) -> str | None:
        """Why the server is to be restarted: its workers' files are of another version; None = they are not."""
        return self._faults.version_clash

    def is_avoided(self, target: Target) -> bool:
        """Tell whether a target's loads fail, so that what else can serve is to do so."""
        return self._faults.is_avoided(target)

    @property
    def pids(self) -> list[int]:
        """The processes of all workers."""
        return [worker.pid for worker in self._fleet if worker.pid is not None]

    @property
    def pids_by_model(self) -> list[list[int]]:
        """The same, those together that have the same model; those without one with the first."""
        found: dict[str, list[int]] = {}
        standby = [worker.pid for worker in self._fleet if worker.pid is not None and worker.target is None]
        for worker in self._fleet:
            if worker.pid is not None and worker.target is not None:
                found.setdefault(worker.target.local.path, []).append(worker.pid)
        groups = list(found.values()) or [[]]
        groups[0] += standby
        return groups

    @property
    def is_answering(self) -> bool:
        """Whether any worker computes for somebody."""
        return any(worker.use.num_running for worker in self._fleet)

    @property
    def swaps(self) -> tuple[Swap, ...]:
        """The last loads and unloads, newest last."""
        return tuple(self._fleet.swaps)

    @property
    def reliefs(self) -> tuple[MemoryRelief, ...]:
        """What workers gave back lately because memory was short, newest last."""
        return tuple(self._relief.given)

    @property
    def waiting(self) -> tuple[WaitingRequest, ...]:
        """A look at the queue."""
        here = tuple(self._leasing.queue.requests)
        remote = self._leasing.remote
        return here if remote is None else (*here, *remote.waiting)

    @property
    def is_sharing(self) -> bool:
        """Whether several models may be loaded at a time."""
        return self._config.residency != "exclusive"

    async def see_homes(self) -> SeenHomes:
        """Look at what each loaded model holds; it is read on a thread."""
        readings = await self._ledger.readings_now()
        limits = self._placing.limits(self._clock())
        homes = homes_of(self._fleet.placed, self._leasing.queue.requests)
        read_bytes: Counter[Target] = Counter()
        for worker in self._fleet:
            if worker.target is not None:
                read_bytes[worker.target] += self._ledger.read_bytes_of(worker, readings) or 0
        order = eviction_order(homes, limits, self._clock())
        return SeenHomes(
            homes=(*order, *(home for home in homes if home.is_pinned)),
            read_bytes={target: num_bytes for target, num_bytes in read_bytes.items() if num_bytes},
            limit_bytes=None if limits.residency.is_exclusive else self._ledger.limit_bytes(self._config, readings),
            limits=limits,
        )

    def resident_of(self, model: str) -> Resident:
        """Return what is loaded of a model now, as the choice of an engine needs it."""
        return self._fleet.resident_of(model, is_waited_for=bool(self._leasing.queue))

    def expires_at(self, worker: ManagedWorker) -> float | None:
        """Return when a worker's model is unloaded if no request comes, monotonic; None = it stays, or is used."""
        is_waited_for = any(ticket.choice.target == worker.target for ticket in self._leasing.queue)
        if is_waited_for or worker.state is not WorkerState.READY:
            return None
        home = [placed for placed in self._fleet.placed if placed.target == worker.target]
        return expires_at(home, self._placing.limits(self._clock()))
