"""How hot Linux says the machine is: by its thermal zones with their trip points, and by what processors lost to heat.

`state_of_zone` and `state_of_throttling` are pure.

Source: Linux, Documentation/driver-api/thermal/sysfs-api.rst: `temp` in millidegrees Celsius, `trip_point_N_temp` and
`trip_point_N_type`: "critical" shuts the system down, "hot" is told to drivers, from "passive" on processors are slowed
down, from "active" on fans run; Documentation/ABI/stable/sysfs-devices-system-cpu, thermal_throttle.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from backends.machine.base import ThermalReading, ThermalState

ZONES_DIR: Final = Path("/sys/class/thermal")
NEAR_C: Final = 5.0
"""Degrees below a trip point that count as near it."""
SLOWED_SHARE: Final = 0.1
"""Share of the time that a core was slowed down from which the machine counts as slow for heat."""
_PLAUSIBLE_C: Final = (-40.0, 200.0)
_ORDER: Final = tuple(ThermalState)


class ThermalZone(msgspec.Struct, frozen=True):
    """One sensor.

    Attributes:
        trips_c: Kind of a trip point to the lowest temperature of that kind.
    """

    name: str
    celsius: float
    trips_c: Mapping[str, float] = {}


def state_of_zone(zone: ThermalZone) -> ThermalState:
    """Judge a temperature by its zone's own trip points; without any, it says nothing.

    The decision, in order:
        1. it is hot, or near the point where the machine is shut down: critical;
        2. processors are slowed down; where no point says so, three times as near: serious;
        3. fans run, or it is near the point before; where no point says so, five times as near: fair.
    """
    trips, celsius = zone.trips_c, zone.celsius
    last = trips.get("critical", float("inf"))
    passive = trips.get("passive", trips.get("hot", last - 3 * NEAR_C))
    if celsius >= min(trips.get("hot", last), last - NEAR_C):
        return ThermalState.CRITICAL
    if celsius >= passive:
        return ThermalState.SERIOUS
    warm = passive - (NEAR_C if "passive" in trips or "hot" in trips else 2 * NEAR_C)
    return ThermalState.FAIR if celsius >= min(trips.get("active", warm), warm) else ThermalState.NOMINAL


def state_of_throttling(num_more: int, slowed_share: float | None) -> ThermalState:
    """Judge what the processors lost since the last look.

    Args:
        num_more: Times that one was slowed down.
        slowed_share: Share of the time that the worst one was; None = not told.
    """
    if slowed_share is not None and slowed_share >= SLOWED_SHARE:
        return ThermalState.SERIOUS
    return ThermalState.FAIR if num_more > 0 else ThermalState.NOMINAL


class ThermalFiles:
    """Reads the files; remembers the counters of the last look.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(
        self, cpu_dir: Path, zones_dir: Path = ZONES_DIR, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._zones_dir = zones_dir
        self._cpu_dir = cpu_dir
        self._clock = clock
        self._before: tuple[float, dict[str, int], dict[str, int]] | None = None

    def read(self) -> ThermalReading | None:
        """Return the hottest of all that is told; None = nothing is."""
        found = [
            ThermalReading(state_of_zone(zone), f"{zone.name} is at {zone.celsius:.0f} °C")
            for zone in self.zones()
            if zone.trips_c
        ]
        throttling = self._throttling()
        if throttling is not None:
            found.append(throttling)
        return max(found, key=lambda each: _ORDER.index(each.state), default=None)

    def zones(self) -> Iterator[ThermalZone]:
        """Yield those that can be read and are not switched off."""
        for folder in sorted(self._zones_dir.glob("thermal_zone*")):
            temp, mode = _number_in(folder / "temp"), _text_in(folder / "mode")
            if temp is None or mode == "disabled" or not _is_plausible(temp / 1000):
                continue
            yield ThermalZone(_text_in(folder / "type") or folder.name, temp / 1000, _trips_of(folder))

    def _throttling(self) -> ThermalReading | None:
        counts = self._counters("core_throttle_count")
        if not counts:
            return None
        now, times = self._clock(), self._counters("core_throttle_total_time_ms")
        before, self._before = self._before, (now, counts, times)
        if before is None:
            return ThermalReading(ThermalState.NOMINAL, "no core has been slowed down since the start")
        passed_s = now - before[0]
        num_more = sum(_growth(counts, before[1]).values())
        slowed_ms = max(_growth(times, before[2]).values(), default=None)
        share = None if slowed_ms is None or passed_s <= 0 else min(1.0, slowed_ms / 1000 / passed_s)
        words = f"cores were slowed down for heat {num_more} times in {passed_s:.0f} s"
        if share is not None:
            words += f", the worst for {share:.0%} of it"
        return ThermalReading(state_of_throttling(num_more, share), words)

    def _counters(self, name: str) -> dict[str, int]:
        files = self._cpu_dir.glob(f"cpu[0-9]*/thermal_throttle/{name}")
        found = {str(file.parent): _number_in(file) for file in files}
        return {core: number for core, number in found.items() if number is not None}


def _trips_of(folder: Path) -> dict[str, float]:
    trips: dict[str, float] = {}
    for file in folder.glob("trip_point_*_temp"):
        kind, temp = _text_in(file.with_name(file.name.removesuffix("temp") + "type")), _number_in(file)
        # Unset points are 0, or absolute zero.
        if kind is not None and temp is not None and temp > 0 and _is_plausible(temp / 1000):
            trips[kind] = min(trips.get(kind, float("inf")), temp / 1000)
    return trips


def _growth(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {core: max(0, number - before.get(core, number)) for core, number in now.items()}


def _is_plausible(celsius: float) -> bool:
    return _PLAUSIBLE_C[0] <= celsius <= _PLAUSIBLE_C[1]


def _number_in(file: Path) -> int | None:
    """Read a number; None where a sensor does not answer, which is an error of the file."""
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def _text_in(file: Path) -> str | None:
    try:
        return file.read_text().strip()
    except OSError:
        return None
