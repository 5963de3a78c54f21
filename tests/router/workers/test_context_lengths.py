"""Contexts in force: planned ones, those that fit, and loads that hold what a request asks for at least."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.facts import MemoryFacts
from registry.settings import LoadSettings
from registry.store import Registry
from router.config import Config, CurrentConfig, GenerationConfig
from router.errors import InsufficientMemoryError
from router.models.directory import ModelDirectory
from router.models.model_request import ModelRequest
from router.placement.memory import MemoryBudget
from router.workers.context_lengths import ContextLengths
from router.workers.memory_check import VALID_S, MemoryCheck
from tests.registry.catalogue_builder import make_draft
from tests.router.placement.test_memory_need import GIB, facts
from tests.support.fake_fleet import FakeFleet, make_config, with_fleet


class House:
    """A directory with one large model, its contexts, and a look at memory before loads."""

    def __init__(self, registry: Registry, config: Config) -> None:
        self.current = CurrentConfig(config)
        self.models = ModelDirectory(registry, current=self.current, is_apple_silicon=False)
        self.free_bytes, self.now = 30 * GIB, 0.0
        self.contexts = ContextLengths(
            self.current,
            resolve=self.models.resolve,
            artifact_of=self.models.artifact_of,
            workers=lambda: (),
            read=self.read,
        )
        self.check = MemoryCheck(
            self.models.artifact_of, contexts=self.contexts, read=self.read, clock=lambda: self.now
        )
        self.target = self.models.resolve(ModelRequest("big")).target

    def read(self) -> MemoryBudget:
        return MemoryBudget(total_bytes=32 * GIB, available_bytes=self.free_bytes)

    async def look(self, free_bytes: int) -> int | None:
        self.free_bytes = free_bytes
        self.now += 2 * VALID_S
        await self.check.check(self.target, self.current.config, [])
        return self.contexts.of(self.target)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "registry.sqlite3") as registry:
        registry.artifacts.add(make_draft("/m/big.gguf", name="big", facts=facts(memory=MemoryFacts())))
        yield registry


async def test_a_busy_machine_lowers_a_planned_context_and_a_calm_one_has_it_again(registry: Registry) -> None:
    house = House(registry, Config())
    planned = house.contexts.of(house.target)
    assert planned is not None
    assert planned > 32_768
    assert await house.look(30 * GIB) == planned
    lowered = await house.look(8 * GIB)
    assert lowered is not None
    assert 2048 <= lowered < planned
    assert await house.look(30 * GIB) == planned
    with pytest.raises(InsufficientMemoryError, match="at a context of 8192 tokens"):
        await house.look(4 * GIB)


async def test_what_somebody_has_said_is_neither_raised_nor_lowered(registry: Registry) -> None:
    house = House(registry, Config(generation=GenerationConfig(context_length=50_000)))
    assert house.contexts.of(house.target) == 50_000
    with pytest.raises(InsufficientMemoryError):
        await house.look(6 * GIB)
    assert house.contexts.of(house.target) == 50_000


def test_another_config_plans_anew(registry: Registry) -> None:
    house = House(registry, Config())
    alone = house.contexts.of(house.target)
    house.current.take_over(Config(generation=GenerationConfig(workers=4)))
    shared = house.contexts.of(house.target)
    assert alone is not None
    assert shared is not None
    assert shared < alone


def test_a_context_that_the_next_load_holds_asks_for_no_other_load(registry: Registry) -> None:
    house = House(registry, Config(generation=GenerationConfig(context_length=4096)))
    asked = {n: house.contexts.resolve(ModelRequest("big", min_context=n)).target.load for n in (64, 4096, 5000, 10**6)}
    assert asked[64] == asked[4096] == LoadSettings()
    assert asked[5000] == LoadSettings(context_length=5000)
    assert asked[10**6] == LoadSettings(context_length=131_072), "it was made for no more"


@with_fleet(make_config(context_length=500))
async def test_clients_that_ask_for_different_contexts_share_the_largest(fleet: FakeFleet) -> None:
    async def context_of(min_context: int | None = None) -> int:
        lease = await fleet.supervisor.lease(ModelRequest("m", min_context=min_context))
        lease.release()
        assert lease.client.loaded is not None
        return lease.client.loaded.context_length

    assert await context_of(300) == 500
    assert await context_of(900) == 900
    assert await context_of(700) == 900
    assert await context_of(100) == 900
    assert fleet.num_launches["llamacpp"] == 2
    assert await context_of() == 500, "who says nothing gets what the config says"
