"""A fleet of real processes of the fake engine with models of several sizes, on a machine of a set size.

The processes' memory is read as it is; only what the machine has left is reckoned, so that it is the same everywhere.
"""

import asyncio

from backends.fake.engine import FakeOptions
from backends.machine.base import Footprint
from backends.machine.current import current_platform
from registry.engines import Engine, EngineKind
from registry.errors import ModelNotFoundError
from router.config import Config
from router.models.model_request import ModelRequest
from router.models.targets import Choice, EngineReason, LocalArtifact, Target
from router.placement.memory import MemoryBudget
from router.placement.sharing import LoadNeed
from tests.support.fake_fleet import FakeFleet, worker_processes

MIB = 1 << 20
RUNTIME_BYTES = 90 * MIB
"""Of a worker of the fake engine without a model: its interpreter and libraries."""
SIZES = {"small": 40 * MIB, "middle": 80 * MIB, "wide": 120 * MIB, "large": 200 * MIB}
"""What each model takes beside that."""
LIMIT_BYTES = 520 * MIB
FAKE = FakeOptions(ballasts=tuple((f"/{name}", size) for name, size in SIZES.items()))


class SharingFleet(FakeFleet):
    """Several may be loaded at a time.

    Attributes:
        most_bytes: The most that workers with a model had together, files that they have mapped once for all.
        most_models: The most that were there at a time.
    """

    def __init__(self, config: Config | None = None, **_scripts: object) -> None:
        super().__init__(config, mlx=FAKE, llamacpp=FAKE)
        self.most_bytes = self.most_models = 0
        self.need_of = lambda target: LoadNeed(RUNTIME_BYTES, RUNTIME_BYTES + SIZES[target.model])
        self.read_budget = self._budget

    def resolve(self, model_request: ModelRequest) -> Choice:
        if model_request.model not in SIZES:
            raise ModelNotFoundError(model_request.model)
        number = list(SIZES).index(model_request.model)
        source = LocalArtifact(number, f"/{model_request.model}")
        return Choice(Target(model_request.model, Engine(EngineKind.LLAMACPP), source), EngineReason.AUTO_ONLY)

    def _held(self) -> list[Footprint]:
        pids = {worker.pid for worker in self.supervisor.workers if worker.target is not None}
        found = [current_platform().footprint_of(each.pid) for each in worker_processes() if each.pid in pids]
        return [each for each in found if each is not None]

    def _budget(self) -> MemoryBudget:
        """Give a machine of which workers may have LIMIT_BYTES, whatever else this one does."""
        total_bytes = 100_000 * MIB
        reserved_bytes = int((1 - self.current_config.config.memory.critical_share) * total_bytes)
        anonymous_bytes = sum(each.anonymous_bytes for each in self._held())
        return MemoryBudget(total_bytes=total_bytes, available_bytes=LIMIT_BYTES + reserved_bytes - anonymous_bytes)

    async def watch_memory(self) -> None:
        """Sample what all have until cancelled."""
        while True:
            held = await asyncio.to_thread(self._held)
            self.most_models = max(self.most_models, sum(each.anonymous_bytes > 30 * MIB for each in held))
            self.most_bytes = max(self.most_bytes, sum(each.rss_bytes for each in held))
            await asyncio.sleep(0.02)
