"""One loaded engine of each kind for the whole session: a library keeps process-wide state, and imports cost."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backends.base import LoadedEngine
from backends.wire.load import LoadedModel, LoadSpec
from tests.support import bare_engine
from tests.support.bare_engine import engine_of
from tests.support.engine_driver import EngineDriver

ENGINES = ("fake", "llamacpp", "mlx")
REAL_ENGINES = ("llamacpp", "mlx")
CONTEXT_LENGTH = 256
MAX_SEQUENCES = 4
NOT_WITH_HOSTS = ("test_adapters", "test_drafts", "test_images", "test_images_batched", "test_saved_caches")
"""Modules of the contract suite on what a model over hosts does not have, which is refused by name."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, over ranks, what does not go with hosts."""
    if not config.getoption("--over-ranks"):
        return
    bare_engine.is_over_ranks = True
    for item in items:
        if item.path.stem in NOT_WITH_HOSTS:
            item.add_marker(pytest.mark.skip(reason="refused by name for a model over hosts"))


@dataclasses.dataclass(frozen=True)
class EngineUnderTest:
    """An engine after its load.

    Attributes:
        path: What was loaded.
        progress: The shares it reported.
    """

    name: str
    engine: LoadedEngine
    path: Path
    progress: list[float]

    @property
    def model(self) -> LoadedModel:
        return self.engine.model


@pytest.fixture(scope="session")
def loaded_engines(tiny_gguf: Path, tiny_mlx: Path) -> Iterator[Callable[[str], EngineUnderTest]]:
    paths = {"fake": tiny_gguf, "llamacpp": tiny_gguf, "mlx": tiny_mlx}
    loaded: dict[str, EngineUnderTest] = {}

    def get(name: str) -> EngineUnderTest:
        if name not in loaded:
            progress: list[float] = []
            spec = LoadSpec(
                model_path=str(paths[name]),
                context_length=CONTEXT_LENGTH,
                max_sequences=MAX_SEQUENCES,
                kv_cells=MAX_SEQUENCES * CONTEXT_LENGTH,
                first_cells=CONTEXT_LENGTH,
                step_tokens=64,
                num_threads=1,
            )
            loaded[name] = EngineUnderTest(name, engine_of(name).load(spec, progress.append), paths[name], progress)
        return loaded[name]

    yield get
    for entry in loaded.values():
        entry.engine.close()


@pytest.fixture(params=ENGINES)
def loaded(request: pytest.FixtureRequest, loaded_engines: Callable[[str], EngineUnderTest]) -> EngineUnderTest:
    return loaded_engines(request.param)


@pytest.fixture(params=REAL_ENGINES)
def loaded_real(request: pytest.FixtureRequest, loaded_engines: Callable[[str], EngineUnderTest]) -> EngineUnderTest:
    return loaded_engines(request.param)


@pytest.fixture
def driver(loaded: EngineUnderTest) -> Iterator[EngineDriver]:
    driver = EngineDriver(loaded.engine)
    yield driver
    driver.close()


@pytest.fixture
def real_driver(loaded_real: EngineUnderTest) -> Iterator[EngineDriver]:
    driver = EngineDriver(loaded_real.engine)
    yield driver
    driver.close()


@pytest.fixture
def tight_driver(loaded: EngineUnderTest) -> Iterator[EngineDriver]:
    """An engine on which only 64 tokens fit, all sequences together."""
    driver = EngineDriver(loaded.engine, context_length=64, kv_cells=64)
    yield driver
    driver.close()
