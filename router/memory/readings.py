"""What is read of memory for the watch: the machine's and mlxr's own. Blocking, so in threads only."""

import os
from collections.abc import Sequence

from backends.machine.base import Platform
from router.memory.levels import MemoryReading


def read_memory(system: Platform, worker_pids: Sequence[int], budget_bytes: int | None) -> MemoryReading:
    """Look at the machine, and at mlxr's processes where there is a budget for them.

    Args:
        worker_pids: Of all workers, standby ones too.
    """
    if system.has_own_level:
        used_share = None
    else:
        memory = system.memory()
        used_share = 1 - memory.available_bytes / memory.total_bytes
    return MemoryReading(
        used_share=used_share,
        stall_share=system.stall_share(),
        system=system.pressure(),
        own_bytes=None if budget_bytes is None else own_bytes(system, worker_pids),
        budget_bytes=budget_bytes,
    )


def own_bytes(system: Platform, worker_pids: Sequence[int]) -> int:
    """Return what this process and its workers have together.

    Mapped files count once: all workers that have a model have the same one.
    """
    found = [each for pid in (os.getpid(), *worker_pids) if (each := system.footprint_of(pid)) is not None]
    mapped_bytes = max((each.rss_bytes - each.anonymous_bytes for each in found), default=0)
    return mapped_bytes + sum(each.anonymous_bytes for each in found)
