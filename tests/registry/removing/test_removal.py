import random
from collections.abc import Iterator
from pathlib import Path

import pytest

import registry.removing.removal
from registry.catalogue import Deletion
from registry.errors import ArtifactError, ModelNotFoundError
from registry.places.ollama import blobs_in_use
from registry.removing.plan import plan
from registry.removing.removal import finish_removals, plan_removal, remove_artifacts, remove_model
from registry.scan import ScanRoot, register_path, scan
from registry.store import Registry
from tests.registry.gguf_builder import Tensor, Value, build, llama_model, text
from tests.registry.mlx_builder import write_mlx_dir
from tests.registry.ollama_builder import put_model
from tests.registry.remover import killed_at, spread, steps_of

pytestmark = pytest.mark.slow


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def store(tmp_path: Path, own: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "registry.sqlite3") as opened:
        (own / "tiny-Q4_0.gguf").write_bytes(llama_model())
        write_mlx_dir(own / "tiny-4bit")
        scan(opened, [ScanRoot(path=own, is_owned=True)])
        assert [model.name for model in opened.models.list()] == ["tiny"]
        yield opened


def test_removes_own_files_and_tells_before_what_it_will_do(store: Registry, own: Path) -> None:
    model = store.models.get("tiny")
    plan = plan_removal(store, model.artifacts)
    assert len(plan.deleted) == 4
    assert plan.kept == ()
    assert plan.freed_bytes == sum(artifact.size_bytes for artifact in model.artifacts)
    assert remove_model(store, "tiny") == plan
    assert list(own.iterdir()) == []
    assert store.models.list() == ()
    assert scan(store, [ScanRoot(path=own, is_owned=True)]).added == ()
    with pytest.raises(ModelNotFoundError):
        remove_model(store, "tiny")


def test_removes_one_artifact_and_keeps_the_model(store: Registry, own: Path) -> None:
    model = store.models.get("tiny")
    remove_artifacts(store, model.artifacts[1:])
    assert store.models.get("tiny").engines == ("llamacpp",)
    assert [path.name for path in own.iterdir()] == ["tiny-Q4_0.gguf"]


def test_files_elsewhere_stay_unless_they_are_asked_for(store: Registry, tmp_path: Path) -> None:
    path = tmp_path / "elsewhere.gguf"
    path.write_bytes(llama_model())
    register_path(store, path, name="mine")
    report = remove_model(store, "mine")
    assert (report.deleted, report.kept, report.freed_bytes) == ((), (str(path),), 0)
    assert path.exists()
    register_path(store, path, name="mine")
    assert remove_model(store, "mine", is_deleting_foreign_files=True).deleted == (str(path),)
    assert not path.exists()


def test_a_file_that_another_artifact_needs_stays(store: Registry, own: Path) -> None:
    folder = own / "v"
    folder.mkdir()
    projector = folder / "mmproj-f16.gguf"
    projector.write_bytes(build({"general.architecture": text("clip"), "clip.x": Value(7, 1)}, [Tensor()]))
    for label in ("Q4_0", "Q8_0"):
        (folder / f"vision-{label}.gguf").write_bytes(llama_model())
    scan(store, [ScanRoot(path=own, is_owned=True)])
    first, second = (model.name for model in store.models.list() if "vision" in model.name)
    assert str(projector) in remove_model(store, first).kept
    assert projector.exists()
    assert str(projector) in remove_model(store, second).deleted
    assert not projector.exists()


def test_a_link_in_the_own_folder_is_deleted_not_its_target(store: Registry, own: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.gguf"
    target.write_bytes(llama_model())
    (own / "linked.gguf").symlink_to(target)
    scan(store, [ScanRoot(path=own, is_owned=True)])
    remove_model(store, "linked")
    assert not (own / "linked.gguf").is_symlink()
    assert target.exists()


def test_files_behind_a_linked_folder_are_not_mlxrs_to_delete(store: Registry, own: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "theirs.gguf").write_bytes(llama_model())
    write_mlx_dir(tmp_path / "their-mlx")
    (own / "link").symlink_to(outside, target_is_directory=True)
    (own / "their-mlx").symlink_to(tmp_path / "their-mlx", target_is_directory=True)
    scan(store, [ScanRoot(path=own, is_owned=True)])
    for name in ("theirs", "their"):
        assert not store.models.get(name).artifacts[0].is_owned
        remove_model(store, name)
    assert (outside / "theirs.gguf").exists()
    assert (tmp_path / "their-mlx" / "config.json").exists()
    assert not register_path(store, own / "their-mlx", is_owned=True).artifacts[0].is_owned


def test_what_finder_left_in_the_folder_goes_with_it(store: Registry, own: Path) -> None:
    for name in (".DS_Store", "._config.json"):
        (own / "tiny-4bit" / name).write_bytes(b"Bud1")
    remove_model(store, "tiny")
    assert list(own.iterdir()) == []


def test_what_the_user_put_into_the_folder_stays(store: Registry, own: Path) -> None:
    notes = own / "tiny-4bit" / "notes"
    notes.mkdir()
    (notes.parent / ".DS_Store").write_bytes(b"Bud1")
    remove_model(store, "tiny")
    assert notes.is_dir()


def test_a_file_that_is_gone_already_is_no_error(store: Registry, own: Path) -> None:
    (own / "tiny-Q4_0.gguf").unlink()
    remove_model(store, "tiny")
    assert store.models.list() == ()


def test_a_file_that_cannot_be_deleted_keeps_the_removal_open(
    store: Registry, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise ArtifactError("unreadable", "no")

    with monkeypatch.context() as patch:
        patch.setattr(registry.removing.removal, "_delete", refuse)
        with pytest.raises(ArtifactError):
            remove_model(store, "tiny")
    assert store.models.list() == ()
    assert store.artifacts.find(own / "tiny-Q4_0.gguf") is None
    assert len(store.removals.pending()) == 2
    scan(store, [ScanRoot(path=own, is_owned=True)])
    assert store.removals.pending() == ()
    assert list(own.iterdir()) == []


def test_a_folder_that_became_a_link_to_elsewhere_is_not_followed(store: Registry, own: Path, tmp_path: Path) -> None:
    folder, outside = own / "sub", tmp_path / "outside"
    folder.mkdir()
    (folder / "inner.gguf").write_bytes(llama_model(llama__context_length=None) + b"\0")
    scan(store, [ScanRoot(path=own, is_owned=True)])
    artifacts = store.models.get("inner").artifacts
    folder.rename(outside)
    folder.symlink_to(outside, target_is_directory=True)
    assert plan_removal(store, artifacts).deleted == ()
    for artifact in artifacts:
        store.removals.begin(artifact.id, [Deletion(artifact.path, "plain", str(own))])
    assert finish_removals(store) == ()
    assert (outside / "inner.gguf").exists()
    assert "inner" not in {model.name for model in store.models.list()}


def test_a_removal_that_an_older_version_began_is_ended(store: Registry, own: Path) -> None:
    with store.write():
        store.rows("UPDATE artifacts SET removal = 'delete', removal_files = NULL")
    scan(store, [ScanRoot(path=own, is_owned=True)])
    assert store.models.list() == ()
    assert list(own.iterdir()) == []


def test_rows_and_files_agree_after_a_kill_in_the_middle_of_a_removal(tmp_path: Path) -> None:
    def make(name: str) -> tuple[Path, Path]:
        own, path = tmp_path / f"models-{name}", tmp_path / f"{name}.sqlite3"
        for index in range(4):
            write_mlx_dir(own / f"m{index}", extra={f"f{file}.txt": "" for file in range(4)})
        with Registry(path) as store:
            scan(store, [ScanRoot(path=own, is_owned=True)])
        return own, path

    steps = steps_of(str(make("whole")[1]))
    num_cut = 0
    for step in spread(steps, 16):
        own, path = make(str(step))
        killed_at(step, str(path))
        with Registry(path) as store:
            num_cut += len(store.removals.pending())
            assert finish_removals(store) == ()
            on_disk = {folder.name for folder in own.iterdir()}
            assert {model.name for model in store.models.list()} == on_disk
            report = scan(store, [ScanRoot(path=own, is_owned=True)])
            assert (report.added, report.missing, report.failed) == ((), (), ())
            assert report.num_unchanged == len(on_disk)
    assert num_cut > 4, "some hit the middle of one"


def test_of_ollamas_store_nothing_is_left_half_after_a_kill(tmp_path: Path) -> None:
    rng = random.Random(5)
    for number in range(10):
        folder, path = tmp_path / f"ollama-{number}", tmp_path / f"{number}.sqlite3"
        for index in range(3):
            put_model(folder, f"m{index}:1b", llama_model() + b"\0" * index, extra=b"shared")
        root = ScanRoot(path=folder, layout="ollama")
        with Registry(path) as store:
            scan(store, [root])
            model = store.models.get("m1:1b")
            (planned,) = plan(store, model.artifacts, is_deleting_foreign_files=True)
            store.removals.begin(planned.artifact_id, planned.deletions)
            for deletion in planned.deletions[: rng.randrange(len(planned.deletions) + 1)]:
                Path(deletion.path).unlink()
        with Registry(path) as store:
            scan(store, [root])
            assert [model.name for model in store.models.list()] == ["m0:1b", "m2:1b"]
        in_use = blobs_in_use(folder)
        assert in_use is not None
        assert {blob.name for blob in (folder / "blobs").iterdir()} == set(in_use)


def test_rows_and_files_agree_after_a_kill_in_the_middle_of_a_scan(tmp_path: Path) -> None:
    own = tmp_path / "models"
    own.mkdir()
    for index in range(60):
        (own / f"m{index}.gguf").write_bytes(llama_model())
    steps = steps_of(str(tmp_path / "whole.sqlite3"), str(own))
    for step in (*spread(steps, 8), len(steps) - 1):
        path = tmp_path / f"{step}.sqlite3"
        killed_at(step, str(path), str(own))
        with Registry(path) as store:
            assert store.models.list() == (), "a scan is one transaction, and its last step the commit"
            report = scan(store, [ScanRoot(path=own, is_owned=True)])
            assert (len(report.added), report.num_unchanged) == (60, 0)
            assert (report.updated, report.missing, report.failed) == ((), (), ())
            assert len(store.models.list()) == 60
