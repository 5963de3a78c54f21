from pathlib import Path
from typing import Any

import pytest

from registry.engines import EngineKind
from registry.mlx.folder import read_mlx_dir
from registry.mlx.tower import is_of_tower
from registry.vision import why_text_only
from tests.registry.mlx_builder import TENSORS, write_mlx_dir
from tests.support.tiny_vision.families import TINY_FAMILIES, TOWER_WIDTH, WIDTH
from tests.support.tiny_vision.model import write_vision_model

CONFIG: dict[str, Any] = {"model_type": "gemma3", "vision_config": {"image_size": 896, "patch_size": 14}}
TOWER = {"vision_tower.patch.weight": ("F16", (4, 4)), "multi_modal_projector.w": ("F16", (2, 64))}
PREPROCESSOR = {"preprocessor_config.json": "{}"}


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_folders_as_libraries_write_them_see(tmp_path: Path, family: str) -> None:
    vision = read_mlx_dir(write_vision_model(tmp_path / "m", family).folder).vision
    assert vision is not None
    assert why_text_only(vision, EngineKind.MLX) is None
    assert (vision.family_on(EngineKind.MLX), vision.width) == (family, WIDTH)
    assert vision.size_bytes > 0
    assert vision.tower_width == TOWER_WIDTH


def test_the_towers_bytes_are_those_of_its_tensors(tmp_path: Path) -> None:
    facts = read_mlx_dir(write_mlx_dir(tmp_path / "m", config=CONFIG, tensors=TENSORS | TOWER, extra=PREPROCESSOR))
    assert facts.vision is not None
    assert facts.vision.size_bytes == 2 * (16 + 128)
    assert (facts.vision.image_size, facts.vision.patch_size) == (896, 14)
    assert why_text_only(facts.vision, EngineKind.MLX) is None


@pytest.mark.parametrize(
    ("config", "tensors", "extra", "words"),
    [
        (CONFIG, TENSORS, PREPROCESSOR, "converted for text only"),
        (CONFIG, TENSORS | TOWER, {}, "no preprocessor_config.json"),
        (CONFIG | {"model_type": "pixtral"}, TENSORS | TOWER, PREPROCESSOR, "'pixtral' are not used"),
        ({"audio_config": {}}, TENSORS | TOWER, PREPROCESSOR, "sounds only"),
        ({}, TENSORS | TOWER, PREPROCESSOR, "no vision tower"),
        ({"vision_config": None}, TENSORS, {}, "no vision tower"),
    ],
)
def test_folders_that_do_not_see_say_why(tmp_path: Path, config: Any, tensors: Any, extra: Any, words: str) -> None:
    vision = read_mlx_dir(write_mlx_dir(tmp_path / "m", config=config, tensors=tensors, extra=extra)).vision
    assert words in (why_text_only(vision, EngineKind.MLX) or "")


def test_tensors_are_told_apart_by_whole_parts_of_their_names() -> None:
    assert is_of_tower("model.visual.blocks.0.attn.qkv.weight")
    assert not is_of_tower("model.visualizer.weight")
    assert not is_of_tower("language_model.model.layers.0.mlp.up_proj.weight")
