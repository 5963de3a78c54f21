"""The same bytes under several paths: one artifact. Found by links, by names that are checksums, by checksums."""

import os
from pathlib import Path

import pytest

from registry.catalogue import combined_sha256
from registry.checksums.hashing import hash_artifact, pending_hashes
from registry.checksums.sha256 import HashingStoppedError, hash_file
from registry.errors import ArtifactError
from registry.facts import ArtifactFormat
from registry.removing.removal import remove_model
from registry.scan import ScanRoot, register_path, scan
from registry.scan.watch import what_changed
from registry.settings import ModelSettings
from registry.store import Registry
from tests.registry.gguf_builder import llama_model
from tests.registry.mlx_builder import write_mlx_dir

DATA = llama_model()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def extra(tmp_path: Path) -> Path:
    folder = tmp_path / "extra"
    folder.mkdir()
    return folder


def look(store: Registry, *folders: Path) -> None:
    scan(store, [ScanRoot(path=folder, is_owned=folder.name == "models") for folder in folders])


def hash_all(store: Registry) -> None:
    for task in pending_hashes(store):
        hash_artifact(store, task)


def test_a_hard_link_is_a_copy_and_takes_over_when_the_first_path_is_gone(
    store: Registry, own: Path, extra: Path
) -> None:
    first, second = own / "tiny.gguf", extra / "other-name.gguf"
    first.write_bytes(DATA)
    os.link(first, second)
    look(store, own, extra)
    look(store, own, extra)
    (model,) = store.models.list()
    assert (model.artifacts[0].path, model.artifacts[0].copies) == (str(first), (str(second),))
    first.unlink()
    look(store, own, extra)
    (model,) = store.models.list()
    assert (model.name, model.artifacts[0].path, model.artifacts[0].copies) == ("tiny", str(second), ())
    assert (model.artifacts[0].status, model.artifacts[0].is_owned) == ("ok", False)
    second.unlink()
    look(store, own, extra)
    assert store.models.get("tiny").artifacts[0].status == "missing"


def test_a_known_path_stays_the_first_whatever_is_found_before_it(store: Registry, own: Path, extra: Path) -> None:
    known = extra / "tiny.gguf"
    known.write_bytes(DATA)
    look(store, extra)
    os.link(known, own / "a.gguf")
    look(store, own, extra)
    (model,) = store.models.list()
    assert (model.artifacts[0].path, model.artifacts[0].copies) == (str(known), (str(own / "a.gguf"),))


def test_a_copy_that_vanishes_or_becomes_something_else_is_one_no_more(store: Registry, own: Path, extra: Path) -> None:
    (own / "tiny.gguf").write_bytes(DATA)
    os.link(own / "tiny.gguf", extra / "tiny.gguf")
    look(store, own, extra)
    (extra / "tiny.gguf").unlink()
    look(store, own, extra)
    assert store.models.get("tiny").artifacts[0].copies == ()
    os.link(own / "tiny.gguf", extra / "tiny.gguf")
    look(store, own, extra)
    (extra / "tiny.gguf").unlink()
    (extra / "tiny.gguf").write_bytes(llama_model(llama__context_length=None) + b"\0")
    look(store, own, extra)
    assert [model.artifacts[0].copies for model in store.models.list()] == [(), ()]


def test_equal_files_become_one_model_once_their_checksums_are_known(store: Registry, own: Path, extra: Path) -> None:
    (own / "tiny.gguf").write_bytes(DATA)
    (extra / "tiny-by-another-name.gguf").write_bytes(DATA)
    look(store, own, extra)
    store.models.change_settings("tiny-by-another-name", {"temperature": 0.5, "engine": "llamacpp"})
    store.aliases.set("nickname", "tiny-by-another-name")
    assert len(store.models.list()) == 2
    hash_all(store)
    (model,) = store.models.list()
    assert model.name == "tiny"
    assert model.artifacts[0].copies == (str(extra / "tiny-by-another-name.gguf"),)
    assert model.artifacts[0].sha256 == hash_file(own / "tiny.gguf").sha256
    assert model.aliases == ("nickname", "tiny-by-another-name")
    assert (model.settings, model.engine) == (ModelSettings(temperature=0.5), "llamacpp")
    assert store.models.get("tiny-by-another-name").name == "tiny"
    look(store, own, extra)
    assert len(store.models.list()) == 1
    assert pending_hashes(store) == ()


def test_the_model_that_is_known_longest_keeps_its_name_and_gets_mlxrs_own_file(
    store: Registry, own: Path, extra: Path
) -> None:
    (extra / "older.gguf").write_bytes(DATA)
    look(store, own, extra)
    (own / "newer.gguf").write_bytes(DATA)
    look(store, own, extra)
    hash_all(store)
    (model,) = store.models.list()
    assert (model.name, model.aliases) == ("older", ("newer",))
    (artifact,) = model.artifacts
    assert (artifact.path, artifact.copies) == (str(own / "newer.gguf"), (str(extra / "older.gguf"),))
    assert artifact.is_owned
    assert pending_hashes(store) == ()
    look(store, own, extra)
    assert store.models.get("older").artifacts == (artifact,)
    assert remove_model(store, "older").deleted == (str(own / "newer.gguf"),)


def test_models_that_both_have_settings_stay_apart(store: Registry, own: Path, extra: Path) -> None:
    for folder, name in ((own, "a"), (extra, "b")):
        (folder / f"{name}.gguf").write_bytes(DATA)
        look(store, folder)
        store.models.change_settings(name, {"seed": len(name)})
    hash_all(store)
    assert [model.name for model in store.models.list()] == ["a", "b"]


def test_a_model_is_not_torn_apart_for_an_equal_file(store: Registry, own: Path, extra: Path) -> None:
    """Both names have an MLX form of their own: taking the GGUF from one would leave it without llama.cpp."""
    for folder, name in ((own, "a"), (extra, "b")):
        (folder / f"{name}.gguf").write_bytes(DATA)
        write_mlx_dir(folder / f"{name}-4bit", extra={"note.txt": name})
        look(store, folder)
    hash_all(store)
    assert [model.engines for model in store.models.list()] == [("llamacpp", "mlx")] * 2


def test_equal_folders_become_one_model(store: Registry, own: Path, extra: Path) -> None:
    for folder, name in ((own, "a"), (extra, "b")):
        write_mlx_dir(folder / name)
    look(store, own, extra)
    hash_all(store)
    (model,) = store.models.list()
    assert model.artifacts[0].copies == (str(extra / "b"),)
    assert model.artifacts[0].format is ArtifactFormat.MLX
    files = [hash_file(path) for path in (own / "a").iterdir()]
    assert model.artifacts[0].sha256 == combined_sha256(files)


def hub_with(folder: Path, data: bytes, sha256: str) -> Path:
    repository = folder / "models--o--hubbed"
    blob = repository / "blobs" / sha256
    blob.parent.mkdir(parents=True)
    blob.write_bytes(data)
    link = repository / "snapshots" / ("a" * 40) / "hubbed-Q4_0.gguf"
    link.parent.mkdir(parents=True)
    link.symlink_to(f"../../blobs/{blob.name}")
    return link


def test_a_blob_of_the_hf_cache_has_its_checksum_in_its_name(store: Registry, own: Path, tmp_path: Path) -> None:
    (own / "tiny.gguf").write_bytes(DATA)
    sha256 = hash_file(own / "tiny.gguf").sha256
    link = hub_with(tmp_path / "hub", DATA, sha256)
    look(store, own)
    hash_all(store)
    report = scan(store, [ScanRoot(path=tmp_path / "hub", layout="hf_cache")])
    assert report.copied == (str(link),)
    assert store.models.get("tiny").artifacts[0].copies == (str(link),)


def test_bytes_that_are_not_what_the_name_says_make_the_artifact_bad(store: Registry, tmp_path: Path) -> None:
    root = ScanRoot(path=tmp_path / "hub", layout="hf_cache")
    link = hub_with(tmp_path / "hub", DATA, "e" * 64)
    scan(store, [root])
    assert store.models.get("hubbed").artifacts[0].sha256 == "e" * 64
    hash_all(store)
    scan(store, [root])
    (artifact,) = store.models.get("hubbed").artifacts
    assert artifact.status == "bad"
    assert artifact.reason is not None
    assert "damaged" in artifact.reason
    assert pending_hashes(store) == ()
    assert link.exists()


def test_artifacts_of_one_size_are_hashed_first(store: Registry, own: Path) -> None:
    (own / "small.gguf").write_bytes(DATA)
    for name in ("x", "y"):
        (own / f"{name}.gguf").write_bytes(DATA + b"\0" * 64)
    look(store, own)
    order = [Path(task.files[0]).name for task in pending_hashes(store)]
    assert order == ["x.gguf", "y.gguf", "small.gguf"]


def test_a_changed_file_is_hashed_again(store: Registry, own: Path) -> None:
    (own / "tiny.gguf").write_bytes(DATA)
    look(store, own)
    hash_all(store)
    (own / "tiny.gguf").write_bytes(DATA + b"\0")
    look(store, own)
    assert store.models.get("tiny").artifacts[0].sha256 is None
    hash_all(store)
    assert store.models.get("tiny").artifacts[0].sha256 == hash_file(own / "tiny.gguf").sha256


def test_hashing_stops_when_asked_and_goes_on_later(store: Registry, own: Path) -> None:
    (own / "tiny.gguf").write_bytes(DATA)
    look(store, own)
    (task,) = pending_hashes(store)
    with pytest.raises(HashingStoppedError):
        hash_artifact(store, task, should_stop=lambda: True)
    assert pending_hashes(store) == (task,)


def test_a_file_that_is_written_to_while_it_is_hashed_has_no_checksum(own: Path) -> None:
    path = own / "tiny.gguf"
    path.write_bytes(DATA)

    def grow(_: int) -> None:
        path.write_bytes(DATA + b"x")

    with pytest.raises(ArtifactError) as caught:
        hash_file(path, on_progress=grow)
    assert caught.value.code == "changed"


def test_removing_takes_own_paths_and_leaves_the_users(store: Registry, own: Path, extra: Path) -> None:
    (own / "tiny.gguf").write_bytes(DATA)
    os.link(own / "tiny.gguf", extra / "tiny.gguf")
    look(store, own, extra)
    report = remove_model(store, "tiny")
    assert (report.deleted, report.kept) == ((str(own / "tiny.gguf"),), (str(extra / "tiny.gguf"),))
    assert report.freed_bytes == 0
    look(store, own, extra)
    assert store.models.list() == ()
    assert register_path(store, extra / "tiny.gguf").name == "tiny"


def test_a_copy_that_is_registered_under_a_name_of_its_own_gets_it(store: Registry, own: Path, extra: Path) -> None:
    (own / "tiny.gguf").write_bytes(DATA)
    os.link(own / "tiny.gguf", extra / "tiny.gguf")
    look(store, own, extra)
    assert register_path(store, extra / "tiny.gguf").name == "tiny"
    assert register_path(store, extra / "tiny.gguf", name="mine").name == "mine"
    look(store, own, extra)
    assert [model.name for model in store.models.list()] == ["mine", "tiny"]


def test_a_registered_path_outside_the_roots_is_followed(store: Registry, own: Path, extra: Path) -> None:
    path = extra / "mine.gguf"
    path.write_bytes(DATA)
    write_mlx_dir(extra / "other-mlx")
    register_path(store, path)
    register_path(store, extra / "other-mlx")
    path.write_bytes(DATA + b"\0")
    (extra / "other-mlx" / "note.txt").write_text("more")
    (extra / "other-mlx" / "config.json").touch()
    report = scan(store, [ScanRoot(path=own, is_owned=True)])
    assert set(report.updated) == {str(path), str(extra / "other-mlx")}
    assert what_changed(store.models.get("mine").artifacts[0]) is None
    assert what_changed(store.models.get("other").artifacts[0]) is None
    path.rename(extra / "away")
    assert scan(store, [ScanRoot(path=own, is_owned=True)]).missing == (str(path),)
    (extra / "away").rename(path)
    assert scan(store, [ScanRoot(path=own, is_owned=True)]).updated == (str(path),)
    path.write_bytes(b"broken")
    assert len(scan(store, [ScanRoot(path=own, is_owned=True)]).failed) == 1
    assert store.models.get("mine").artifacts[0].status == "bad"


def test_a_copy_outside_the_roots_that_becomes_something_else_is_forgotten(
    store: Registry, own: Path, extra: Path
) -> None:
    (own / "tiny.gguf").write_bytes(DATA)
    os.link(own / "tiny.gguf", extra / "tiny.gguf")
    look(store, own, extra)
    (extra / "tiny.gguf").unlink()
    (extra / "tiny.gguf").write_bytes(DATA + b"\0")
    look(store, own)
    assert store.models.get("tiny").artifacts[0].copies == ()


def test_lm_studios_folders_give_publisher_and_name(store: Registry, tmp_path: Path) -> None:
    root = tmp_path / "lm"
    for publisher in ("first", "second"):
        path = root / publisher / "Tiny-GGUF" / "model.gguf"
        path.parent.mkdir(parents=True)
        path.write_bytes(llama_model() if publisher == "first" else llama_model(llama__embedding_length=None) + b"\0")
    write_mlx_dir(root / "first" / "Tiny-4bit")
    (root / "stray.gguf").write_bytes(DATA)
    report = scan(store, [ScanRoot(path=root, layout="lm_studio"), ScanRoot(path=root / "no", layout="lm_studio")])
    assert report.failed == ()
    assert [model.name for model in store.models.list()] == ["second/tiny", "tiny"]
    assert store.models.get("tiny").engines == ("llamacpp", "mlx")
    assert store.models.get("tiny").artifacts[0].layout == "lm_studio"
