"""A supervisor whose processes and whose machine's memory are simulated: what placement does with readings, quickly.

The supervisor, its fleet, its ledger and its leases are the real ones. A process takes its memory step by step while it
loads, grows with its use, and gives it back step by step when it ends.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from unittest import mock

from backends.machine.base import Footprint, MachineMemory
from backends.machine.linux import LinuxPlatform
from backends.wire.load import LoadedModel, LoadSpec
from backends.wire.messages import Hello
from registry.engines import Engine, EngineKind, EngineSetting
from registry.errors import ModelNotFoundError
from router.conditions import Conditions
from router.config import Config, CurrentConfig
from router.errors import EngineCrashedError, RouterError
from router.models.model_request import ModelRequest
from router.models.targets import Choice, EngineReason, LocalArtifact, Target
from router.placement.memory import MemoryBudget
from router.placement.sharing import LoadNeed
from router.workers import ledger, residency
from router.workers.launch import WorkerLaunch
from router.workers.supervisor import Supervisor
from tests.support.waiting import until

MB = 1 << 20
RUNTIME_BYTES = 20 * MB
"""Of a process without a model."""
TOTAL_BYTES = 16_000 * MB
_STEPS = 4


class SimulatedPlatform(LinuxPlatform):
    """A machine on which nothing but the workers takes memory.

    Attributes:
        anonymous, mapped: Bytes of each process.
        taken_by_others: What other programs take.
    """

    has_own_level = True  # so that no share of it is set aside
    settling_s = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.anonymous: dict[int, int] = {}
        self.mapped: dict[int, int] = {}
        self.taken_by_others = 0

    def memory(self) -> MachineMemory:
        held = sum(self.anonymous.values()) + self.taken_by_others
        return MachineMemory(total_bytes=TOTAL_BYTES, available_bytes=TOTAL_BYTES - held, held_bytes=held)

    def footprint_of(self, pid: int) -> Footprint | None:
        if pid not in self.anonymous:
            return None
        return Footprint(self.anonymous[pid] + self.mapped[pid], self.anonymous[pid])

    def budget(self) -> MemoryBudget:
        memory = self.memory()
        return MemoryBudget(total_bytes=memory.total_bytes, available_bytes=memory.available_bytes)

    def read_ahead(self, path: Path) -> None:
        """There are no files."""


class SimulatedModel:
    """A model by what it takes: at its load, in the end, and how much of that is its file."""

    def __init__(self, name: str, least_mb: int, full_mb: int, *, mapped_mb: int = 0, engine: str = "llamacpp") -> None:
        self.name = name
        self.least_bytes, self.full_bytes, self.mapped_bytes = least_mb * MB, full_mb * MB, mapped_mb * MB
        self.target = Target(name, Engine(EngineKind(engine)), LocalArtifact(hash(name) % 1000, f"/{name}/{engine}"))
        self.estimate = LoadNeed(self.least_bytes, self.full_bytes)


class SimulatedProcess:
    """The gateway's end of a process that is not there, as far as the supervisor uses one."""

    def __init__(self, machine: "SimulatedMemory", on_change: Callable[[], None]) -> None:
        machine.num_processes += 1
        self.pid = 1_000_000 + machine.num_processes
        self.hello = Hello("fake", {"fake": "1"}, "", 0.0)
        self.loaded: LoadedModel | None = None
        self.load_error: RouterError | None = None
        self.load_fraction: float | None = None
        self.is_closed = self.is_owing = False
        self.last_sign_at = 0.0
        self.exit_code: int | None = None
        self._machine = machine
        self._on_change = on_change
        self._ended = asyncio.Event()
        machine.processes[self.pid] = self
        machine.platform.anonymous[self.pid] = RUNTIME_BYTES
        machine.platform.mapped[self.pid] = 0
        machine.look()
        asyncio.get_running_loop().call_soon(on_change)

    def load(self, spec: LoadSpec) -> None:
        model = next(each for each in self._machine.models if each.target.local.path == spec.model_path)
        self._machine.run(self._load(model))

    async def _load(self, model: SimulatedModel) -> None:
        platform = self._machine.platform
        for step in range(1, _STEPS + 1):
            await self._machine.pause()
            if self._ended.is_set():
                return
            platform.mapped[self.pid] = model.mapped_bytes * step // _STEPS
            rest = model.least_bytes - model.mapped_bytes - RUNTIME_BYTES
            platform.anonymous[self.pid] = RUNTIME_BYTES + rest * step // _STEPS
            self.load_fraction = step / _STEPS
            self._machine.look()
        self.loaded = LoadedModel(context_length=64, max_sequences=2, kv_cells=64, vocab_size=2, devices=("fake",))
        self._on_change()

    def grow(self, model: SimulatedModel, share: float) -> None:
        """Let it keep what it has answered."""
        if not self._ended.is_set():
            grown = model.least_bytes + int((model.full_bytes - model.least_bytes) * share) - model.mapped_bytes
            platform = self._machine.platform
            platform.anonymous[self.pid] = max(platform.anonymous[self.pid], grown)
            self._machine.look()

    def fail_streams(self, error: RouterError) -> None:
        """There are none."""

    def submit(self, _request: object) -> None:
        """It has nothing to give back."""
        raise EngineCrashedError("it answers nothing")

    def shut_down(self) -> None:
        self.kill()

    def kill(self) -> None:
        self.is_closed = True
        self.exit_code = 0
        self._ended.set()

    async def has_ended(self, _timeout_s: float) -> bool:
        return True

    async def wait(self) -> int:
        await self._ended.wait()
        platform = self._machine.platform
        for _ in range(_STEPS):
            await self._machine.pause()
            platform.anonymous[self.pid] //= 2
        del platform.anonymous[self.pid], platform.mapped[self.pid]
        return 0

    def tail(self) -> str:
        return ""


class SimulatedMemory:
    """A running supervisor on such a machine.

    Args:
        seed: Of all pauses.

    Attributes:
        most_bytes: The most that all processes had together, mapped files included, over what they may have then.
        num_looks: How often that was looked at.
    """

    def __init__(self, config: Config, models: Sequence[SimulatedModel], *, seed: int = 0) -> None:
        self.current = CurrentConfig(config)
        self.models = list(models)
        self.conditions = Conditions()
        self.platform = SimulatedPlatform()
        self.rng = random.Random(seed)
        self.limit_bytes: int | None = None
        self.most_bytes = self.num_processes = self.num_looks = 0
        self.pinned: set[str] = set()
        self.processes: dict[int, SimulatedProcess] = {}
        self.supervisor = Supervisor(
            self.current,
            resolve=self._resolve,
            launch_for=lambda _engine: WorkerLaunch("fake", {}),
            need_of=lambda target: self.model(target.model, str(target.engine)).estimate,
            read_budget=self.platform.budget,
            is_pinned=lambda target: target.model in self.pinned,
            conditions=self.conditions,
            saved_caches_dir=Path("/nowhere"),
        )

    def model(self, name: str, engine: str | None = None) -> SimulatedModel:
        for each in self.models:
            if each.name == name and engine in {None, str(each.target.engine)}:
                return each
        raise ModelNotFoundError(name)

    def _resolve(self, request: ModelRequest) -> Choice:
        engine = None if request.engine is None else request.engine.value
        return Choice(self.model(request.model, engine).target, EngineReason.REQUEST)

    def _platform_of(self) -> SimulatedPlatform:
        return self.platform

    def look(self) -> None:
        """Note what all have now."""
        self.num_looks += 1
        held = sum(self.platform.anonymous.values()) + sum(self.platform.mapped.values())
        self.most_bytes = max(self.most_bytes, held)

    async def pause(self) -> None:
        """Let others go on: for some turns of the loop, and now and then for longer."""
        if self.rng.random() < 0.1:
            await asyncio.sleep(self.rng.random() * 0.002)
        for _ in range(self.rng.randrange(1, 6)):
            await asyncio.sleep(0)

    def run(self, work: object) -> None:
        assert asyncio.iscoroutine(work)
        self._tasks.create_task(work)

    async def use(self, name: str, engine: str | None = None) -> None:
        """Ask for a model, use it for a while, and leave it with something kept."""
        model = self.model(name, engine)
        lease = await self.supervisor.lease(ModelRequest(name, None if engine is None else EngineSetting(engine)))
        await self.pause()
        assert lease.worker is not None
        self.processes[lease.worker.pid or 0].grow(model, self.rng.random())
        await self.pause()
        lease.release()

    @property
    def loaded(self) -> set[str]:
        """Models that are loaded, with their engines."""
        return {
            f"{each.target.label}@{each.target.engine}"
            for each in self.supervisor.workers
            if each.target is not None and each.state.is_resident
        }

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["SimulatedMemory"]:
        """Run it; nothing is left of it."""

        async def start_worker(_launch: WorkerLaunch, on_change: Callable[[], None]) -> SimulatedProcess:
            return SimulatedProcess(self, on_change)

        with (
            mock.patch.object(residency, "start_worker", start_worker),
            mock.patch.object(residency, "current_platform", self._platform_of),
            mock.patch.object(ledger, "current_platform", self._platform_of),
        ):
            async with asyncio.TaskGroup() as self._tasks:
                supervising = self._tasks.create_task(self.supervisor.run())
                yield self
                self.supervisor.close()
                await until(supervising.done, "the supervisor ends")
        assert self.platform.anonymous == {}
