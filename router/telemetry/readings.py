"""What the machine and our processes say, read when somebody asks for the metrics.

At the scrape and not each second: all of it is a sum since the start (processor time) or what is true now (memory), so
that a reading in between would tell the scraper nothing, and would wake a laptop that nobody watches. To be called on a
thread.
"""

import os
from collections.abc import Iterable

import msgspec
import psutil

from backends.machine.base import GPUUse, MachineMemory
from backends.machine.current import current_platform


class Readings(msgspec.Struct, frozen=True, kw_only=True):
    """One look. Bytes and seconds; None = the system does not tell.

    Attributes:
        workers_cpu_s: Of the workers that run, and of all child processes that have ended.
        stall_share: As `Platform.stall_share`.
    """

    gateway_bytes: int | None
    workers_bytes: int
    gateway_cpu_s: float
    workers_cpu_s: float
    busy_s: float
    idle_s: float
    memory: MachineMemory
    stall_share: float | None
    gpu: GPUUse | None


def read_machine(worker_pids: Iterable[int]) -> Readings:
    """Look at everything."""
    system = current_platform()
    times, pids = os.times(), list(worker_pids)
    own = system.footprint_of(os.getpid())
    sizes = [footprint.rss_bytes for footprint in map(system.footprint_of, pids) if footprint is not None]
    machine = psutil.cpu_times()
    idle_s = float(machine.idle + getattr(machine, "iowait", 0.0))
    twice_s = getattr(machine, "guest", 0.0) + getattr(machine, "guest_nice", 0.0)  # they are in user and nice as well
    return Readings(
        gateway_bytes=None if own is None else own.rss_bytes,
        workers_bytes=sum(sizes),
        gateway_cpu_s=times.user + times.system,
        workers_cpu_s=times.children_user + times.children_system + sum(map(_cpu_s, pids)),
        busy_s=float(sum(machine) - idle_s - twice_s),
        idle_s=idle_s,
        memory=system.memory(),
        stall_share=system.stall_share(),
        gpu=system.gpu_use(),
    )


def _cpu_s(pid: int) -> float:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return 0.0
    return float(times.user + times.system)
