"""The watch over the machine's heat: reads on a thread now and then, and writes what follows into the conditions.

`next_heat` is pure. Not here: the readings (`backends.machine`), and who acts on them (`conditions`).
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

import msgspec

from backends.machine.base import ThermalReading, ThermalState
from router.conditions import Conditions
from router.config import CurrentConfig
from router.status.memory import HeatStatus

logger = logging.getLogger(__name__)

_ORDER: Final = tuple(ThermalState)
UNKNOWN: Final = "the system does not tell"


class Heat(msgspec.Struct, frozen=True):
    """What holds, and since when nothing has asked for it.

    Attributes:
        asked_at: When a reading was last as hot as this, monotonic.
    """

    state: ThermalState = ThermalState.NOMINAL
    reason: str = UNKNOWN
    asked_at: float = 0.0


def next_heat(heat: Heat, reading: ThermalReading, calm_s: float, now: float) -> Heat:
    """Return what holds after one more reading: it rises at once, and falls when it was cooler for `calm_s`."""
    is_as_hot = _ORDER.index(reading.state) >= _ORDER.index(heat.state)
    if is_as_hot or now - heat.asked_at >= calm_s:
        return Heat(reading.state, reading.reason, now)
    return heat


class HeatMonitor:
    """One task of the gateway.

    Args:
        read: The system's reading; None = it does not tell.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        current: CurrentConfig,
        conditions: Conditions,
        read: Callable[[], ThermalReading | None],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._current = current
        self._conditions = conditions
        self._read = read
        self._clock = clock
        self._heat = Heat()
        self._is_told = False

    async def run(self) -> None:
        """Look until cancelled; a look that fails is told, and is no reason to stop looking."""
        while True:
            try:
                await self.look()
            except OSError as exc:
                logger.warning("the machine's heat could not be read: %s", exc)
            await asyncio.sleep(self._current.config.heat.interval_s)

    async def look(self) -> None:
        """Read once, and take over what follows."""
        reading = await asyncio.to_thread(self._read)
        self._is_told = reading is not None
        if reading is None:
            return
        before, self._heat = self._heat, next_heat(self._heat, reading, self._current.config.heat.calm_s, self._clock())
        if self._heat.state is not before.state:
            logger.info("heat: %s after %s: %s", self._heat.state, before.state, self._heat.reason)
            self._conditions.set_heat(self._heat.state, self._heat.reason)

    @property
    def suspended(self) -> str | None:
        """Why the server is suspended; None = it is not."""
        return self._conditions.suspended

    @property
    def status(self) -> HeatStatus:
        """What is told of it."""
        return HeatStatus(state=self._heat.state.value if self._is_told else None, reason=self._heat.reason)
