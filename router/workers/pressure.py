"""What is done when memory gets short: workers give back what they keep, idle ones go, loads wait.

Part of the supervisor's task. Not how short it is (`router.memory`), and not the decisions about models: those are
`placement`'s, by the limits that are made here. Nothing is done while memory is not short, and nothing to an answer
that runs.
"""

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final

from msgspec.structs import replace

from backends.machine.base import ThermalState
from backends.wire.messages import Answered, Ask
from backends.wire.questions import GiveBackMemory, GivenBack
from backends.wire.request import Priority
from router.conditions import Conditions, PressureLevel
from router.config import Config
from router.errors import InsufficientMemoryError, RouterError
from router.observers import Observers
from router.placement.situation import PlacedWorker, PlacementLimits
from router.sleep.awake import awake_timeout
from router.status.memory import MemoryRelief
from router.workers.fleet import Fleet
from router.workers.residency import ManagedWorker
from router.workers.waiting import Ticket, WaitingQueue

logger = logging.getLogger(__name__)

GIVE_BACK_TIMEOUT_S: Final = 60.0
"""A worker answers between two steps; one that saves its caches before takes a few seconds."""
NUM_RELIEFS_KEPT: Final = 100
_SHORT: Final = frozenset({PressureLevel.CRITICAL, PressureLevel.EMERGENCY})
_DROPPED_SHARES: Final = {
    PressureLevel.WARNING: 0.5,
    PressureLevel.CRITICAL: 1.0,
    PressureLevel.EMERGENCY: 1.0,
}


class Relief:
    """Knows since when memory is how short, as the supervisor has heard it.

    Args:
        run: Runs something beside the supervisor's task.
        clock: Monotonic seconds.

    Attributes:
        given: What workers gave back lately, newest last.
        told: Told of everything that they gave back.
    """

    def __init__(
        self,
        conditions: Conditions,
        fleet: Fleet,
        queue: WaitingQueue,
        *,
        run: Callable[[Coroutine[Any, Any, None]], object],
        clock: Callable[[], float],
    ) -> None:
        self._conditions = conditions
        self._fleet = fleet
        self._queue = queue
        self._run = run
        self._clock = clock
        self._level = PressureLevel.NORMAL
        self._short_since: float | None = None
        self._emergency_since: float | None = None
        self.given: deque[MemoryRelief] = deque(maxlen=NUM_RELIEFS_KEPT)
        self.told: Observers[MemoryRelief] = Observers()

    @property
    def is_short(self) -> bool:
        """Whether nothing is to be kept that nobody uses."""
        return self._level in _SHORT

    @property
    def is_holding(self) -> bool:
        """Whether nothing is to be begun."""
        return self._conditions.is_holding

    def on_changed(self) -> None:
        """Take over what the conditions say, and have workers give back what that asks for."""
        before, self._level = self._level, self._conditions.pressure
        if before is self._level:
            return
        now = self._clock()
        self._short_since = (self._short_since or now) if self.is_short else None
        is_emergency = self._level is PressureLevel.EMERGENCY
        self._emergency_since = (self._emergency_since or now) if is_emergency else None
        share_before, share = _DROPPED_SHARES.get(before, 0.0), _DROPPED_SHARES.get(self._level, 0.0)
        for worker in self._fleet:
            if worker.state.is_resident:
                self._ask(worker, share if share > share_before else 0.0)

    def on_ready(self, worker: ManagedWorker) -> None:
        """Tell a worker that has just loaded how memory stands."""
        if self._level is not PressureLevel.NORMAL:
            self._ask(worker, 0.0)

    def on_release(self, worker: ManagedWorker, config: Config) -> None:
        """Have a worker give back what it keeps after each answer, where the config wants that."""
        if config.memory.aggressive_cleanup and worker.use.is_idle and worker.state.is_resident:
            self._ask(worker, 1.0)

    def limits_under(self, limits: PlacementLimits) -> PlacementLimits:
        """Return placement's limits with what the conditions ask for."""
        limits = replace(limits, holds_all=self.is_holding)
        if not self.is_short:
            return replace(limits, holds_background=self._conditions.is_background_paused)
        return replace(
            limits,
            unload_idle_from=self._short_since,
            is_emergency=self._emergency_since is not None,
            holds_background=True,
            shortage=f"memory pressure ({self._level}): {self._conditions.pressure_reason}",
        )

    def workers_under(self, workers: list[PlacedWorker], config: Config) -> list[PlacedWorker]:
        """Return the workers as placement is to see them: with one place each while the heat is critical."""
        if self._conditions.heat is not ThermalState.CRITICAL or not config.heat.one_at_a_time:
            return workers
        return [replace(worker, max_sequences=1) for worker in workers]

    # ---- requests that wait -----------------------------------------------------------------------------------------

    def refuse_held(self, config: Config, now: float) -> None:
        """Turn away those that an emergency has held up for as long as they may wait for its end."""
        for ticket in self._held():
            if now >= self._held_until(ticket, config):
                self._queue.fail(ticket, self._refusal(ticket, config))

    def deadlines(self, config: Config) -> Iterator[float]:
        """Yield when `refuse_held` has something to do, monotonic."""
        for ticket in self._held():
            yield self._held_until(ticket, config)

    def _held(self) -> list[Ticket]:
        """Return who waits in an emergency; background requests can wait for its end."""
        if self._emergency_since is None:
            return []
        return [ticket for ticket in self._queue if ticket.priority is Priority.INTERACTIVE]

    def _held_until(self, ticket: Ticket, config: Config) -> float:
        return max(ticket.arrived_at, self._emergency_since or -math.inf) + config.memory.load_wait_s

    def _refusal(self, ticket: Ticket, config: Config) -> RouterError:
        label, waited_s = ticket.choice.target.label, config.memory.load_wait_s
        reason = self._conditions.pressure_reason
        return InsufficientMemoryError(
            message=f"model: '{label}' is not loaded, because memory is short ({reason}), and it stayed so "
            f"for {waited_s:g} s; end other programs, or use a smaller model or context",
            retry_after_s=config.memory.calm_s,
        )

    # ---- workers ----------------------------------------------------------------------------------------------------

    def _ask(self, worker: ManagedWorker, share: float) -> None:
        wish = GiveBackMemory(share, is_short=self._level is not PressureLevel.NORMAL)
        self._run(self._give_back(worker, wish, self._level))

    async def _give_back(self, worker: ManagedWorker, wish: GiveBackMemory, level: PressureLevel) -> None:
        """Have a worker give back memory; one that is gone has given back everything."""
        assert worker.client is not None
        model = "" if worker.target is None else worker.target.label
        try:
            given = await _answer_to(worker, wish)
        except (RouterError, TimeoutError) as exc:
            logger.debug("the %s worker of '%s' gave no memory back: %s", worker.engine, model, exc)
            return
        if given is not None and wish.dropped_share:
            relief = MemoryRelief(
                at=time.time(),
                pressure=level.value,
                model=model,
                engine=str(worker.engine),
                pid=worker.client.pid,
                num_caches=given.num_caches,
                freed_bytes=given.freed_bytes,
            )
            logger.info("%s", relief.log_line())
            self.given.append(relief)
            self.told.tell(relief)


async def _answer_to(worker: ManagedWorker, wish: GiveBackMemory) -> GivenBack | None:
    """Return what a worker gave back; None where it could not."""
    assert worker.client is not None
    stream = worker.client.submit(Ask(0, wish))
    try:
        async with awake_timeout(GIVE_BACK_TIMEOUT_S):
            for event in await stream.read():
                if isinstance(event, Answered) and isinstance(event.answer, GivenBack):
                    return event.answer
            return None
    finally:
        worker.client.cancel(stream)
