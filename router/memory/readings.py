"""What is read of memory for the watch: the machine's and mlxr's own. Blocking, so in threads only."""

import os
from collections.abc import Iterable, Sequence

from backends.machine.base import Footprint, Platform
from router.memory.levels import MemoryReading


def read_memory(system: Platform, worker_pids: Sequence[Sequence[int]], budget_bytes: int | None) -> MemoryReading:
    """Look at the machine, and at mlxr's processes where there is a budget for them.

    Args:
        worker_pids: Of all workers, those together that have the same model; standby ones too.
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


def own_bytes(system: Platform, worker_pids: Sequence[Sequence[int]]) -> int:
    """Return what this process and its workers have together; files that several have mapped count once."""
    own = _found(system, [os.getpid()])
    models = [_found(system, pids) for pids in worker_pids]
    mapped_bytes = max(_mapped_bytes(own), sum(map(_mapped_bytes, models)))
    return mapped_bytes + sum(each.anonymous_bytes for found in (own, *models) for each in found)


def _found(system: Platform, pids: Iterable[int]) -> list[Footprint]:
    return [each for pid in pids if (each := system.footprint_of(pid)) is not None]


def _mapped_bytes(found: Iterable[Footprint]) -> int:
    return max((each.rss_bytes - each.anonymous_bytes for each in found), default=0)
