"""Asks placement what to do, and does it. Part of the supervisor's task.

Not the decisions (`placement`), not what happens to a worker meanwhile (`supervisor`).
"""

from collections.abc import Callable, Iterator
from typing import assert_never

from msgspec.structs import replace

from router.config import CurrentConfig
from router.models.targets import keep_alive_seconds
from router.placement.decision import (
    DrainWorker,
    Effect,
    KeepWorker,
    RefuseTarget,
    StartWorker,
    StopWorker,
    decide,
    next_deadline,
    next_target,
)
from router.placement.dispatching import Dispatch
from router.placement.fit import no_room
from router.placement.lifecycle import WorkerState
from router.placement.situation import PlacementLimits
from router.workers.faults import WorkerFaults
from router.workers.fleet import Fleet
from router.workers.leasing import Leasing
from router.workers.ledger import Ledger
from router.workers.pressure import Relief


class Placing:
    """What the supervisor does after every message.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        current: CurrentConfig,
        fleet: Fleet,
        leasing: Leasing,
        faults: WorkerFaults,
        relief: Relief,
        ledger: Ledger,
        *,
        clock: Callable[[], float],
    ) -> None:
        self._current = current
        self._fleet = fleet
        self._leasing = leasing
        self._faults = faults
        self._relief = relief
        self._ledger = ledger
        self._clock = clock

    def limits(self, now: float) -> PlacementLimits:
        """Return what placement has to keep to."""
        config = self._current.config
        limits = config.limits
        first = next((worker.target for worker in self._fleet if worker.target is not None), None)
        of_config = PlacementLimits(
            limits.swap_max_wait_s,
            limits.swap_drain_timeout_s,
            limits.background_max_wait_s,
            config.generation.workers if first is None else self._faults.num_workers(first, config, now),
            keep_alive_seconds(limits.keep_alive_s),
        )
        return self._relief.limits_under(of_config if self._is_exclusive else self._shared(of_config, now))

    def place(self, now: float) -> None:
        """Ask what to do, and do it."""
        config = self._current.config
        if not self._is_exclusive:
            self._ledger.ensure_reading(self._leasing.queue.targets)
        waiting, workers = self._leasing.queue.requests, self._relief.workers_under(self._fleet.placed, config)
        limits = self.limits(now)
        for effect in decide(waiting, workers, limits, now, self._leasing.affinity):
            self._perform(effect)
        following = next_target(waiting, workers, limits, now)
        if following is not None:
            self._fleet.prepare(following, config)

    def deadlines(self, now: float) -> Iterator[float]:
        """Yield when there may be something else to do although nothing happens, monotonic."""
        if not self._is_exclusive:
            yield from self._ledger.deadlines(self._leasing.queue.targets)
        placement = next_deadline(self._leasing.queue.requests, self._fleet.placed, self.limits(now), now)
        if placement is not None:
            yield placement

    @property
    def _is_exclusive(self) -> bool:
        return self._current.config.residency == "exclusive"

    def _shared(self, limits: PlacementLimits, now: float) -> PlacementLimits:
        """Return the limits with what several models need."""
        config = self._current.config
        targets = {worker.target for worker in self._fleet if worker.target is not None}
        return replace(
            limits,
            residency=self._ledger.residency(config, self._leasing.queue.targets),
            num_workers_of={target: self._faults.num_workers(target, config, now) for target in targets},
        )

    def ensure_standby(self) -> None:
        """Look after standby workers, unless work is to be done first."""
        if not self._leasing.queue and not self._relief.is_holding:
            self._fleet.ensure_standby(self._current.config, is_memory_short=self._relief.is_short)

    def _perform(self, effect: Effect) -> None:
        config = self._current.config
        match effect:
            case Dispatch(ticket_id=ticket_id, worker_id=worker_id):
                self._leasing.grant(ticket_id, self._fleet[worker_id])
            case StartWorker(target=target):
                asked = self._leasing.queue.asking_for(target)
                self._ledger.on_start(self._fleet.start(target, config, asked=asked))
            case DrainWorker(worker_id=worker_id):
                self._fleet.set_state(self._fleet[worker_id], WorkerState.DRAINING)
            case KeepWorker(worker_id=worker_id):
                self._fleet.set_state(self._fleet[worker_id], WorkerState.READY)
            case StopWorker(worker_id=worker_id, reason=reason):
                worker = self._fleet[worker_id]
                self._fleet.stop(worker, worker.unwanted_reason or reason, config)
            case RefuseTarget(refusal=refusal):
                self._leasing.queue.fail_target(refusal.target, no_room(refusal))
            case _:
                assert_never(effect)
