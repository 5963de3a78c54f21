"""The tiny vision models: both formats of one say the same of its tower."""

import json
from collections.abc import Callable

import pytest

from backends.images.folder import tower_of_folder
from backends.images.projector import tower_of_projector
from tests.support.tiny_vision import TINY_FAMILIES, VisionModel


@pytest.mark.parametrize("family", TINY_FAMILIES)
def test_both_formats_describe_one_tower(family: str, vision_model: Callable[[str], VisionModel]) -> None:
    model = vision_model(family)
    config, preprocessor = (
        json.loads((model.folder / name).read_text()) for name in ("config.json", "preprocessor_config.json")
    )
    tower = tower_of_projector(model.family, model.metadata, text_width=model.text_width, has_class_token=False)
    assert tower_of_folder(model.family, config, preprocessor) == tower
