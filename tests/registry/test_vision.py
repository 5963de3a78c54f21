import msgspec
import pytest

from backends.images.families import FAMILIES
from registry.engines import EngineKind
from registry.vision import VISION_FAMILIES, VisionFacts, why_text_only

LLAMACPP, MLX = EngineKind.LLAMACPP, EngineKind.MLX
GEMMA = VisionFacts(kind="gemma3", has_vision=True, size_bytes=9, metadata=(("clip.vision.image_mean", (0.5, 0.5)),))
LLAVA = VisionFacts(kind="llava", has_vision=True, size_bytes=9, tower_type="siglip_vision_model")
MLP = VisionFacts(kind="mlp", has_vision=True)


def test_each_family_of_the_table_is_one_whose_pictures_are_prepared() -> None:
    assert set(VISION_FAMILIES) == set(FAMILIES)


def test_no_type_is_of_two_families() -> None:
    for types in ("model_types", "projector_types"):
        all_types = [each for row in VISION_FAMILIES.values() for each in getattr(row, types)]
        assert len(all_types) == len(set(all_types))


@pytest.mark.parametrize(
    ("vision", "engine", "family"),
    [
        (GEMMA, LLAMACPP, "gemma3"),
        (GEMMA, MLX, "gemma3"),
        (LLAVA, MLX, "llava"),
        (MLP, LLAMACPP, "llava"),
        (msgspec.structs.replace(GEMMA, kind="smolvlm"), MLX, "idefics3"),
    ],
)
def test_what_is_in_the_table_sees(vision: VisionFacts, engine: EngineKind, family: str) -> None:
    assert why_text_only(vision, engine) is None
    assert vision.family_on(engine) == family


@pytest.mark.parametrize(
    ("vision", "engine", "words"),
    [
        (None, LLAMACPP, "no vision projector"),
        (None, MLX, "no vision tower"),
        (VisionFacts(kind="ultravox", has_vision=False, has_audio=True), LLAMACPP, "for sounds only"),
        (VisionFacts(kind="resampler", has_vision=True), LLAMACPP, "type 'resampler' are not used"),
        (VisionFacts(kind="pixtral", has_vision=True, size_bytes=9), MLX, "type 'pixtral' are not used"),
        (VisionFacts(kind=None, has_vision=True), LLAMACPP, "type None"),
        (msgspec.structs.replace(MLP, has_class_token=True), LLAMACPP, "CLIP tower"),
        (msgspec.structs.replace(MLP, cuts_by_pinpoints=True), LLAMACPP, "CLIP tower"),
        (msgspec.structs.replace(LLAVA, tower_type="clip_vision_model"), MLX, "not with 'clip_vision_model'"),
        (msgspec.structs.replace(GEMMA, size_bytes=0), MLX, "converted for text only"),
        (msgspec.structs.replace(GEMMA, missing=("preprocessor_config.json",)), MLX, "no preprocessor_config.json"),
    ],
)
def test_what_cannot_see_says_why(vision: VisionFacts | None, engine: EngineKind, words: str) -> None:
    assert words in (why_text_only(vision, engine) or "")


def test_facts_go_through_json_and_can_be_keys() -> None:
    again = msgspec.json.decode(msgspec.json.encode(GEMMA), type=VisionFacts)
    assert again == GEMMA
    assert hash(again) == hash(GEMMA)
