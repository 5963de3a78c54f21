"""One look at the memory of the machine and of all our processes, as the `ledger` keeps it. Blocking."""

import os
from collections.abc import Callable, Sequence

import msgspec

from backends.machine.base import Footprint, Platform
from router.placement.memory import MemoryBudget


class MemoryReadings(msgspec.Struct, frozen=True, kw_only=True):
    """One look at everything.

    Attributes:
        taken_at: When it began, monotonic seconds.
        footprints: Of the workers that were there, by their ids.
        standby_bytes: What those without a model have.
        own_bytes: What this process has.
        has_own_level: As `Platform` has it.
    """

    taken_at: float
    budget: MemoryBudget
    footprints: dict[int, Footprint]
    standby_bytes: int
    own_bytes: int
    has_own_level: bool


def read_everything(
    system: Platform,
    read: Callable[[], MemoryBudget],
    pids: dict[int, int | None],
    standby: Sequence[int | None],
    taken_at: float,
) -> MemoryReadings:
    """Look at the machine, at the workers and at this process; blocking.

    Args:
        pids: Of the workers that have a model, by their ids.
        standby: Those of the others.
    """
    found = {number: system.footprint_of(pid) for number, pid in pids.items() if pid is not None}
    others = [system.footprint_of(pid) for pid in standby if pid is not None]
    own = system.footprint_of(os.getpid())
    return MemoryReadings(
        taken_at=taken_at,
        budget=read(),
        footprints={number: each for number, each in found.items() if each is not None},
        standby_bytes=sum(each.rss_bytes for each in others if each is not None),
        own_bytes=0 if own is None else own.rss_bytes,
        has_own_level=system.has_own_level,
    )
