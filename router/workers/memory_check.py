"""Refuses a load that cannot fit, before anything is unloaded for it: readings around the pure `fit`."""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

from backends.machine.current import current_platform
from registry.catalogue import Artifact
from router.config import Config
from router.models.adapters import facts_with
from router.models.load_spec import load_spec_of
from router.models.targets import Target
from router.placement.fit import refusal
from router.placement.memory import MemoryBudget, read_budget, this_machine
from router.placement.vision_need import counted_side_px
from router.workers.residency import ManagedWorker

VALID_S: Final = 1.0
"""A burst of requests for the same model is measured once."""


class MemoryCheck:
    """Knows what was measured last; owned by the event loop, and reads in threads.

    Args:
        artifact_of: Target to its artifact, None when the registry has lost it.
        read: Reads what the machine has.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        artifact_of: Callable[[Target], Artifact | None],
        *,
        read: Callable[[], MemoryBudget] = read_budget,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._artifact_of = artifact_of
        self._machine = this_machine()
        self._read = read
        self._clock = clock
        self._fitting: dict[Target, float] = {}
        self._measuring = asyncio.Lock()

    async def check(self, target: Target, config: Config, workers: Sequence[ManagedWorker]) -> None:
        """Let a load pass, or refuse it.

        Args:
            workers: Those that have a model, all of which would be unloaded first.

        Raises:
            InsufficientMemoryError: It would not fit even then; with the numbers.
        """
        async with self._measuring:
            if not config.limits.check_memory or self._clock() - self._fitting.get(target, -VALID_S) < VALID_S:
                return
            artifact = self._artifact_of(target)
            if artifact is None or artifact.facts.memory is None:
                return  # nothing is known of its layers: a guess is no reason to refuse it
            budget, reclaimable = await asyncio.to_thread(self._measure, [worker.pid for worker in workers])
            error = refusal(
                target.label,
                facts_with(artifact.facts, target.adapter),
                load_spec_of(artifact, config, target.load),
                self._machine,
                available_bytes=min(budget.available_for(artifact.engine), _ceiling(config, reclaimable)),
                reclaimable_bytes=reclaimable,
                unloading=sorted({worker.target.label for worker in workers if worker.target is not None}),
                image_side_px=counted_side_px(config.images),
            )
            if error is not None:
                raise error
            now = self._clock()
            self._fitting = {known: at for known, at in self._fitting.items() if now - at < VALID_S} | {target: now}

    def _measure(self, pids: Sequence[int | None]) -> tuple[MemoryBudget, int]:
        """Return what the machine has, and what of it comes back with the end of some processes; blocking."""
        reclaimable = reclaimable_bytes(pids)
        return self._read(), reclaimable


def _ceiling(config: Config, reclaimable: int) -> int:
    """Return what `memory.budget_bytes` leaves beside what comes back; workers are nearly all that mlxr has."""
    budget_bytes = config.memory.budget_bytes
    return sys.maxsize if budget_bytes is None else budget_bytes - reclaimable


def reclaimable_bytes(pids: Sequence[int | None]) -> int:
    """Return what comes back with the end of some processes; blocking."""
    system = current_platform()
    footprints = [system.footprint_of(pid) for pid in pids if pid is not None]
    if None in footprints:  # one has just ended, and what is read of the machine may be from before that
        time.sleep(system.memory_age_s)
    return sum(each.anonymous_bytes for each in footprints if each is not None)
