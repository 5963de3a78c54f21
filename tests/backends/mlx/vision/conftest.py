"""One loaded engine for each family of vision models on mlx."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from tests.support.bare_engine import BareEngine, load
from tests.support.tiny_vision import RGB, TINY_FAMILIES, VisionModel
from tests.support.tiny_vision.prompts import VisionPrompt, VisionPrompts


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
def seeing_models(vision_model: Callable[[str], VisionModel]) -> Iterator[Callable[[str], Seeing]]:
    loaded: dict[str, Seeing] = {}

    def get(family: str) -> Seeing:
        if family not in loaded:
            model = vision_model(family)
            engine = load("mlx", model.load_spec("mlx"))
            loaded[family] = Seeing(model, BareEngine(engine), VisionPrompts(model, "mlx"))
        return loaded[family]

    yield get
    for entry in loaded.values():
        entry.bare.engine.close()


@pytest.fixture(params=TINY_FAMILIES)
def seeing(request: pytest.FixtureRequest, seeing_models: Callable[[str], Seeing]) -> Iterator[Seeing]:
    seeing = seeing_models(request.param)
    yield seeing
    seeing.bare.close()
