"""How large the models here are shown pictures: readings around the pure `vision_need`.

What was found for a model counts as long as it is loaded: the same picture must not have another size in the next
turn, which would be another picture for every cache.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from registry.catalogue import Artifact
from router.config import CurrentConfig, ImagesConfig
from router.models.adapters import facts_with
from router.models.load_spec import load_spec_of
from router.models.targets import Target
from router.placement.memory import MemoryBudget, read_budget, this_machine
from router.placement.memory_need import memory_need, tower_keeps_scores
from router.placement.vision_need import ImageSides, counted_side_px, image_sides
from router.workers.memory_check import reclaimable_bytes
from router.workers.residency import ManagedWorker

VALID_S: Final = 60.0
"""What was found for a model that is not loaded: until it is, its requests agree."""


class ImageSidesInForce:
    """Knows what was found; owned by the event loop, and reads in threads.

    Args:
        artifact_of: Target to its artifact, None when the registry has lost it.
        workers: Gives those that have a model.
        context_of: Target to its context in tokens; None = as the config has it.
        read: Reads what the machine has.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        current: CurrentConfig,
        artifact_of: Callable[[Target], Artifact | None],
        workers: Callable[[], Sequence[ManagedWorker]],
        *,
        context_of: Callable[[Target], int | None] = lambda _target: None,
        read: Callable[[], MemoryBudget] = read_budget,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._current = current
        self._artifact_of = artifact_of
        self._workers = workers
        self._machine = this_machine()
        self._context_of = context_of
        self._read = read
        self._clock = clock
        self._known: dict[Target, tuple[ImageSides, ImagesConfig, float]] = {}
        self._measuring = asyncio.Lock()

    async def of(self, target: Target) -> ImageSides:
        """Return how large a target is shown pictures; for one that cannot see, what the config alone says."""
        async with self._measuring:
            self._forget_old()
            images = self._current.config.images
            known = self._known.get(target)
            if known is None or known[1] != images:
                known = self._known[target] = (await self._measured(target, images), images, self._clock())
            return known[0]

    def _forget_old(self) -> None:
        loaded = {worker.target for worker in self._workers()}
        now = self._clock()
        self._known = {
            target: known for target, known in self._known.items() if target in loaded or now - known[2] < VALID_S
        }

    async def _measured(self, target: Target, images: ImagesConfig) -> ImageSides:
        vision = None if target.is_remote else target.local.vision
        artifact = self._artifact_of(target)
        if vision is None or artifact is None:
            return ImageSides(None if images.max_side_px == "auto" else images.max_side_px, images.high_side_px)
        spec = load_spec_of(artifact, self._current.config, target.load)
        spec = replace(spec, context_length=self._context_of(target) or spec.context_length)
        facts = facts_with(artifact.facts, target.adapter)
        need = memory_need(facts, spec, self._machine, image_side_px=counted_side_px(images))
        others = [worker for worker in self._workers() if worker.target not in {None, target}]
        is_loaded = any(worker.target == target for worker in self._workers())
        # The tower may be still to come, and the rest of a cache: counted twice, they make pictures a little smaller.
        to_come = need.vision_bytes + need.growing_bytes if is_loaded else need.required_bytes
        budget, reclaimable = await asyncio.to_thread(self._look, [worker.pid for worker in others])
        return image_sides(
            vision.facts,
            vision.family,
            images,
            keeps_scores=tower_keeps_scores(facts, spec, self._machine),
            total_bytes=budget.total_bytes,
            free_bytes=budget.available_for(artifact.engine) + reclaimable - to_come,
        )

    def _look(self, pids: Sequence[int | None]) -> tuple[MemoryBudget, int]:
        reclaimable = reclaimable_bytes(pids)
        return self._read(), reclaimable
