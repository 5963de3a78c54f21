"""One loaded engine for each family of vision models on mlx."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from tests.support.bare_engine import BareEngine, load
from tests.support.tiny_vision import RGB, TINY_FAMILIES, VisionModel
from tests.support.tiny_vision.prompts import VisionPrompt, VisionPrompts
from tests.support.tiny_vision.random_folder import FURTHER_FAMILIES, write_random_folder

FAMILIES = (*TINY_FAMILIES, *FURTHER_FAMILIES)
WITH_SHORT_WINDOWS = "gemma4 of short windows"


class Seeing(NamedTuple):
    """A loaded model that sees, and prompts for it."""

    model: VisionModel
    bare: BareEngine
    prompts: VisionPrompts

    def ask(self, *parts: str | RGB) -> VisionPrompt:
        """Return a prompt whose tiles have their rows."""
        prompt = self.prompts.ask(*parts)
        for tile in prompt.tiles:
            if tile.rows is None:
                assert self.bare.engine.encode(tile, lambda: False)
        return prompt

    def alone(self, prompt: VisionPrompt, num_tokens: int) -> list[int]:
        return self.bare.fresh_answer(prompt.token_ids, num_tokens, prompt.spans)


@pytest.fixture(scope="session")
def seeing_models(
    vision_model: Callable[[str], VisionModel], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Seeing]]:
    loaded: dict[str, Seeing] = {}

    def get(family: str) -> Seeing:
        if family not in loaded:
            if family in TINY_FAMILIES:
                model = vision_model(family)
            else:
                model = write_random_folder(tmp_path_factory.mktemp("random"), family)
            engine = load("mlx", model.load_spec("mlx"))
            loaded[family] = Seeing(model, BareEngine(engine), VisionPrompts(model, "mlx"))
        return loaded[family]

    yield get
    for entry in loaded.values():
        entry.bare.engine.close()


@pytest.fixture(params=FAMILIES)
def seeing(request: pytest.FixtureRequest, seeing_models: Callable[[str], Seeing]) -> Iterator[Seeing]:
    seeing = seeing_models(request.param)
    yield seeing
    seeing.bare.close()
