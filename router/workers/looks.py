"""What everybody may see of the supervisor: its workers, its queue, and what it has done. Nothing is decided on it."""

from collections.abc import Callable

from router.config import Config, CurrentConfig
from router.models.auto.learning import Resident
from router.models.targets import Target, keep_alive_seconds
from router.placement.keep_alive import expires_at
from router.placement.situation import PlacementLimits, WaitingRequest
from router.status import MemoryRelief, Swap
from router.workers.faults import WorkerFaults
from router.workers.fleet import Fleet
from router.workers.leasing import Leasing
from router.workers.pressure import Relief
from router.workers.residency import ManagedWorker


class Looks:
    """The part of the supervisor that shows what the other one owns."""

    _current: CurrentConfig
    _fleet: Fleet
    _leasing: Leasing
    _relief: Relief
    _faults: WorkerFaults
    _clock: Callable[[], float]

    @property
    def _config(self) -> Config:
        return self._current.config

    def _limits(self, now: float) -> PlacementLimits:
        limits = self._config.limits
        return self._relief.limits_under(
            PlacementLimits(
                limits.swap_max_wait_s,
                limits.swap_drain_timeout_s,
                limits.background_max_wait_s,
                self._faults.num_workers(self._config, now),
                keep_alive_seconds(limits.keep_alive_s),
            )
        )

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
        return tuple(self._leasing.queue.requests)

    def resident_of(self, model: str) -> Resident:
        """Return what is loaded of a model now, as the choice of an engine needs it."""
        return self._fleet.resident_of(model, is_waited_for=bool(self._leasing.queue))

    @property
    def expires_at(self) -> float | None:
        """When the loaded model is unloaded if no request comes, monotonic; None = it stays, or is used."""
        return None if self._leasing.queue else expires_at(self._fleet.placed, self._limits(self._clock()))
