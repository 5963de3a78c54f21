"""Models that are registered by their path."""

import os
from pathlib import Path

import pytest

from registry.errors import ArtifactConflictError, ArtifactError, InvalidModelNameError
from registry.facts import ArtifactFormat
from registry.removing.removal import remove_model
from registry.scan import register_path
from registry.scan.watch import what_changed
from registry.store import Registry
from tests.registry.mlx_builder import write_mlx_dir
from tests.registry.scan_steps import BROKEN, LORA, MMPROJ, names, scan_plain, split_file, write


def test_registering_a_path_twice_changes_nothing(store: Registry, models: Path) -> None:
    path = write(models / "Tiny-Q4_0.gguf")
    model = register_path(store, path)
    assert model.name == "tiny"
    assert register_path(store, path) == model
    assert register_path(store, models) == model
    assert scan_plain(store, models).num_unchanged == 1


def test_registering_any_file_of_a_set_brings_the_whole(store: Registry, models: Path) -> None:
    paths = [write(models / f"big-0000{number + 1}-of-00002.gguf", split_file(number, 2)) for number in range(2)]
    write(models / "unrelated.gguf")
    write(models / "mmproj-big.gguf", MMPROJ)
    model = register_path(store, paths[1])
    assert model.artifacts[0].files == tuple(map(str, paths))
    assert model.artifacts[0].mmproj_path == str(models / "mmproj-big.gguf")
    assert names(store) == ["big"]


def test_what_finder_writes_into_a_folder_is_no_part_of_the_model(store: Registry, models: Path) -> None:
    mlx, gguf = write_mlx_dir(models / "c"), write(models / "d" / "d.gguf")
    for folder in (mlx, gguf.parent):
        (folder / ".DS_Store").write_bytes(b"Bud1")
        (folder / "._d.gguf").write_bytes(b"\0\x05\x16\x07")
    for path in (mlx, gguf.parent):
        (artifact,) = register_path(store, path).artifacts
        assert not any(Path(file).name.startswith(".") for file in artifact.files)
        (path / ".DS_Store").write_bytes(b"Bud1, written anew")
        assert what_changed(artifact) is None


def test_registering_with_a_name(store: Registry, models: Path) -> None:
    first, second = write(models / "a.gguf"), write(models / "b.gguf")
    mlx = write_mlx_dir(models / "c")
    assert register_path(store, first, name="org/mine").name == "org/mine"
    assert register_path(store, mlx, name="org/mine").engines == ("llamacpp", "mlx")
    with pytest.raises(ArtifactConflictError):
        register_path(store, second, name="org/mine")
    with pytest.raises(InvalidModelNameError):
        register_path(store, second, name="../../x")
    assert scan_plain(store, models).added == (str(second),)
    assert names(store) == ["b", "org/mine"]


def test_registering_what_is_no_model_says_why(store: Registry, models: Path) -> None:
    write(models / "bad.gguf", BROKEN)
    write(models / "lora.gguf", LORA)
    os.mkfifo(models / "fifo")
    (models / "two").mkdir()
    write(models / "two" / "a.gguf")
    write(models / "two" / "b.gguf")
    (models / "empty").mkdir()
    for path, code in (
        (models / "bad.gguf", "data_past_end"),
        (models / "lora.gguf", "lora"),
        (models / "fifo", "not_a_regular_file"),
        (Path("/dev/zero"), "not_a_regular_file"),
        (models / "two", "several_models"),
        (models / "empty", "not_a_model"),
        (models / "absent", "not_found"),
        (models / "absent" / "deep.gguf", "not_found"),
        (Path("a\0b"), "not_found"),
    ):
        with pytest.raises(ArtifactError) as caught:
            register_path(store, path)
        assert caught.value.code == code, path
    assert names(store) == []


def test_what_the_user_unregistered_stays_away_until_added_again(store: Registry, models: Path) -> None:
    path = write(models / "a.gguf")
    scan_plain(store, models)
    remove_model(store, "a")
    assert path.exists()
    report = scan_plain(store, models)
    assert (report.added, names(store)) == ((), [])
    assert register_path(store, path).name == "a"
    scan_plain(store, models)
    assert names(store) == ["a"]


def test_an_unlinked_artifact_stays_unlinked(store: Registry, models: Path) -> None:
    write(models / "tiny-Q4_0.gguf")
    mlx = write_mlx_dir(models / "tiny-4bit")
    scan_plain(store, models)
    store.models.unlink("tiny", ArtifactFormat.MLX)
    write_mlx_dir(mlx, config={"max_position_embeddings": 4096})
    scan_plain(store, models)
    assert names(store) == ["tiny", "tiny-mlx"]
