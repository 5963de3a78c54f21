"""Refuses a load that cannot fit, before anything is unloaded for it: readings around the pure `fit`."""

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from backends.machine.current import current_platform
from backends.wire.load import LoadSpec
from registry.catalogue import Artifact
from registry.facts import ModelFacts
from router.config import Config
from router.models.adapters import facts_with
from router.models.draft import draft_spec
from router.models.load_spec import UNPLANNED_CONTEXT, load_spec_of
from router.models.targets import Target
from router.placement.context import fitting_context, is_planned
from router.placement.fit import refusal
from router.placement.memory import MemoryBudget, read_budget, this_machine
from router.placement.memory_need import draft_bytes, memory_need
from router.placement.sharing import LoadNeed
from router.placement.vision_need import counted_side_px
from router.workers.context_lengths import ContextLengths
from router.workers.residency import ManagedWorker

_MAX_NOTED: Final = 256
VALID_S: Final = 1.0
"""A burst of requests for the same model is measured once."""


class MemoryCheck:
    """Knows what was measured last; owned by the event loop, and reads in threads.

    Args:
        artifact_of: Target to its artifact, None when the registry has lost it.
        contexts: Plans contexts, and is told how much of one fits; None = all are as they are said.
        draft_of: Target to what drafts for it, None when nothing does.
        read: Reads what the machine has.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        artifact_of: Callable[[Target], Artifact | None],
        *,
        contexts: ContextLengths | None = None,
        draft_of: Callable[[Target], Artifact | None] = lambda _target: None,
        read: Callable[[], MemoryBudget] = read_budget,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._artifact_of = artifact_of
        self._machine = this_machine()
        self._contexts = contexts
        self._draft_of = draft_of
        self._too_large: dict[Target, str] = {}
        self._needs: dict[Target, LoadNeed] = {}
        self._read = read
        self._clock = clock
        self._fitting: dict[Target, float] = {}
        self._measuring = asyncio.Lock()

    async def check(self, target: Target, config: Config, workers: Sequence[ManagedWorker]) -> None:
        """Let a load pass, or refuse it.

        Args:
            workers: Those that have a model, all of which would be unloaded first, but for what is pinned where several
                models may be loaded.

        Raises:
            InsufficientMemoryError: It would not fit even then; with the numbers.
        """
        async with self._measuring:
            is_sharing = config.residency != "exclusive"
            is_asked = config.limits.check_memory or is_sharing
            if not is_asked or self._clock() - self._fitting.get(target, -VALID_S) < VALID_S:
                return
            artifact = self._artifact_of(target)
            if artifact is None or (artifact.facts.memory is None and not is_sharing):
                return  # nothing is known of its layers: a guess is no reason to refuse it
            staying = [worker for worker in workers if is_sharing and _stays(worker, target)]
            going = [worker for worker in workers if worker not in staying]
            budget, reclaimable = await asyncio.to_thread(self._measure, [worker.pid for worker in going])
            facts = facts_with(artifact.facts, target.adapter)
            available_bytes = min(budget.available_for(artifact.engine), _ceiling(config, reclaimable))
            spec = self._spec(target, artifact, facts, config, available_bytes + reclaimable)
            error = refusal(
                target.label,
                facts,
                spec,
                self._machine,
                available_bytes=available_bytes,
                reclaimable_bytes=reclaimable,
                unloading=_labels(going),
                staying=_labels(staying),
                image_side_px=counted_side_px(config.images),
            )
            if error is not None and config.limits.check_memory and artifact.facts.memory is not None:
                raise error
            self._note_draft(target, facts, spec, config, available_bytes + reclaimable)
            self._note_need(target, facts, spec, config)
            now = self._clock()
            self._fitting = {known: at for known, at in self._fitting.items() if now - at < VALID_S} | {target: now}

    def need_of(self, target: Target) -> LoadNeed | None:
        """Return what a load takes by its last check; None = it was never checked."""
        return self._needs.get(target)

    def _note_need(self, target: Target, facts: ModelFacts, spec: LoadSpec, config: Config) -> None:
        need = memory_need(facts, spec, self._machine, image_side_px=counted_side_px(config.images))
        draft_need = self._draft_need(target, spec)
        if len(self._needs) >= _MAX_NOTED:
            self._needs.clear()
        self._needs[target] = LoadNeed(need.required_bytes + draft_need, need.total_bytes + draft_need)

    def _draft_need(self, target: Target, spec: LoadSpec) -> int:
        """Return what a model takes that drafts for a target and has its place beside it."""
        draft = None if target in self._too_large else self._draft_of(target)
        if draft is None or target.draft is None:
            return 0
        return draft_bytes(draft.facts, replace(spec, draft=draft_spec(target.draft, spec)), self._machine)

    def why_no_draft(self, target: Target) -> str | None:
        """Return why what drafts for a target had no place beside it at the last look; None = it had."""
        return self._too_large.get(target)

    def _note_draft(self, target: Target, facts: ModelFacts, spec: LoadSpec, config: Config, free_bytes: int) -> None:
        """Note whether what drafts for a target fits beside it: it takes what the model itself leaves."""
        self._too_large.pop(target, None)
        draft = self._draft_of(target)
        if draft is None or target.draft is None:
            return
        spec = replace(spec, draft=draft_spec(target.draft, spec))
        need = memory_need(facts, spec, self._machine, image_side_px=counted_side_px(config.images))
        left_bytes, wanted_bytes = free_bytes - need.required_bytes, draft_bytes(draft.facts, spec, self._machine)
        if wanted_bytes > left_bytes:
            if len(self._too_large) >= _MAX_NOTED:
                self._too_large.clear()
            self._too_large[target] = (
                f"there is no memory for '{target.draft.name}': it needs {wanted_bytes / 1e9:.2f} GB, and "
                f"{max(0, left_bytes) / 1e9:.2f} GB is left beside the model"
            )

    def _spec(self, target: Target, artifact: Artifact, facts: ModelFacts, config: Config, free_bytes: int) -> LoadSpec:
        """Return how it would be loaded: where the context is planned, no longer than what fits now."""
        spec = load_spec_of(artifact, config, target.load)
        planned = None
        if self._contexts is not None and is_planned(config, target.load):
            planned = self._contexts.planned(target)
        if self._contexts is None or planned is None:
            return spec
        spec = replace(spec, context_length=planned)
        side_px = counted_side_px(config.images)
        fitting = fitting_context(facts, spec, self._machine, free_bytes=free_bytes, image_side_px=side_px)
        if fitting is None:
            return replace(spec, context_length=min(planned, UNPLANNED_CONTEXT))
        self._contexts.note_fitted(target, fitting)
        return replace(spec, context_length=fitting)

    def _measure(self, pids: Sequence[int | None]) -> tuple[MemoryBudget, int]:
        """Return what the machine has, and what of it comes back with the end of some processes; blocking."""
        reclaimable = reclaimable_bytes(pids)
        return self._read(), reclaimable


def _stays(worker: ManagedWorker, target: Target) -> bool:
    """Tell whether a worker stays whatever is loaded; another load of a pinned model takes its place."""
    return worker.is_pinned and worker.target is not None and worker.target.label != target.label


def _labels(workers: Sequence[ManagedWorker]) -> list[str]:
    return sorted({worker.target.label for worker in workers if worker.target is not None})


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
