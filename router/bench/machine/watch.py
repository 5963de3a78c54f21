"""What the machine did beside the benchmark: readings before and after a stretch of work, and their difference.

Not here: what follows from it (`conditions`).
"""

import os
import time
from collections.abc import Iterable

import msgspec
import psutil

from backends.machine.base import ThermalReading, ThermalState
from backends.machine.current import current_platform


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """One stretch of measured work.

    Attributes:
        others_cores: Cores that processes kept busy which have nothing to do with it; None = cannot be told.
        swapped_bytes: Written to or read from swap by anybody.
        num_throttled: Times that the processor lowered its speed for heat; None = the system does not tell.
        heat: The hottest that the machine was at its beginning and end; None = the system does not tell.
        num_other_requests: Requests of others that the server had meanwhile.
    """

    contestant: int
    duration_s: float
    others_cores: float | None = None
    swapped_bytes: int = 0
    num_throttled: int | None = None
    heat: ThermalState | None = None
    num_other_requests: int = 0


class StretchWatch:
    """One stretch, from its construction to `end`.

    Args:
        pids: Processes that belong to the work, beside this one; they live all through it. None = some are not known.
    """

    def __init__(self, contestant: int, pids: Iterable[int] | None) -> None:
        self._contestant = contestant
        self._pids = None if pids is None else (*pids, os.getpid())
        self._system = current_platform()
        self._started_at = time.monotonic()
        self._busy_s = _busy_s()
        self._ours_s = self._cpu_of_ours()
        self._swapped_bytes = self._system.swapped_bytes()
        self._num_throttled = self._system.num_throttled()
        self._heat = self._system.thermal()

    def end(self, num_other_requests: int = 0) -> Stretch:
        """Return what happened."""
        duration_s = max(time.monotonic() - self._started_at, 1e-6)
        ours_s, throttled = self._cpu_of_ours(), self._system.num_throttled()
        others = None
        if ours_s is not None and self._ours_s is not None:
            others = max(0.0, _busy_s() - self._busy_s - (ours_s - self._ours_s)) / duration_s
        was = self._num_throttled
        return Stretch(
            contestant=self._contestant,
            duration_s=duration_s,
            others_cores=others,
            swapped_bytes=max(0, self._system.swapped_bytes() - self._swapped_bytes),
            num_throttled=None if throttled is None or was is None else throttled - was,
            heat=_hotter(self._heat, self._system.thermal()),
            num_other_requests=num_other_requests,
        )

    def _cpu_of_ours(self) -> float | None:
        """Return the processor seconds of the work's processes; None when one of them is not known or gone."""
        if self._pids is None:
            return None
        try:
            return sum(_cpu_s(psutil.Process(pid)) for pid in self._pids)
        except psutil.Error:
            return None


def pids_listening_on(port: int) -> tuple[int, ...] | None:
    """Return the processes of this user that listen on a port of this machine; None = that cannot be told."""
    try:
        connections = psutil.net_connections("tcp")
    except (psutil.Error, OSError):
        return None
    found = {each.pid for each in connections if each.laddr and each.laddr.port == port and each.status == "LISTEN"}
    pids = tuple(pid for pid in found if pid is not None)
    return pids or None


def _hotter(*readings: ThermalReading | None) -> ThermalState | None:
    return max((each.state for each in readings if each is not None), key=tuple(ThermalState).index, default=None)


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _busy_s() -> float:
    times = psutil.cpu_times()
    idle = times.idle + getattr(times, "iowait", 0.0) + getattr(times, "steal", 0.0)
    twice = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)  # they are in user and nice as well
    return float(sum(times) - idle - twice)
