"""One loaded engine for each family of vision models on mlx."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

from backends.prompting.intake import PreparedPrompt
from backends.sequence import Sequence
from backends.wire.prompts import PromptMessage
from tests.support.bare_engine import BareEngine, load
from tests.support.image_prompts import ImagePrompts, user
from tests.support.tiny_vision import RGB, TINY_FAMILIES, VisionModel
from tests.support.tiny_vision.mlx_only import MLX_ONLY, write_mlx_only

FAMILIES = (*TINY_FAMILIES, *MLX_ONLY)
WITH_SHORT_WINDOWS = "gemma4 of short windows"


class Seeing(NamedTuple):
    """A loaded model that sees, and prompts for it."""

    model: VisionModel
    bare: BareEngine
    prompts: ImagePrompts

    def ask(self, *parts: str | RGB) -> PreparedPrompt:
        """Return a user's message as a prompt whose tiles have their rows."""
        return self.chat(user(*parts))

    def chat(self, *messages: PromptMessage) -> PreparedPrompt:
        """Return a prompt whose tiles have their rows."""
        prompt = self.prompts.chat(*messages)
        for span in prompt.spans:
            if span.tile.rows is None:
                assert self.bare.engine.encode(span.tile, lambda: False)
        return prompt

    def insert(self, prompt: PreparedPrompt) -> Sequence:
        return self.bare.insert(prompt.token_ids, spans=prompt.spans)

    def alone(self, prompt: PreparedPrompt, num_tokens: int) -> list[int]:
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
                model = write_mlx_only(tmp_path_factory.mktemp("mlx-only"), family)
            engine = load("mlx", model.load_spec("mlx"))
            loaded[family] = Seeing(model, BareEngine(engine), ImagePrompts("mlx", engine, model))
        return loaded[family]

    yield get
    for entry in loaded.values():
        entry.bare.engine.close()


@pytest.fixture(params=FAMILIES)
def seeing(request: pytest.FixtureRequest, seeing_models: Callable[[str], Seeing]) -> Iterator[Seeing]:
    seeing = seeing_models(request.param)
    yield seeing
    seeing.bare.close()
