"""The conditions that the server works under: short of memory, hot. One object, which says what follows for whom.

Who reads the machine writes here (one writer for each), who acts on it asks or is told. Not here: the readings
(`backends.machine`), what is unloaded when.
"""

import asyncio
import enum

import msgspec

from backends.machine.base import ThermalState
from router.observers import Observers


class PressureLevel(enum.StrEnum):
    """How short of memory the machine is, or mlxr is of what it may have; in the order of what is done about it."""

    NORMAL = "normal"
    WARNING = "warning"
    CRITICAL = "critical"
    EMERGENCY = "emergency"


_PAUSES_BY_PRESSURE = frozenset({PressureLevel.CRITICAL, PressureLevel.EMERGENCY})
_PAUSES_BY_HEAT = frozenset({ThermalState.SERIOUS, ThermalState.CRITICAL})


class ConditionsChange(msgspec.Struct, frozen=True, kw_only=True):
    """What has changed to what.

    Attributes:
        reason: The reading behind the last change, in words.
    """

    pressure: PressureLevel
    heat: ThermalState
    is_suspended: bool
    reason: str


class Conditions:
    """Knows them; owned by the event loop.

    Attributes:
        pressure_reason: The reading behind the pressure, in words; `heat_reason` is that behind the heat.
        suspended: Why the machine is given up for a while; None = it is not.
        is_holding: It is about to sleep: all requests wait, and nothing is loaded, until it is taken up again.
        changed: Told of every change, after it.
    """

    def __init__(self) -> None:
        self.pressure = PressureLevel.NORMAL
        self.pressure_reason = ""
        self.heat = ThermalState.NOMINAL
        self.heat_reason = ""
        self._is_calm = asyncio.Event()
        self._is_calm.set()
        self.suspended: str | None = None
        self.is_holding = False
        self.changed: Observers[ConditionsChange] = Observers()

    def set_pressure(self, level: PressureLevel, reason: str) -> None:
        """Take over what the memory's readings say."""
        if level is not self.pressure:
            self.pressure, self.pressure_reason = level, reason
            self._tell(reason)

    def set_heat(self, state: ThermalState, reason: str) -> None:
        """Take over what the system says of its heat."""
        if state is not self.heat:
            self.heat, self.heat_reason = state, reason
            self._tell(reason)

    def set_suspended(self, reason: str | None, *, is_holding: bool = False) -> None:
        """Give the machine up for a while, or take up again (None)."""
        if (reason, is_holding) != (self.suspended, self.is_holding):
            self.suspended, self.is_holding = reason, is_holding
            self._tell(reason or "resumed")

    @property
    def is_background_paused(self) -> bool:
        """Whether what nobody waits for has to stand still: background work, shadowing, hashing."""
        return self.suspended is not None or self.strain is not None

    @property
    def strain(self) -> str | None:
        """Why nothing heavy should be begun on this machine that can wait, in words; None = it may."""
        if self.pressure in _PAUSES_BY_PRESSURE:
            return f"memory pressure ({self.pressure}): {self.pressure_reason}"
        if self.heat in _PAUSES_BY_HEAT:
            return f"heat ({self.heat}): {self.heat_reason}"
        return None

    async def without_strain(self) -> None:
        """Wait until there is none."""
        await self._is_calm.wait()

    def _tell(self, reason: str) -> None:
        if self.strain is None:
            self._is_calm.set()
        else:
            self._is_calm.clear()
        self.changed.tell(
            ConditionsChange(
                pressure=self.pressure, heat=self.heat, is_suspended=self.suspended is not None, reason=reason
            )
        )
