"""Facts of a vision tower out of a model's files; what is not known or contradicts itself is refused by name."""

from typing import Any

import pytest
from PIL import Image

from backends.errors import UnsupportedByModelError
from backends.images.families import FAMILIES
from backends.images.folder import tower_of_folder
from backends.images.projector import tower_of_projector
from tests.backends.images.families import PUBLISHED, folder_tower, gguf_tower
from tests.support import tiny_projector


def gguf(family: str, *, text_width: int = 64, has_class_token: bool = False, **changes: Any) -> Any:
    metadata = tiny_projector.metadata_of(family) | {f"clip.{key.replace('__', '.')}": v for key, v in changes.items()}
    return tower_of_projector(family, metadata, text_width=text_width, has_class_token=has_class_token)


def folder(family: str, config: dict[str, Any] | None = None, **preprocessor: Any) -> Any:
    published = PUBLISHED[family]
    return tower_of_folder(family, published.config | (config or {}), published.preprocessor | preprocessor)


def test_the_folder_of_a_published_model_is_read() -> None:
    tower = folder_tower("qwen2_vl")
    assert (tower.patch_size, tower.merge, tower.min_pixels, tower.max_pixels) == (14, 2, 3136, 12_845_056)
    assert tower.mean == (0.48145466, 0.4578275, 0.40821073)
    tower = folder_tower("idefics3")
    assert (tower.image_size, tower.longest_edge, tower.merge, tower.is_split) == (512, 2048, 4, True)
    assert (folder_tower("gemma3").merge, folder_tower("gemma3").is_bidirectional) == (4, True)
    assert (folder_tower("gemma4").max_rows, folder_tower("gemma4").std) == (280, (1, 1, 1))
    assert folder_tower("llava").resampling is Image.Resampling.BICUBIC


def test_the_projector_of_a_published_model_is_read() -> None:
    assert (gguf_tower("idefics3").longest_edge, gguf_tower("idefics3").merge) == (2048, 4)
    assert (gguf_tower("gemma3").image_size, gguf_tower("gemma3").merge) == (896, 4)
    assert (gguf_tower("qwen3_vl").patch_size, gguf_tower("qwen3_vl").min_pixels) == (16, 65_536)


def test_a_processor_config_that_contains_the_other_is_read() -> None:
    published = PUBLISHED["gemma4"]
    assert tower_of_folder("gemma4", published.config, {"image_processor": published.preprocessor}) == folder_tower(
        "gemma4"
    )


def test_what_a_file_says_goes_before_what_the_family_has() -> None:
    assert folder("qwen2_vl", size={"shortest_edge": 5000, "longest_edge": 9000}).max_pixels == 12_845_056
    assert folder("qwen3_vl", size={"shortest_edge": 5000, "longest_edge": 9000}).max_pixels == 9000
    assert folder("gemma3", resample=1).resampling is Image.Resampling.LANCZOS
    assert gguf("qwen2_vl", vision__image_max_pixels=777_777).max_pixels == 777_777
    assert gguf("qwen2_vl", vision__spatial_merge_size=4).merge == 4
    assert gguf("gemma3", vision__projector__scale_factor=2).merge == 2
    assert gguf("idefics3", vision__projector_type="idefics3", projector_type="x").family == "idefics3"


@pytest.mark.parametrize(("width", "is_bidirectional"), [(1536, False), (2560, False), (5376, True)])
def test_small_gemma_4_sees_pictures_from_one_side_only(width: int, *, is_bidirectional: bool) -> None:
    assert gguf("gemma4", text_width=width).is_bidirectional is is_bidirectional
    attention = "vision" if is_bidirectional else None
    config = {"text_config": {"use_bidirectional_attention": attention}}
    assert folder("gemma4", config).is_bidirectional is is_bidirectional


CLIP = {"vision_config": {"model_type": "clip_vision_model", "image_size": 336, "patch_size": 14}}
REFUSED_FOLDERS: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("llava", CLIP, {}, "SigLIP"),
    ("llava", {"vision_feature_select_strategy": "default"}, {}, "class token"),
    ("llava", {}, {"size": {"shortest_edge": 384}, "crop_size": {"height": 384, "width": 384}}, "cuts off"),
    ("llava", {}, {"do_center_crop": True}, "cuts off"),
    ("gemma3", {}, {"size": {"height": 896, "width": 448}}, "cuts off"),
    ("gemma3", {}, {"image_mean": None}, "image_mean"),
    ("gemma3", {}, {"image_std": [0.5, 0.0, 0.5]}, "contradict"),
    ("gemma3", {}, {"image_std": [0.5, float("nan"), 0.5]}, "contradict"),
    ("gemma3", {}, {"image_mean": [0.5]}, "does not describe"),
    ("gemma3", {"mm_tokens_per_image": 999_999}, {}, "does not describe"),
    ("gemma3", {"mm_tokens_per_image": 4096}, {"size": {"height": 10, "width": 10}}, "contradict"),
    ("idefics3", {"scale_factor": None}, {}, "scale_factor"),
    ("idefics3", {"scale_factor": 5}, {}, "contradict"),
    ("idefics3", {}, {"size": {"longest_edge": 10}}, "contradict"),
    ("qwen2_vl", {}, {"patch_size": None}, "patch_size"),
    ("qwen2_vl", {}, {"patch_size": 0}, "does not describe"),
    ("qwen2_vl", {}, {"patch_size": "14"}, "does not describe"),
    ("qwen2_vl", {}, {"min_pixels": 10**6, "max_pixels": 10**5}, "contradict"),
    ("qwen2_vl", {"vision_config": None}, {}, "does not describe"),
]


@pytest.mark.parametrize(("family", "config", "preprocessor", "words"), REFUSED_FOLDERS)
def test_a_folder_that_is_not_understood_is_refused(
    family: str, config: dict[str, Any], preprocessor: dict[str, Any], words: str
) -> None:
    with pytest.raises(UnsupportedByModelError, match="the model cannot see images: ") as caught:
        folder(family, config, **preprocessor)
    assert words in str(caught.value)


REFUSED_PROJECTORS: list[tuple[str, dict[str, Any], str]] = [
    ("llava", {"has_class_token": True}, "CLIP"),
    ("llava", {"vision__image_grid_pinpoints": [336, 672]}, "CLIP"),
    ("llava", {"vision__patch_size": 0}, "does not describe"),
    ("llava", {"vision__image_size": 10}, "contradict"),
    ("gemma3", {"vision__image_mean": [0.5, 0.5]}, "does not describe"),
    ("gemma3", {"vision__projector__scale_factor": 5}, "contradict"),
    ("idefics3", {"vision__preproc_image_size": 8}, "contradict"),
]


@pytest.mark.parametrize(("family", "changes", "words"), REFUSED_PROJECTORS)
def test_a_projector_that_is_not_understood_is_refused(family: str, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UnsupportedByModelError, match="the model cannot see images: ") as caught:
        gguf(family, **changes)
    assert words in str(caught.value)


def test_an_old_projector_has_the_usual_number_of_tiles() -> None:
    metadata = tiny_projector.metadata_of("idefics3")
    del metadata["clip.vision.preproc_image_size"]
    tower = tower_of_projector("idefics3", metadata, text_width=64, has_class_token=False)
    assert tower == gguf_tower("idefics3")


def test_a_family_that_is_not_prepared_here_is_refused() -> None:
    with pytest.raises(UnsupportedByModelError, match="'pixtral' are not prepared here"):
        tower_of_folder("pixtral", {}, {})
    with pytest.raises(UnsupportedByModelError, match="'pixtral' are not prepared here"):
        tower_of_projector("pixtral", {}, text_width=64, has_class_token=False)


def test_both_formats_of_a_family_say_its_name() -> None:
    for family in FAMILIES:
        assert folder_tower(family).family == gguf_tower(family).family == family
