"""What a projector's header says, of files as the libraries write them and of files built by hand."""

import math
from pathlib import Path
from typing import Any

import pytest

from registry.engines import EngineKind
from registry.errors import ArtifactError, GGUFError
from registry.gguf.constants import MAX_KEPT_BYTES
from registry.gguf.projector import read_projector
from registry.vision import VISION_FAMILIES, VisionFacts, why_text_only
from tests.registry.gguf_builder import Tensor, Value, array, build, f32, text, u32
from tests.support import tiny_projector
from tests.support.tiny_vision.gguf_files import clip_metadata
from tests.support.tiny_vision.model import write_vision_model

VISION: dict[str | bytes, Value] = {
    "general.architecture": text("clip"),
    "clip.has_vision_encoder": Value(7, 1),
    "clip.vision.projection_dim": u32(768),
}


def facts_of(path: Path, metadata: dict[Any, Value], *tensors: Tensor) -> VisionFacts:
    path.write_bytes(build(VISION | metadata, [*(tensors or [Tensor()])]))
    return read_projector(path)


@pytest.mark.parametrize("family", VISION_FAMILIES)
def test_projectors_of_all_families_are_known(tmp_path: Path, family: str) -> None:
    path = tiny_projector.write_projector(tmp_path / "mmproj.gguf", family)
    facts, said = read_projector(path), tiny_projector.metadata_of(family)
    assert why_text_only(facts, EngineKind.LLAMACPP) is None
    assert facts.family_on(EngineKind.LLAMACPP) == family
    assert (facts.width, facts.size_bytes) == (tiny_projector.TEXT_WIDTH, path.stat().st_size)
    assert (facts.image_size, facts.patch_size) == (said["clip.vision.image_size"], said["clip.vision.patch_size"])
    assert (facts.num_heads, facts.has_audio, facts.has_class_token) == (tiny_projector.NUM_HEADS, False, False)
    assert facts.tower_width == tiny_projector.WIDTH


def test_a_worker_is_told_all_that_the_header_says_of_the_tower(tmp_path: Path) -> None:
    model = write_vision_model(tmp_path / "m", "qwen2_vl")
    metadata, said = dict(read_projector(model.projector).metadata), clip_metadata("qwen2_vl")
    assert metadata.keys() == {key for key in said if key.startswith("clip.")}
    for key, value in metadata.items():
        wanted: Any = tuple(said[key]) if isinstance(said[key], list) else said[key]
        assert value == (pytest.approx(wanted) if isinstance(wanted, float | tuple) else wanted), key


def test_a_class_token_is_seen_and_width_is_that_of_the_rows(tmp_path: Path) -> None:
    """Old files of LLaVA give the width of another projection."""
    facts = facts_of(
        tmp_path / "mmproj.gguf",
        {"clip.projector_type": text("mlp")},
        Tensor(b"v.class_embd", (4,)),
        Tensor(b"mm.2.weight", (4, 5)),
    )
    assert (facts.has_class_token, facts.width) == (True, 5)
    assert "CLIP tower" in (why_text_only(facts, EngineKind.LLAMACPP) or "")


def test_pinpoints_and_sounds_are_seen(tmp_path: Path) -> None:
    pinpoints = {"clip.vision.image_grid_pinpoints": array(5, [336, 672]), "clip.projector_type": text("mlp")}
    assert facts_of(tmp_path / "a.gguf", pinpoints).cuts_by_pinpoints
    sounds = {"clip.has_vision_encoder": Value(7, 0), "clip.has_audio_encoder": Value(7, 1)}
    facts = facts_of(tmp_path / "b.gguf", sounds | {"clip.projector_type": text("ultravox")})
    assert (facts.has_vision, facts.has_audio) == (False, True)
    assert "sounds only" in (why_text_only(facts, EngineKind.LLAMACPP) or "")


def test_a_mixed_projector_is_of_the_type_that_it_gives_pictures(tmp_path: Path) -> None:
    metadata = {
        "clip.vision.projector_type": text("gemma4v"),
        "clip.audio.projector_type": text("gemma4a"),
        "clip.has_audio_encoder": Value(7, 1),
    }
    assert facts_of(tmp_path / "a.gguf", metadata).kind == "gemma4v"


def test_an_unknown_type_has_no_width_that_a_model_must_have(tmp_path: Path) -> None:
    assert facts_of(tmp_path / "a.gguf", {"clip.projector_type": text("resampler")}).width is None


def test_values_that_json_has_not_and_books_stay_out(tmp_path: Path) -> None:
    odd = {"clip.x": f32(math.nan), "clip.y": array(6, [0.5, math.inf]), "clip.z": text("z" * 9999)}
    kept = {"clip.vision.image_mean": array(6, [0.5] * 3), "clip.projector_type": text("gemma3")}
    keys = {key for key, _ in facts_of(tmp_path / "a.gguf", odd | kept).metadata}
    assert keys == {str(key) for key in (*VISION, *kept) if str(key).startswith("clip.")}


@pytest.mark.slow
def test_arrays_that_are_kept_are_bounded(tmp_path: Path) -> None:
    num_arrays = MAX_KEPT_BYTES // (8 * 1024) + 2
    arrays = {f"clip.{index}": array(12, [0.0] * 1024) for index in range(num_arrays)}
    with pytest.raises(GGUFError, match="larger than"):
        facts_of(tmp_path / "a.gguf", arrays)


def test_no_projector_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError) as caught:
        read_projector(tmp_path / "none.gguf")
    assert caught.value.code == "not_found"
