"""From readings of memory to a level of pressure: pure, with `now` and the level before as arguments.

A level rises with the first reading that asks for it. It falls to the highest of what was read since, when nothing has
asked for it for `calm_s`, so that readings that go up and down change nothing. The decision, in order:
    1. The system's own word: critical is an emergency, a warning is critical, wherever it is given. A share of the last
       10 s in which everything waited for memory counts as such a word.
    2. The share of the machine's memory in use, where that says anything (not on macOS), and mlxr's own share of its
       budget, whichever is larger: warning, critical.
    3. What was critical for `emergency_after_s` is an emergency.
"""

from typing import Final

import msgspec
from msgspec.structs import replace

from backends.machine.base import Pressure
from router.conditions import PressureLevel
from router.config.memory import MemoryConfig

STALLED_SHARE: Final = 0.10
"""Share of time in which everything waits for memory that counts as the system's warning."""
BADLY_STALLED_SHARE: Final = 0.40
"""The same as its critical level. systemd-oomd begins to kill at 0.60 of 30 s by default (oomd.conf(5))."""

_ORDER: Final = tuple(PressureLevel)


class MemoryReading(msgspec.Struct, frozen=True, kw_only=True):
    """What was read at one moment; None = not told, or not to be judged by.

    Attributes:
        used_share: Share of the machine's memory, or of the container's, in use, 0..1.
        stall_share: Share of the last 10 s in which everything waited for memory, 0..1.
        system: The system's own level.
        own_bytes: What mlxr's processes have, mapped weights included.
        budget_bytes: What they are to have.
    """

    used_share: float | None = None
    stall_share: float | None = None
    system: Pressure | None = None
    own_bytes: int | None = None
    budget_bytes: int | None = None

    @property
    def budget_share(self) -> float | None:
        """What the own processes have of the budget; may be above 1."""
        return None if self.own_bytes is None or not self.budget_bytes else self.own_bytes / self.budget_bytes


class Judged(msgspec.Struct, frozen=True):
    """What one reading asks for, and why, in words."""

    level: PressureLevel
    reason: str


class PressureState(msgspec.Struct, frozen=True, kw_only=True):
    """The level in force.

    Attributes:
        since: When it became this, monotonic seconds.
        reason: The reading behind it.
        asked_at: When a reading last asked for this level or a higher one.
        below: The highest that was asked for since then, and when that was first asked for.
        critical_since: Since when it is critical or more; None = it is not.
    """

    level: PressureLevel = PressureLevel.NORMAL
    since: float = 0.0
    reason: str = ""
    asked_at: float = 0.0
    below: Judged | None = None
    critical_since: float | None = None


def judged(reading: MemoryReading, config: MemoryConfig) -> Judged:
    """Return the level that one reading asks for by itself."""
    asked = [*_by_system(reading), *_by_shares(reading, config)]
    return max(asked, key=lambda each: _rank(each.level))


def next_state(state: PressureState, reading: MemoryReading, config: MemoryConfig, now: float) -> PressureState:
    """Return the state after one more reading."""
    asked = judged(reading, config)
    if is_at_least(asked.level, PressureLevel.CRITICAL) and state.critical_since is not None:
        lasted_s = now - state.critical_since
        if lasted_s >= config.emergency_after_s and asked.level is PressureLevel.CRITICAL:
            asked = Judged(PressureLevel.EMERGENCY, f"critical for {lasted_s:.0f} s; {asked.reason}")
    if _rank(asked.level) >= _rank(state.level):
        if asked.level is state.level:
            return replace(state, asked_at=now, below=None)
        return _entered(state, asked, now)
    below = asked if state.below is None or _rank(asked.level) >= _rank(state.below.level) else state.below
    if now - state.asked_at >= config.calm_s:
        return _entered(state, below, now)
    return replace(state, below=below)


def is_at_least(level: PressureLevel, least: PressureLevel) -> bool:
    """Tell whether a level is one, or a higher one."""
    return _rank(level) >= _rank(least)


def _entered(state: PressureState, asked: Judged, now: float) -> PressureState:
    is_critical = is_at_least(asked.level, PressureLevel.CRITICAL)
    was_critical_since = now if state.critical_since is None else state.critical_since
    return PressureState(
        level=asked.level,
        since=now,
        reason=asked.reason,
        asked_at=now,
        critical_since=was_critical_since if is_critical else None,
    )


def _by_system(reading: MemoryReading) -> list[Judged]:
    found = []
    match reading.system:
        case Pressure.CRITICAL:
            found.append(Judged(PressureLevel.EMERGENCY, "the system says that memory is critically short"))
        case Pressure.WARNING:
            found.append(Judged(PressureLevel.CRITICAL, "the system warns that memory is short"))
    if reading.stall_share is not None and reading.stall_share >= STALLED_SHARE:
        is_bad = reading.stall_share >= BADLY_STALLED_SHARE
        level = PressureLevel.EMERGENCY if is_bad else PressureLevel.CRITICAL
        found.append(Judged(level, f"everything waited for memory in {reading.stall_share:.0%} of the last 10 s"))
    return found


def _by_shares(reading: MemoryReading, config: MemoryConfig) -> list[Judged]:
    shares = (
        (reading.used_share, "of the memory is in use"),
        (reading.budget_share, "of memory.budget_bytes is in use by mlxr"),
    )
    found = []
    for share, words in shares:
        if share is not None:
            found.append(Judged(_level_of(share, config), f"{share:.0%} {words}"))
    return found or [Judged(PressureLevel.NORMAL, "the system says that there is enough")]


def _level_of(share: float, config: MemoryConfig) -> PressureLevel:
    if share > config.critical_share:
        return PressureLevel.CRITICAL
    return PressureLevel.WARNING if share >= config.warning_share else PressureLevel.NORMAL


def _rank(level: PressureLevel) -> int:
    return _ORDER.index(level)
