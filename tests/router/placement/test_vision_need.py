from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.wire.load import LoadSpec, VisionSpec
from registry.engines import EngineKind
from registry.facts import ArtifactFormat, MemoryFacts
from registry.vision import VisionFacts
from router.config import ImagesConfig
from router.placement.fit import largest_context, refusal
from router.placement.memory import Machine
from router.placement.memory_need import memory_need, tower_keeps_scores
from router.placement.vision_need import ImageSides, counted_side_px, image_sides, vision_need
from tests.router.placement.test_memory_need import GIB, MAC, PC, facts

GEMMA = VisionFacts(
    kind="gemma3",
    has_vision=True,
    image_size=896,
    patch_size=14,
    num_heads=16,
    tower_width=1152,
    size_bytes=800_000_000,
)
QWEN = VisionFacts(
    kind="qwen2vl_merger",
    has_vision=True,
    image_size=560,
    patch_size=14,
    num_heads=16,
    tower_width=1280,
    size_bytes=1_300_000_000,
)
AUTO = ImagesConfig()
FAMILIES = {"gemma3": GEMMA, "qwen2_vl": QWEN}
VISION = VisionSpec(family="qwen2_vl", projector_path="/mmproj.gguf")


def need(family: str, side_px: int, engine: EngineKind = EngineKind.LLAMACPP, *, keeps_scores: bool = False) -> int:
    return vision_need(FAMILIES[family], engine, family, side_px, keeps_scores=keeps_scores)


def test_a_projector_takes_its_file_and_what_a_picture_is_computed_in() -> None:
    assert need("qwen2_vl", 448) == 1_300_000_000 + 100_000_000
    # 96 x 96 patches: 12 rows of 1,280 floats for each; without flash attention 16 heads of 9,216 x 9,216 scores.
    assert need("qwen2_vl", 1344) == 1_300_000_000 + 9216 * 12 * 1280 * 4
    assert need("qwen2_vl", 1344, keeps_scores=True) == need("qwen2_vl", 1344) + 16 * 9216**2 * 4


def test_a_tower_that_sees_squares_takes_the_same_for_every_picture() -> None:
    assert need("gemma3", 192) == need("gemma3", 4000) == 800_000_000 + 4096 * 12 * 1152 * 4


def test_a_folders_tower_is_among_its_weights() -> None:
    assert need("qwen2_vl", 1344, EngineKind.MLX) == 9216 * 12 * 1280 * 4


def test_what_files_do_not_say_counts_as_little() -> None:
    silent = VisionFacts(kind="gemma3", has_vision=True)
    assert vision_need(silent, EngineKind.LLAMACPP, "gemma3", 448, keeps_scores=True) == 100_000_000


@pytest.mark.parametrize(
    ("form", "label", "settings", "machine", "keeps_scores"),
    [
        (ArtifactFormat.GGUF, "Q4_K_M", {}, PC, False),
        (ArtifactFormat.GGUF, "Q4_K_M", {"flash_attention": "off"}, PC, True),
        (ArtifactFormat.GGUF, "F32", {}, PC, True),
        (ArtifactFormat.GGUF, "F32", {"kv_type": "q8_0"}, PC, False),
        (ArtifactFormat.MLX, "F16", {}, PC, True),
        (ArtifactFormat.MLX, "F16", {}, MAC, False),
    ],
)
def test_scores_are_kept_where_attention_has_no_fused_kernel(
    form: ArtifactFormat, label: str, settings: dict[str, Any], machine: Machine, *, keeps_scores: bool
) -> None:
    spec = LoadSpec(model_path="", **settings)
    assert tower_keeps_scores(facts(form, label=label), spec, machine) == keeps_scores


def test_a_load_with_a_tower_takes_more_by_that() -> None:
    model = msgspec.structs.replace(facts(memory=MemoryFacts()), vision=QWEN)
    text, seeing = (memory_need(model, LoadSpec(model_path="", vision=vision), PC) for vision in (None, VISION))
    assert (text.vision_bytes, seeing.vision_bytes) == (0, 1_400_000_000)
    assert seeing.required_bytes == text.required_bytes + 1_400_000_000
    spec = LoadSpec(model_path="", vision=VISION, flash_attention="off")
    assert memory_need(model, spec, PC, image_side_px=1344).vision_bytes > 5 * GIB


def test_an_mlx_folder_without_its_tower_takes_less_by_that() -> None:
    memory = MemoryFacts(half_bytes=4 * GIB)
    tower = msgspec.structs.replace(QWEN, kind="qwen2_vl", size_bytes=GIB)
    model = msgspec.structs.replace(facts(ArtifactFormat.MLX, memory=memory), vision=tower)
    for machine, factor in ((MAC, 1), (PC, 2)):
        text, seeing = (
            memory_need(model, LoadSpec(model_path="", vision=vision), machine) for vision in (None, VISION)
        )
        assert (text.weights_bytes, seeing.weights_bytes) == (3 * GIB * factor, 4 * GIB * factor)


def test_a_refusal_tells_what_seeing_takes_and_that_it_can_be_left_out() -> None:
    model = msgspec.structs.replace(facts(memory=MemoryFacts()), vision=QWEN)
    error = refusal("m", model, LoadSpec(model_path="", vision=VISION), PC, available_bytes=5 * GIB)
    assert error is not None
    for words in ("vision 1.40 GB", "needs 1.40 GB less (`mlxr models set m vision=off`)"):
        assert words in str(error)
    lone = refusal("m", model, LoadSpec(model_path=""), PC, available_bytes=GIB)
    assert "vision" not in str(lone)


def test_the_longest_context_leaves_room_for_the_tower() -> None:
    model = msgspec.structs.replace(facts(memory=MemoryFacts()), vision=QWEN)
    text, seeing = (
        largest_context(model, LoadSpec(model_path="", context_length=131_072, vision=vision), PC, free_bytes=8 * GIB)
        for vision in (None, VISION)
    )
    assert (seeing or 0) < (text or 0)
    spec = LoadSpec(model_path="", context_length=131_072, vision=VISION)
    wide = largest_context(model, spec, PC, free_bytes=8 * GIB, image_side_px=3584)
    assert (wide or 0) < (seeing or 0), "larger pictures take more of it"


def sides(
    total_gib: float,
    free_gib: float,
    family: str = "gemma3",
    images: ImagesConfig = AUTO,
    *,
    keeps_scores: bool = True,
) -> ImageSides:
    total, free = round(total_gib * GIB), round(free_gib * GIB)
    return image_sides(FAMILIES[family], family, images, keeps_scores=keeps_scores, total_bytes=total, free_bytes=free)


@pytest.mark.parametrize(
    ("total_gib", "free_gib", "usual"),
    [
        (2, 2, 192),
        (3, 3, 256),
        (4, 4, 384),
        (8, 8, 448),
        (15.6, 8, 448),
        (16, 8, 448),
        (17, 8, 448),
        (17, 9, None),
        (64, 32, None),
        (16, 3, 384),
        (64, 4, 448),
        (64, 1.5, 256),
        (8, 0.5, 192),
        (64, 0, 192),
        (64, -3, 192),
    ],
)
def test_the_tier_is_the_machines_and_lower_where_little_is_free(
    total_gib: float, free_gib: float, usual: int | None
) -> None:
    assert sides(total_gib, free_gib) == ImageSides(usual, 1344)


def test_what_the_config_says_goes_before_the_tier() -> None:
    assert sides(8, 1, images=ImagesConfig(max_side_px=999, high_side_px=1000)) == ImageSides(999, 1000)


def test_pictures_of_any_size_are_no_larger_than_what_is_free_bears() -> None:
    # Half of 2 GiB: 3,644 patches with their scores, 60 along a side; 17,476 without, 132 along a side.
    assert sides(16, 2, "qwen2_vl") == ImageSides(384, 60 * 14)
    assert sides(16, 2, "qwen2_vl", keeps_scores=False) == ImageSides(384, 1344)
    assert sides(64, 512, "qwen2_vl") == ImageSides(1344, 1344), "12 megapixels would take minutes"
    assert sides(64, 8, "qwen2_vl", ImagesConfig(max_side_px=2000)) == ImageSides(2000, 1344), (
        "what the user says counts"
    )
    assert sides(8, 0.1, "qwen2_vl", ImagesConfig(max_side_px=448)) == ImageSides(448, 448)


@given(
    family=st.sampled_from(sorted(FAMILIES)),
    total=st.floats(0.5, 2048, allow_nan=False),
    free=st.floats(-64, 2048, allow_nan=False),
    keeps_scores=st.booleans(),
)
def test_a_picture_never_takes_more_than_what_is_free_but_the_least(
    *, family: str, total: float, free: float, keeps_scores: bool
) -> None:
    found = sides(total, free, family, keeps_scores=keeps_scores)
    if family == "qwen2_vl":
        assert found.usual is not None
        for side in (found.usual, found.high):
            taken = need(family, side, EngineKind.MLX, keeps_scores=keeps_scores)
            assert side == 192 or taken <= max(100_000_000, free * GIB / 2)
    assert found.usual is None or found.usual >= 192


def test_a_load_is_counted_with_the_side_that_the_config_says() -> None:
    assert counted_side_px(AUTO) == 448
    assert counted_side_px(ImagesConfig(max_side_px=900)) == 900
