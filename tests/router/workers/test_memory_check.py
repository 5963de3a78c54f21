"""A load that cannot fit is refused before anything is unloaded for it, with the numbers."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from backends.fake.engine import FakeOptions
from backends.machine.apple import ApplePlatform
from registry.catalogue import Artifact
from registry.engines import Engine, EngineKind, EngineSetting
from registry.facts import MemoryFacts, ModelFacts
from registry.store import Registry
from router.config import Config, CurrentConfig, LimitsConfig
from router.config.memory import MemoryConfig
from router.errors import InsufficientMemoryError, ShuttingDownError
from router.models.directory import ModelDirectory
from router.models.draft import DraftSource
from router.models.model_request import ModelRequest
from router.models.targets import LocalArtifact, Target
from router.placement.lifecycle import WorkerState
from router.placement.memory import MemoryBudget
from router.workers import memory_check
from router.workers.memory_check import VALID_S, MemoryCheck
from router.workers.residency import ManagedWorker
from tests.registry.catalogue_builder import make_draft
from tests.router.placement.test_memory_need import GIB, facts
from tests.support.fake_fleet import FakeFleet, make_config, with_fleet
from tests.support.fake_libsystem import M3_PRO, FakeLibSystem, rusage_bytes


def make_artifact(of: ModelFacts) -> Artifact:
    return Artifact(
        id=7,
        model_name="small",
        format=of.format,
        path="/m/small.gguf",
        files=("/m/small.gguf",),
        mmproj_path=None,
        size_bytes=1,
        mtime_ns=1,
        sha256=None,
        status="ok",
        reason=None,
        is_owned=False,
        facts=of,
    )


class Machine:
    """What `MemoryCheck` reads, and how often it did."""

    def __init__(self) -> None:
        self.available_bytes = 64 * GIB
        self.now = 100.0
        self.num_reads = 0

    def read(self) -> MemoryBudget:
        self.num_reads += 1
        return MemoryBudget(total_bytes=64 * GIB, available_bytes=self.available_bytes)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "registry.sqlite3"


@pytest.fixture
def directory(path: Path) -> Iterator[ModelDirectory]:
    unknown = msgspec.structs.replace(facts(), memory=None)
    with Registry(path) as registry:
        registry.artifacts.add(make_draft("/m/big.gguf", name="big", facts=facts(memory=MemoryFacts())))
        registry.artifacts.add(make_draft("/m/old.gguf", name="old", facts=unknown))
        yield ModelDirectory(registry, current=CurrentConfig(Config()), is_apple_silicon=False)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def check(directory: ModelDirectory, machine: Machine) -> MemoryCheck:
    return MemoryCheck(directory.artifact_of, read=machine.read, clock=lambda: machine.now)


async def test_what_fits_passes_and_is_not_measured_again_at_once(
    directory: ModelDirectory, machine: Machine, check: MemoryCheck
) -> None:
    target = directory.resolve(ModelRequest("big")).target
    await check.check(target, Config(), [])
    machine.available_bytes = GIB
    await check.check(target, Config(), [])
    assert machine.num_reads == 1
    machine.now += VALID_S
    with pytest.raises(InsufficientMemoryError, match="'big' on llamacpp needs"):
        await check.check(target, Config(), [])


@pytest.mark.parametrize(("num_gib", "fits"), [(64, True), (None, False)])
async def test_what_drafts_takes_what_the_model_leaves(
    directory: ModelDirectory, machine: Machine, num_gib: int | None, *, fits: bool
) -> None:
    small = msgspec.structs.replace(facts(memory=MemoryFacts()), weight_bytes=20 * GIB)
    draft = make_artifact(small)
    check = MemoryCheck(
        directory.artifact_of, draft_of=lambda _target: draft, read=machine.read, clock=lambda: machine.now
    )
    target = directory.resolve(ModelRequest("big")).target
    source = DraftSource(name="small", artifact_id=7, path="/m/small.gguf")
    target = msgspec.structs.replace(target, draft=source)
    machine.available_bytes = 20 * GIB if num_gib is None else num_gib * GIB
    await check.check(target, Config(), [])
    told = check.why_no_draft(target)
    if fits:
        assert told is None
    else:
        assert told is not None
        assert told.startswith("there is no memory for 'small': it needs 2")


async def test_no_more_is_loaded_than_the_budget_allows_whatever_is_free(
    directory: ModelDirectory, check: MemoryCheck
) -> None:
    target = directory.resolve(ModelRequest("big")).target
    config = Config(memory=MemoryConfig(budget_bytes=GIB))
    with pytest.raises(InsufficientMemoryError, match="GB is free"):
        await check.check(target, config, [])
    await check.check(target, Config(memory=MemoryConfig(budget_bytes=32 * GIB)), [])


async def test_a_burst_for_one_model_is_measured_once(
    directory: ModelDirectory, machine: Machine, check: MemoryCheck
) -> None:
    target = directory.resolve(ModelRequest("big")).target
    await asyncio.gather(*(check.check(target, Config(), []) for _ in range(50)))
    assert machine.num_reads == 1


class _Resident(ManagedWorker):
    """A worker with a model, of a process that there need not be."""

    pid = 4711


@pytest.mark.parametrize(("footprint_bytes", "is_fitting"), [(5 * GIB, True), (1 * GIB, False), (None, False)])
async def test_on_a_mac_what_metal_holds_for_the_old_model_counts_for_the_new_one(
    directory: ModelDirectory, monkeypatch: pytest.MonkeyPatch, footprint_bytes: int | None, *, is_fitting: bool
) -> None:
    """The flip from mlx: 4 GB are free, 5 GB are Metal's buffers, of which next to nothing is resident."""
    usage = None if footprint_bytes is None else rusage_bytes(resident=100 << 20, footprint=footprint_bytes, peak=0)
    mac = ApplePlatform(FakeLibSystem(sysctls=M3_PRO, usage_of={4711: usage}.get))
    monkeypatch.setattr(memory_check, "current_platform", lambda: mac)
    monkeypatch.setattr(ApplePlatform, "memory_age_s", 0.0)
    budget = MemoryBudget(total_bytes=16 * GIB, available_bytes=4 * GIB, wired_limit_bytes=11 * GIB)
    check = MemoryCheck(directory.artifact_of, read=lambda: budget)
    old = _Resident(
        1, Engine(EngineKind.MLX), 0.0, target=Target("big", Engine(EngineKind.MLX), LocalArtifact(9, "/b"))
    )
    target = directory.resolve(ModelRequest("big")).target
    if is_fitting:
        await check.check(target, Config(), [old])
        return
    with pytest.raises(InsufficientMemoryError):
        await check.check(target, Config(), [old])


async def test_a_refusal_is_not_remembered(directory: ModelDirectory, machine: Machine, check: MemoryCheck) -> None:
    target = directory.resolve(ModelRequest("big")).target
    machine.available_bytes = GIB
    with pytest.raises(InsufficientMemoryError):
        await check.check(target, Config(), [])
    machine.available_bytes = 64 * GIB
    await check.check(target, Config(), [])


async def test_what_is_not_known_or_not_to_be_checked_passes(
    directory: ModelDirectory, machine: Machine, check: MemoryCheck
) -> None:
    machine.available_bytes = 0
    await check.check(directory.resolve(ModelRequest("old")).target, Config(), [])
    await check.check(Target("gone", Engine(EngineKind.MLX), LocalArtifact(99, "/gone")), Config(), [])
    unchecked = msgspec.structs.replace(Config(), limits=LimitsConfig(check_memory=False))
    await check.check(directory.resolve(ModelRequest("big")).target, unchecked, [])


async def test_a_models_own_settings_are_what_is_checked_and_another_load_is_another_check(
    path: Path, directory: ModelDirectory, machine: Machine, check: MemoryCheck
) -> None:
    machine.available_bytes = 8 * GIB
    await check.check(directory.resolve(ModelRequest("big")).target, Config(), [])
    with Registry(path) as registry:
        registry.models.change_settings("big", {"context_length": 1_000_000, "parallel": 1})
    with pytest.raises(InsufficientMemoryError, match="mlxr models set big context_length="):
        await check.check(directory.resolve(ModelRequest("big")).target, Config(), [])


class _Refusing(FakeFleet):
    """A fleet on a machine that has room for one model only."""

    seen: list[list[str]]

    async def check_load(self, target: Target, config: Config, workers: Sequence[ManagedWorker]) -> None:
        del config
        self.seen.append([worker.target.model for worker in workers if worker.target is not None])
        if target.model == "other":
            raise InsufficientMemoryError(needed_bytes=2, available_bytes=1, message="model: too large")


def test_a_refused_load_leaves_the_resident_model_alone() -> None:
    @with_fleet(make_config(), fleet=_Refusing)
    async def run(fleet: FakeFleet) -> None:
        assert isinstance(fleet, _Refusing)
        fleet.seen = []
        await fleet.answer()
        pids = [worker.pid for worker in fleet.supervisor.workers]
        with pytest.raises(InsufficientMemoryError):
            await fleet.answer("other")
        await fleet.answer()
        assert [worker.pid for worker in fleet.supervisor.workers] == pids
        assert [worker.state for worker in fleet.supervisor.workers] == [WorkerState.READY]
        assert fleet.seen == [[], ["m"]], "what is resident is not asked for"

    run()


class _Defective(FakeFleet):
    """A fleet that cannot tell of one model whether it fits."""

    async def check_load(self, target: Target, config: Config, workers: Sequence[ManagedWorker]) -> None:
        del config, workers
        if target.model == "other":
            raise ZeroDivisionError


@with_fleet(make_config(), fleet=_Defective)
async def test_a_defect_in_the_look_costs_one_request_and_not_the_workers(fleet: FakeFleet) -> None:
    await fleet.answer()
    with pytest.raises(ZeroDivisionError):
        await fleet.answer("other")
    assert await fleet.answer()
    assert not fleet.has_ended


class _Slow(FakeFleet):
    """A fleet whose machine takes its time to say what memory it has."""

    is_known: asyncio.Event
    num_asked = 0

    async def check_load(self, target: Target, config: Config, workers: Sequence[ManagedWorker]) -> None:
        del target, config, workers
        self.num_asked += 1
        await self.is_known.wait()


@with_fleet(make_config(), fleet=_Slow)
async def test_while_memory_is_measured_the_supervisor_goes_on_and_a_client_that_leaves_loads_nothing(
    fleet: FakeFleet,
) -> None:
    assert isinstance(fleet, _Slow)
    fleet.is_known = asyncio.Event()
    leaving = asyncio.create_task(fleet.answer())
    await fleet.until(lambda: fleet.num_asked == 1, "memory is measured")
    assert not (await fleet.supervisor.stop_model("m")).stopped, "it is not asleep meanwhile"
    leaving.cancel()
    await asyncio.wait([leaving])
    fleet.is_known.set()
    assert await fleet.answer("other")
    assert fleet.num_launches == {"mlx": 0, "llamacpp": 1}


@with_fleet(make_config(), fleet=_Slow)
async def test_a_setting_that_changes_while_memory_is_measured_counts(fleet: FakeFleet) -> None:
    assert isinstance(fleet, _Slow)
    fleet.is_known = asyncio.Event()
    answer = asyncio.create_task(fleet.answer())
    await fleet.until(lambda: fleet.num_asked == 1, "memory is measured")
    fleet.set_engine(EngineSetting.MLX)
    fleet.is_known.set()
    assert await answer
    assert fleet.num_launches == {"mlx": 1, "llamacpp": 0}


@with_fleet(make_config(), fleet=_Slow)
async def test_who_waits_for_a_measurement_at_the_end_is_told_so(fleet: FakeFleet) -> None:
    assert isinstance(fleet, _Slow)
    fleet.is_known = asyncio.Event()
    waiting = asyncio.create_task(fleet.answer())
    await fleet.until(lambda: fleet.num_asked == 1, "memory is measured")
    fleet.supervisor.close()
    fleet.is_known.set()
    with pytest.raises(ShuttingDownError):
        await waiting


@with_fleet(llamacpp=FakeOptions(working_set_bytes=27 * GIB))
async def test_what_metal_said_to_a_worker_is_handed_on_once(fleet: FakeFleet) -> None:
    await fleet.answer()
    await fleet.answer()
    assert fleet.working_sets == [27 * GIB]
