import json
from pathlib import Path
from typing import Any

import pytest

from registry.places.ollama import MAX_MANIFEST_BYTES
from registry.removing.removal import plan_removal, remove_model
from registry.scan import ScanReport, ScanRoot, scan
from registry.settings import ModelSettings
from registry.store import Registry
from tests.registry.gguf_builder import Tensor, Value, build, llama_model, text
from tests.registry.ollama_builder import HOST, blob_path, layer, put_blob, put_manifest, put_model

DATA = llama_model()
OTHER = llama_model(general__name=text("another"))


@pytest.fixture
def ollama(tmp_path: Path) -> Path:
    folder = tmp_path / "ollama" / "models"
    folder.mkdir(parents=True)
    return folder


def look(store: Registry, folder: Path) -> ScanReport:
    return scan(store, [ScanRoot(path=folder, layout="ollama")])


def test_names_are_kept_and_the_blob_is_served_where_it_lies(store: Registry, ollama: Path) -> None:
    put_model(ollama, "smol:135m-instruct-Q4_0", DATA)
    put_model(ollama, "mine:latest", OTHER, namespace="Somebody")
    report = look(store, ollama)
    assert len(report.added) == 2
    assert [model.name for model in store.models.list()] == ["smol:135m-instruct-q4_0", "somebody/mine:latest"]
    (artifact,) = store.models.get("smol:135m-instruct-q4_0").artifacts
    assert artifact.path == str(blob_path(ollama, DATA))
    assert (artifact.status, artifact.is_owned, artifact.layout) == ("ok", False, "ollama")
    assert artifact.sha256 == Path(artifact.path).name.removeprefix("sha256-")
    assert look(store, ollama).num_unchanged == 2


def test_a_name_without_a_tag_means_latest(store: Registry, ollama: Path) -> None:
    put_model(ollama, "smol:latest", DATA)
    look(store, ollama)
    assert store.models.get("smol").name == "smol:latest"


def test_two_tags_of_one_blob_are_one_model_with_two_names(store: Registry, ollama: Path) -> None:
    put_model(ollama, "smol:135m", DATA)
    put_model(ollama, "smol:latest", DATA)
    look(store, ollama)
    (model,) = store.models.list()
    assert (model.name, model.aliases) == ("smol:latest", ("smol:135m",))
    (ollama / "manifests" / HOST / "library" / "smol" / "135m").unlink()
    look(store, ollama)
    assert store.models.get("smol").aliases == ()


def test_a_tag_that_is_pulled_anew_keeps_its_settings(store: Registry, ollama: Path) -> None:
    put_model(ollama, "smol:latest", DATA)
    put_model(ollama, "smol:135m", DATA)
    look(store, ollama)
    store.models.change_settings("smol", {"temperature": 0.5})
    put_model(ollama, "smol:latest", OTHER)
    look(store, ollama)
    look(store, ollama)
    assert store.models.get("smol:latest").artifacts[0].path == str(blob_path(ollama, OTHER))
    assert store.models.get("smol:latest").settings == ModelSettings(temperature=0.5)
    assert store.models.get("smol:135m").artifacts[0].path == str(blob_path(ollama, DATA))


def test_tags_that_change_places_end_in_the_right_places(store: Registry, ollama: Path) -> None:
    put_model(ollama, "a:1", DATA)
    put_model(ollama, "a:2", OTHER)
    look(store, ollama)
    put_model(ollama, "a:1", OTHER)
    put_model(ollama, "a:2", DATA)
    look(store, ollama)
    look(store, ollama)
    assert store.models.get("a:1").artifacts[0].path == str(blob_path(ollama, OTHER))
    assert store.models.get("a:2").artifacts[0].path == str(blob_path(ollama, DATA))
    assert {model.artifacts[0].status for model in store.models.list()} == {"ok"}


def test_the_projector_that_the_manifest_names_belongs_to_the_model(store: Registry, ollama: Path) -> None:
    projector = build({"general.architecture": text("clip"), "clip.x": Value(7, 1)}, [Tensor()])
    put_manifest(ollama, "eye:1b", [layer(ollama, DATA, "model"), layer(ollama, projector, "projector")])
    look(store, ollama)
    assert store.models.get("eye:1b").artifacts[0].mmproj_path == str(blob_path(ollama, projector))
    assert look(store, ollama).updated == ()


def test_the_same_bytes_in_mlxrs_folder_are_one_artifact(store: Registry, ollama: Path, tmp_path: Path) -> None:
    own = tmp_path / "models"
    own.mkdir()
    put_model(ollama, "smol:135m", DATA)
    look(store, ollama)
    (own / "smol.gguf").symlink_to(blob_path(ollama, DATA))
    report = scan(store, [ScanRoot(path=own, is_owned=True), ScanRoot(path=ollama, layout="ollama")])
    assert report.copied == (str(own / "smol.gguf"),)
    (model,) = store.models.list()
    assert model.name == "smol:135m"
    assert model.artifacts[0].copies == (str(own / "smol.gguf"),)


MODEL_LAYER = {"mediaType": "application/vnd.ollama.image.model", "size": len(DATA)}
HOSTILE: dict[str, Any] = {
    "no json": b"{",
    "no object": b"[]",
    "deep": b"[" * 100_000,
    "layers of another type": {"layers": 7},
    "too large": b"{" + b" " * MAX_MANIFEST_BYTES + b"}",
    "a path as digest": {"layers": [MODEL_LAYER | {"digest": "sha256:../../../../etc/passwd"}]},
    "a path behind a digest": {"layers": [MODEL_LAYER | {"digest": "sha256:" + "a" * 64 + "/../x"}]},
    "a short digest": {"layers": [MODEL_LAYER | {"digest": "sha256:" + "a" * 63}]},
    "another algorithm": {"layers": [MODEL_LAYER | {"digest": "md5:" + "a" * 32}]},
    "upper case": {"layers": [MODEL_LAYER | {"digest": "sha256:" + "A" * 64}]},
    "a negative size": {"layers": [MODEL_LAYER | {"digest": "sha256:" + "a" * 64, "size": -5}]},
    "a huge size": {"layers": [MODEL_LAYER | {"digest": "sha256:" + "a" * 64, "size": 1 << 80}]},
    "an absent blob": {"layers": [MODEL_LAYER | {"digest": "sha256:" + "a" * 64}]},
    "many layers": {"layers": [{"mediaType": "x", "digest": "sha256:" + "a" * 64, "size": 1}] * 1000},
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_manifest_is_a_failure_and_hides_nothing_else(store: Registry, ollama: Path, case: str) -> None:
    put_model(ollama, "good:1b", OTHER)
    content = HOSTILE[case]
    bad = ollama / "manifests" / HOST / "library" / "bad" / "1b"
    bad.parent.mkdir(parents=True)
    bad.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    report = look(store, ollama)
    assert [model.name for model in store.models.list()] == ["good:1b"]
    assert len(report.failed) == 1
    assert look(store, ollama).failed == report.failed


def test_a_size_that_is_not_the_blobs_is_a_failure(store: Registry, ollama: Path) -> None:
    put_manifest(ollama, "bad:1b", [layer(ollama, DATA, "model", size=len(DATA) - 1)])
    (failure,) = look(store, ollama).failed
    assert failure.code == "wrong_size"
    assert store.models.list() == ()


@pytest.mark.parametrize(
    ("layers", "code"),
    [
        ([("model", b"not a GGUF file at all, but long enough")], "bad_magic"),
        ([("model", DATA), ("model", OTHER)], "several_weights"),
        ([("model", DATA), ("adapter", b"a")], "has_adapter"),
        ([("template", b"a")], "no_weights"),
    ],
)
def test_what_is_more_or_less_than_one_gguf_is_no_model(
    store: Registry, ollama: Path, layers: list[tuple[str, bytes]], code: str
) -> None:
    put_manifest(ollama, "x:1b", [layer(ollama, data, kind) for kind, data in layers])
    report = look(store, ollama)
    assert [item.code for item in report.skipped] == [code]
    assert (report.failed, store.models.list()) == ((), ())


def test_odd_entries_among_the_manifests_are_passed_over(store: Registry, ollama: Path) -> None:
    manifest = put_model(ollama, "good:1b", DATA)
    (manifest.parent / ".DS_Store").write_text("x")
    (manifest.parent / "link").symlink_to(manifest)
    (manifest.parent / "loop").symlink_to(ollama, target_is_directory=True)
    (ollama / "manifests" / "file").write_text("x")
    report = look(store, ollama)
    assert (len(report.added), report.failed) == (1, ())


def test_a_name_that_breaks_the_grammar_is_a_failure(store: Registry, ollama: Path) -> None:
    put_model(ollama, "_:1b", DATA)
    assert [item.code for item in look(store, ollama).failed] == ["bad_manifest"]


def test_an_absent_store_is_no_failure(store: Registry, tmp_path: Path) -> None:
    assert look(store, tmp_path / "nowhere").failed == ()


def test_removing_leaves_the_store_alone_unless_asked(store: Registry, ollama: Path) -> None:
    manifest = put_model(ollama, "smol:135m", DATA)
    look(store, ollama)
    report = remove_model(store, "smol:135m")
    assert (report.deleted, report.freed_bytes) == ((), 0)
    assert manifest.exists()
    assert blob_path(ollama, DATA).exists()
    assert look(store, ollama).added == ()


def test_removing_with_files_takes_the_names_and_what_no_other_name_needs(store: Registry, ollama: Path) -> None:
    shared = b"a template that others have, too"
    gone = [put_model(ollama, name, DATA, extra=shared) for name in ("smol:135m", "smol:latest")]
    stays = put_model(ollama, "other:1b", OTHER, extra=shared)
    look(store, ollama)
    model = store.models.get("smol")
    plan = plan_removal(store, model.artifacts, is_deleting_foreign_files=True)
    assert remove_model(store, "smol", is_deleting_foreign_files=True) == plan
    assert [path.exists() for path in gone] == [False, False]
    assert not blob_path(ollama, DATA).exists()
    assert blob_path(ollama, shared).exists()
    assert stays.exists()
    assert blob_path(ollama, OTHER).exists()
    assert len(list((ollama / "blobs").iterdir())) == 3
    assert [model.name for model in store.models.list()] == ["other:1b"]
    assert look(store, ollama).added == ()


def test_no_blob_goes_while_a_manifest_cannot_be_read(store: Registry, ollama: Path) -> None:
    manifest = put_model(ollama, "smol:135m", DATA)
    look(store, ollama)
    (manifest.parent / "broken").write_text("{")
    report = remove_model(store, "smol:135m", is_deleting_foreign_files=True)
    assert report.deleted == ()
    assert blob_path(ollama, DATA).exists()


def test_a_name_that_was_pulled_anew_between_plan_and_deletion_stays(store: Registry, ollama: Path) -> None:
    manifest = put_model(ollama, "smol:135m", DATA)
    look(store, ollama)
    (artifact,) = store.models.get("smol:135m").artifacts
    from registry.removing.plan import plan
    from registry.removing.removal import finish_removals

    (planned,) = plan(store, [artifact], is_deleting_foreign_files=True)
    store.removals.begin(planned.artifact_id, planned.deletions)
    put_model(ollama, "smol:135m", OTHER)
    put_model(ollama, "again:1b", DATA)
    assert finish_removals(store) == ()
    assert manifest.exists()
    assert blob_path(ollama, DATA).exists()


def test_a_blob_is_not_followed_out_of_a_digest(store: Registry, ollama: Path) -> None:
    digest = put_blob(ollama, DATA)
    put_manifest(ollama, "x:1b", [{"mediaType": MODEL_LAYER["mediaType"], "digest": digest + "x", "size": len(DATA)}])
    assert store.models.list() == ()
    assert [item.code for item in look(store, ollama).failed] == ["bad_manifest"]
