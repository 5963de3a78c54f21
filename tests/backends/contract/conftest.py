"""A vision model of each family, loaded once on each engine that sees."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from backends.base import LoadedEngine
from tests.backends.conftest import REAL_ENGINES
from tests.support.bare_engine import engine_of, load
from tests.support.image_prompts import ImagePrompts
from tests.support.tiny_vision import RGB, TINY_FAMILIES, VisionModel, patchwork
from tests.support.uncuttable import WRITERS, Kind, spec_of


class Seeing(NamedTuple):
    """A family's model on an engine.

    Attributes:
        prompts: What makes prompts for it.
    """

    name: str
    model: VisionModel
    engine: LoadedEngine
    prompts: ImagePrompts

    @property
    def family(self) -> str:
        return self.model.family


See = Callable[[str, str], Seeing]


@pytest.fixture(scope="session")
def see(vision_model: Callable[[str], VisionModel]) -> Iterator[See]:
    loaded: dict[tuple[str, str], Seeing] = {}

    def get(name: str, family: str) -> Seeing:
        if not engine_of(name).can_see:
            pytest.skip(f"{name} has no means to see here")
        if (name, family) not in loaded:
            model = vision_model(family)
            engine = load(name, model.load_spec(name))
            loaded[name, family] = Seeing(name, model, engine, ImagePrompts(name, engine, model))
        return loaded[name, family]

    yield get
    for entry in loaded.values():
        entry.engine.close()


@pytest.fixture(params=REAL_ENGINES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=TINY_FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def seeing(name: str, family: str, see: See) -> Seeing:
    return see(name, family)


def picture(family: str, seed: int = 1) -> RGB:
    """Return a picture of a size that the family's tower takes as it is."""
    return patchwork(seed, 112, 84) if family.startswith("qwen") else patchwork(seed, 64, 64)


@pytest.fixture(scope="module", params=WRITERS, ids="-".join)
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kind]:
    name, cache = request.param
    path = WRITERS[request.param](tmp_path_factory.mktemp(cache) / "model.gguf")
    engine = load(name, spec_of(path))
    yield Kind(name, cache, engine)
    engine.close()
