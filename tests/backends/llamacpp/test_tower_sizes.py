"""Towers with the sizes of real ones, of every family: tiles give as many rows as were planned, and are answered."""

from pathlib import Path

import numpy as np
import pytest

from backends.images.families import FAMILIES
from tests.support import tiny_projector
from tests.support.bare_engine import BareEngine, load
from tests.support.image_prompts import ImagePrompts
from tests.support.tiles import spliced
from tests.support.tiny_vision import VisionModel, patchwork

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("family", FAMILIES)
def test_tiles_of_real_sizes_are_encoded_and_answered(family: str, tmp_path: Path) -> None:
    """Among them pictures whose rows are to be evaluated at once and are more than a step's tokens."""
    text = tiny_projector.write_text_model(tmp_path / "text.gguf", family)
    projector = tiny_projector.write_projector(tmp_path / "mmproj.gguf", family)
    model = VisionModel(
        family, text, projector, tiny_projector.metadata_of(family), tmp_path, text_width=tiny_projector.TEXT_WIDTH
    )
    engine = load("llamacpp", model.load_spec("llamacpp", kv_cells=8192, step_tokens=64))
    try:
        prompts = ImagePrompts("llamacpp", engine, model)
        tile, is_whole = prompts.tile(patchwork(1, 300, 200)), prompts.processor.facts.is_whole
        assert engine.encode(tile, lambda: False)
        assert tile.rows is not None
        assert len(tile.rows) == tile.size
        assert np.isfinite(tile.rows).all()
        if is_whole:
            assert engine.limits.step_tokens >= tile.size > 64
        token_ids, spans = spliced(list(b"Look: "), tile, list(b"What is it?"), is_whole=is_whole)
        if len(token_ids) + 4 > engine.model.context_length:
            return  # LLaVA's 729 rows
        bare = BareEngine(engine)
        sequence = bare.insert(token_ids, spans=spans)
        (answer,) = bare.run(sequence, num_tokens=4, max_tokens=engine.limits.step_tokens)
        assert len(answer) == 4
        bare.close()
    finally:
        engine.close()
