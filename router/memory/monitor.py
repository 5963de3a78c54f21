"""The watch over memory: reads on a thread every few seconds, and writes what follows into the conditions.

Not here: what a reading means (`levels`), and what is done about it (`router.workers`).
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

from backends.machine.base import Platform
from router.conditions import Conditions
from router.config import CurrentConfig
from router.config.memory import MemoryConfig
from router.config.tiers import Tier
from router.memory.levels import MemoryReading, PressureState, next_state
from router.memory.readings import read_memory
from router.status.memory import MemorySetting

logger = logging.getLogger(__name__)


class MemoryMonitor:
    """One task of the gateway.

    Args:
        worker_pids: Of the workers there are, those together that have the same model.
        read: Replaces the readings; for tests.
        clock: Monotonic seconds.

    Attributes:
        reading: The last one; None before the first.
        state: What follows from all of them.
    """

    def __init__(
        self,
        current: CurrentConfig,
        conditions: Conditions,
        system: Platform,
        worker_pids: Callable[[], Sequence[Sequence[int]]],
        *,
        read: Callable[[Sequence[Sequence[int]], int | None], MemoryReading] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._current = current
        self._conditions = conditions
        self._worker_pids = worker_pids
        self._read = read or partial(read_memory, system)
        self._clock = clock
        self.reading: MemoryReading | None = None
        self.state = PressureState()

    async def run(self) -> None:
        """Look until cancelled; a look that fails is told, and is no reason to stop looking."""
        while True:
            try:
                await self.look()
            except OSError as exc:
                logger.warning("memory could not be read: %s", exc)
            await asyncio.sleep(self._config.interval_s)

    async def look(self) -> None:
        """Read once, and take over what follows."""
        budget_bytes = self._config.budget_bytes
        self.reading = await asyncio.to_thread(self._read, list(self._worker_pids()), budget_bytes)
        before, self.state = self.state, next_state(self.state, self.reading, self._config, self._clock())
        if self.state.level is not before.level:
            logger.info("memory pressure: %s after %s: %s", self.state.level, before.level, self.state.reason)
            self._conditions.set_pressure(self.state.level, self.state.reason)

    @property
    def tier(self) -> Tier:
        """Whose defaults hold."""
        return self._current.tier

    @property
    def settings(self) -> list[MemorySetting]:
        """What hangs on the machine's memory, and who has the say about it."""
        return self._current.settings

    @property
    def _config(self) -> MemoryConfig:
        return self._current.config.memory
