from pathlib import Path

import pytest

from registry.catalogue import Artifact
from registry.scan import ScanRoot, register_path, scan
from registry.scan.pairing import projectors_for
from registry.scan.watch import what_changed
from registry.store import Registry
from tests.registry.gguf_builder import Tensor, Value, build, text
from tests.registry.scan_steps import MMPROJ, scan_plain, write


def gemma(width: int) -> bytes:
    """A projector whose rows are as wide; models of the builder are 64 wide."""
    metadata: dict[str | bytes, Value] = {
        "general.architecture": text("clip"),
        "clip.has_vision_encoder": Value(7, 1),
        "clip.projector_type": text("gemma3"),
    }
    return build(metadata, [Tensor(b"mm.input_projection.weight", (width, 2))])


def artifact_of(store: Registry, name: str) -> Artifact:
    return store.models.get(name).artifacts[0]


def test_what_a_projector_says_is_among_the_models_facts(store: Registry, models: Path) -> None:
    write(models / "v" / "Vision-Q4_K_M.gguf")
    projector = write(models / "v" / "mmproj-f16.gguf", gemma(64))
    scan_plain(store, models)
    seeing = artifact_of(store, "vision")
    assert seeing.text_only_reason is None
    assert seeing.vision is not None
    assert (seeing.vision.kind, seeing.vision.width) == ("gemma3", 64)
    assert seeing.vision.size_bytes == projector.stat().st_size
    assert scan_plain(store, models).updated == ()


def test_a_projector_of_the_wrong_width_is_left_out_by_name(store: Registry, models: Path) -> None:
    write(models / "v" / "Vision-Q4_K_M.gguf")
    write(models / "v" / "mmproj-f16.gguf", gemma(128))
    for _ in range(2):
        (unpaired,) = scan_plain(store, models).unpaired
        assert unpaired.path.endswith("Vision-Q4_K_M.gguf")
        blind = artifact_of(store, "vision")
        assert (blind.mmproj_path, blind.vision) == (None, None)
        (warning,) = blind.facts.warnings
        assert unpaired.reason == warning
        for words in ("mmproj-f16.gguf is not used", "rows are 128 wide", "hidden states 64", "another model"):
            assert words in warning


def test_of_several_projectors_the_first_that_fits_is_taken(store: Registry, models: Path) -> None:
    write(models / "v" / "Vision-Q4_K_M.gguf")
    write(models / "v" / "mmproj-a-f16.gguf", gemma(128))
    fitting = write(models / "v" / "mmproj-b-f16.gguf", gemma(64))
    write(models / "v" / "mmproj-c-q8_0.gguf", gemma(64))
    scan_plain(store, models)
    assert artifact_of(store, "vision").mmproj_path == str(fitting)
    assert scan_plain(store, models).updated == ()


def test_a_projector_that_is_replaced_is_read_anew(store: Registry, models: Path) -> None:
    write(models / "v" / "Vision-Q4_K_M.gguf")
    write(models / "v" / "mmproj-f16.gguf", gemma(64))
    scan_plain(store, models)
    before = artifact_of(store, "vision").vision
    write(models / "v" / "mmproj-f16.gguf", gemma(64) + b"\0" * 64)
    assert len(scan_plain(store, models).updated) == 1
    after = artifact_of(store, "vision").vision
    assert before is not None
    assert after is not None
    assert before.version != after.version


def test_a_projector_that_is_not_as_it_was_keeps_the_model_from_being_served(store: Registry, models: Path) -> None:
    write(models / "v" / "Vision-Q4_K_M.gguf")
    projector = write(models / "v" / "mmproj-f16.gguf", gemma(64))
    scan_plain(store, models)
    artifact = artifact_of(store, "vision")
    assert what_changed(artifact) is None
    write(projector, gemma(64) + b"\0" * 64)
    assert what_changed(artifact) == f"its projector {projector} was changed and is being looked into"
    projector.unlink()
    assert what_changed(artifact) == f"its projector {projector} is gone"


def test_a_file_that_is_added_by_its_path_gets_the_projector_beside_it(store: Registry, models: Path) -> None:
    path = write(models / "v" / "Vision-Q4_K_M.gguf")
    write(models / "v" / "mmproj-f16.gguf", gemma(64))
    assert register_path(store, path).artifacts[0].text_only_reason is None
    write(models / "w" / "Wide-Q4_K_M.gguf")
    write(models / "w" / "mmproj-f16.gguf", gemma(32))
    assert "is not used" in register_path(store, models / "w").artifacts[0].facts.warnings[0]


def test_a_model_that_was_added_by_its_path_goes_with_what_becomes_of_its_projector(
    store: Registry, models: Path, tmp_path: Path
) -> None:
    path = write(tmp_path / "elsewhere" / "Vision-Q4_K_M.gguf")
    projector = write(tmp_path / "elsewhere" / "mmproj-f16.gguf", gemma(64))
    register_path(store, path)
    register_path(store, write(tmp_path / "elsewhere" / "Other-Q4_K_M.gguf", build({"general.name": text("Other")})))
    assert scan_plain(store, models).updated == ()
    write(projector, gemma(64) + b"\0" * 64)
    assert str(path) in scan_plain(store, models).updated
    assert what_changed(artifact_of(store, "vision")) is None
    assert artifact_of(store, "vision").mmproj_path == str(projector)
    write(projector, b"GGUF, but no more")
    scan_plain(store, models)
    assert artifact_of(store, "vision").mmproj_path is None
    write(projector, gemma(64))
    scan_plain(store, models)
    assert artifact_of(store, "vision").mmproj_path == str(projector)
    projector.unlink()
    scan_plain(store, models)
    assert artifact_of(store, "vision").mmproj_path is None
    assert what_changed(artifact_of(store, "vision")) is None


def test_a_projector_without_the_word_in_its_name_stays_with_a_model_that_was_added_by_its_path(
    store: Registry, models: Path, tmp_path: Path
) -> None:
    path = write(tmp_path / "elsewhere" / "Vision-Q4_K_M.gguf")
    projector = write(tmp_path / "elsewhere" / "eyes.gguf", gemma(64))
    register_path(store, path.parent)
    write(projector, gemma(64) + b"\0" * 64)
    assert scan_plain(store, models).updated == (str(path),)
    assert artifact_of(store, "vision").mmproj_path == str(projector)


def test_one_file_may_be_the_projector_of_two_models(store: Registry, models: Path) -> None:
    write(models / "v" / "One-Q4_K_M.gguf")
    write(models / "w" / "Two-Q4_K_M.gguf", build({"general.architecture": text("llama")}))
    projector = write(models / "v" / "mmproj-f16.gguf", gemma(64))
    (models / "w" / "mmproj-f16.gguf").hardlink_to(projector)
    scan_plain(store, models)
    found = {artifact.mmproj_path for model in store.models.list() for artifact in model.artifacts}
    assert found == {str(models / folder / "mmproj-f16.gguf") for folder in "vw"}


def test_projectors_are_watched_beside_models_that_were_added_by_their_paths(
    store: Registry, models: Path, tmp_path: Path
) -> None:
    path = write(tmp_path / "elsewhere" / "Vision-Q4_K_M.gguf")
    projector = write(tmp_path / "elsewhere" / "mmproj-f16.gguf", gemma(64))
    register_path(store, path)
    watched: set[str] = set()
    scan(store, [ScanRoot(path=models)], watched=watched)
    assert {str(path), str(projector)} <= watched


def test_one_that_says_nothing_of_its_width_is_taken(store: Registry, models: Path) -> None:
    write(models / "v" / "Vision-Q4_K_M.gguf")
    projector = write(models / "v" / "mmproj-f16.gguf", MMPROJ)
    scan_plain(store, models)
    assert artifact_of(store, "vision").mmproj_path == str(projector)
    assert "type None are not used" in (artifact_of(store, "vision").text_only_reason or "")


@pytest.mark.parametrize(
    ("projectors", "wanted"),
    [
        ((), []),
        (("mmproj-two-f16.gguf",), []),
        (("mmproj-one-q8_0.gguf", "mmproj-one-f16.gguf"), ["mmproj-one-f16.gguf", "mmproj-one-q8_0.gguf"]),
    ],
)
def test_among_different_models_names_decide(projectors: tuple[str, ...], wanted: list[str]) -> None:
    assert projectors_for("one-Q4_0.gguf", ("one-Q4_0.gguf", "two-Q4_0.gguf"), projectors) == wanted
