"""How large a loaded model is shown pictures: found once, and kept while it is loaded."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from registry.engines import Engine, EngineKind
from registry.facts import MemoryFacts
from registry.store import Registry
from router.config import Config, CurrentConfig, ImagesConfig
from router.models.directory import ModelDirectory
from router.models.model_request import ModelRequest
from router.models.targets import Target
from router.placement.memory import MemoryBudget
from router.placement.vision_need import ImageSides
from router.workers import image_sides
from router.workers.image_sides import VALID_S, ImageSidesInForce
from router.workers.residency import ManagedWorker
from tests.registry.catalogue_builder import make_draft
from tests.router.placement.test_memory_need import GIB, facts
from tests.router.placement.test_vision_need import QWEN

FOOTPRINT_BYTES = 8 * GIB
"""Of every worker, and none of it mapped from files."""


class Machine:
    """What is read, and what runs on it."""

    def __init__(self) -> None:
        self.available_bytes = 30 * GIB
        self.now = 100.0
        self.workers: list[ManagedWorker] = []

    def read(self) -> MemoryBudget:
        return MemoryBudget(total_bytes=16 * GIB, available_bytes=self.available_bytes)

    def load(self, target: Target) -> None:
        self.workers = [ManagedWorker(1, Engine(EngineKind.LLAMACPP), 0.0, target=target)]


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def current() -> CurrentConfig:
    return CurrentConfig(Config())


@pytest.fixture
def directory(tmp_path: Path, current: CurrentConfig) -> Iterator[ModelDirectory]:
    seeing = msgspec.structs.replace(facts(memory=MemoryFacts()), vision=QWEN)
    with Registry(tmp_path / "r.sqlite3") as registry:
        registry.artifacts.add(make_draft("/m/eye.gguf", name="eye", facts=seeing, mmproj_path="/m/mmproj.gguf"))
        registry.artifacts.add(make_draft("/t/text.gguf", name="text", facts=facts(memory=MemoryFacts())))
        yield ModelDirectory(registry, current=current, is_apple_silicon=False)


@pytest.fixture
def in_force(directory: ModelDirectory, machine: Machine, current: CurrentConfig) -> ImageSidesInForce:
    return ImageSidesInForce(
        current, directory.artifact_of, lambda: machine.workers, read=machine.read, clock=lambda: machine.now
    )


async def test_what_the_load_leaves_free_decides(
    directory: ModelDirectory, machine: Machine, in_force: ImageSidesInForce
) -> None:
    target = directory.resolve(ModelRequest("eye")).target
    assert (await in_force.of(target)).usual == 448
    machine.now += VALID_S
    machine.available_bytes = 8 * GIB
    assert (await in_force.of(target)).usual == 256


async def test_a_loaded_model_is_shown_pictures_of_one_size_until_it_is_unloaded(
    directory: ModelDirectory, machine: Machine, in_force: ImageSidesInForce
) -> None:
    target = directory.resolve(ModelRequest("eye")).target
    first = await in_force.of(target)
    machine.load(target)
    machine.available_bytes = GIB
    machine.now += 100 * VALID_S
    assert await in_force.of(target) == first
    machine.workers = []
    assert await in_force.of(target) != first


async def test_what_a_loaded_model_has_taken_is_not_taken_off_again(
    directory: ModelDirectory, machine: Machine, in_force: ImageSidesInForce
) -> None:
    target = directory.resolve(ModelRequest("eye")).target
    machine.available_bytes = 4 * GIB  # less than its weights and cache are
    machine.load(target)
    assert (await in_force.of(target)).usual == 384
    machine.now += VALID_S
    machine.workers = []
    assert (await in_force.of(target)).usual == 192


async def test_what_another_model_gives_back_counts_as_free(
    directory: ModelDirectory, machine: Machine, in_force: ImageSidesInForce, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = directory.resolve(ModelRequest("eye")).target
    monkeypatch.setattr(image_sides, "reclaimable_bytes", lambda pids: FOOTPRINT_BYTES * len(pids))
    machine.available_bytes = 8 * GIB
    machine.load(directory.resolve(ModelRequest("text")).target)
    assert (await in_force.of(target)).usual == 448
    machine.now += VALID_S
    machine.workers = []
    assert (await in_force.of(target)).usual == 256


async def test_the_config_is_followed_at_once(
    directory: ModelDirectory, in_force: ImageSidesInForce, current: CurrentConfig
) -> None:
    target = directory.resolve(ModelRequest("eye")).target
    await in_force.of(target)
    current.config = Config(images=ImagesConfig(max_side_px=320, high_side_px=640))
    assert await in_force.of(target) == ImageSides(320, 640)
    assert await in_force.of(directory.resolve(ModelRequest("text")).target) == ImageSides(320, 640)


async def test_a_text_model_asks_nothing_of_the_machine(
    directory: ModelDirectory, machine: Machine, in_force: ImageSidesInForce
) -> None:
    machine.available_bytes = 0
    assert await in_force.of(directory.resolve(ModelRequest("text")).target) == ImageSides(None, 1344)
