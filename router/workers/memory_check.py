"""Refuses a load that cannot fit, before anything is unloaded for it: readings around the pure `fit`."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from registry.catalogue import Artifact
from router.config import Config
from router.models.adapters import facts_with
from router.models.load_spec import load_spec
from router.models.targets import Target
from router.placement import memory
from router.placement.fit import refusal
from router.placement.memory import MemoryBudget, read_budget, this_machine
from router.workers.residency import ManagedWorker

VALID_S: Final = 1.0
"""A burst of requests for the same model is measured once."""


class MemoryCheck:
    """Knows what was measured last; owned by the event loop.

    Args:
        artifact_of: Target to its artifact, None when the registry has lost it.
        read: Reads what the machine has; None = really.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        artifact_of: Callable[[Target], Artifact | None],
        *,
        read: Callable[[], MemoryBudget] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._artifact_of = artifact_of
        self._machine = this_machine()
        self._read = read or partial(read_budget, self._machine)
        self._clock = clock
        self._fitting: dict[Target, float] = {}

    def check(self, target: Target, config: Config, workers: Sequence[ManagedWorker]) -> None:
        """Let a load pass, or refuse it.

        Args:
            workers: Those that have a model, all of which would be unloaded first.

        Raises:
            InsufficientMemoryError: It would not fit even then; with the numbers.
        """
        now = self._clock()
        if not config.limits.check_memory or now - self._fitting.get(target, -VALID_S) < VALID_S:
            return
        artifact = self._artifact_of(target)
        if artifact is None or artifact.facts.memory is None:
            return  # nothing is known of its layers: a guess is no reason to refuse it
        footprints = [memory.footprint_of(worker.pid) for worker in workers if worker.pid is not None]
        error = refusal(
            target.label,
            facts_with(artifact.facts, target.adapter),
            load_spec(artifact.path, artifact.engine, config, target.load),
            self._machine,
            available_bytes=self._read().available_for(artifact.engine),
            reclaimable_bytes=sum(footprint.anonymous_bytes for footprint in footprints if footprint is not None),
            unloading=sorted({worker.target.label for worker in workers if worker.target is not None}),
        )
        if error is not None:
            raise error
        self._fitting = {known: at for known, at in self._fitting.items() if now - at < VALID_S} | {target: now}
