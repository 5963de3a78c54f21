import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import registry.removal
from registry.discovery import ScanRoot, register_path, scan
from registry.errors import ArtifactError, ModelNotFoundError
from registry.removal import finish_removals, plan_removal, remove_artifacts, remove_model
from registry.store import Registry
from tests.registry.gguf_builder import Tensor, Value, build, llama_model, text
from tests.registry.mlx_builder import write_mlx_dir

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def store(tmp_path: Path, own: Path) -> Iterator[Registry]:
    with Registry.open(tmp_path / "registry.sqlite3") as opened:
        (own / "tiny-Q4_0.gguf").write_bytes(llama_model())
        write_mlx_dir(own / "tiny-4bit")
        scan(opened, [ScanRoot(path=own, is_owned=True)])
        assert [model.name for model in opened.list_models()] == ["tiny"]
        yield opened


def test_removes_own_files_and_tells_before_what_it_will_do(store: Registry, own: Path) -> None:
    model = store.get_model("tiny")
    plan = plan_removal(store, model.artifacts)
    assert len(plan.deleted) == 4
    assert plan.kept == ()
    assert plan.freed_bytes == sum(artifact.size_bytes for artifact in model.artifacts)
    assert remove_model(store, "tiny") == plan
    assert list(own.iterdir()) == []
    assert store.list_models() == ()
    assert scan(store, [ScanRoot(path=own, is_owned=True)]).added == ()
    with pytest.raises(ModelNotFoundError):
        remove_model(store, "tiny")


def test_removes_one_artifact_and_keeps_the_model(store: Registry, own: Path) -> None:
    model = store.get_model("tiny")
    remove_artifacts(store, model.artifacts[1:])
    assert store.get_model("tiny").engines == ("llamacpp",)
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
    first, second = (model.name for model in store.list_models() if "vision" in model.name)
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
        assert not store.get_model(name).artifacts[0].is_owned
        remove_model(store, name)
    assert (outside / "theirs.gguf").exists()
    assert (tmp_path / "their-mlx" / "config.json").exists()
    assert not register_path(store, own / "their-mlx", is_owned=True).artifacts[0].is_owned


def test_removing_from_the_hf_cache_deletes_a_blob_only_when_no_snapshot_needs_it(
    store: Registry, tmp_path: Path
) -> None:
    repository = tmp_path / "hub" / "models--o--hubbed"
    (repository / "blobs").mkdir(parents=True)
    blob = repository / "blobs" / ("1" * 40)
    blob.write_bytes(llama_model())
    links = []
    for commit in ("a" * 40, "b" * 40):
        link = repository / "snapshots" / commit / "hubbed.gguf"
        link.parent.mkdir(parents=True)
        link.symlink_to(f"../../blobs/{blob.name}")
        links.append(link)
    for link in links:
        assert blob.exists()
        register_path(store, link, name="hubbed")
        remove_model(store, "hubbed", is_deleting_foreign_files=True)
        assert not link.is_symlink()
    assert not blob.exists()


def test_what_the_user_put_into_the_folder_stays(store: Registry, own: Path) -> None:
    notes = own / "tiny-4bit" / "notes"
    notes.mkdir()
    remove_model(store, "tiny")
    assert notes.is_dir()


def test_a_file_that_is_gone_already_is_no_error(store: Registry, own: Path) -> None:
    (own / "tiny-Q4_0.gguf").unlink()
    remove_model(store, "tiny")
    assert store.list_models() == ()


def test_a_file_that_cannot_be_deleted_keeps_the_removal_open(
    store: Registry, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: object) -> None:
        raise ArtifactError("unreadable", "no")

    with monkeypatch.context() as patch:
        patch.setattr(registry.removal, "_delete", refuse)
        with pytest.raises(ArtifactError):
            remove_model(store, "tiny")
    assert store.list_models() == ()
    assert store.find_artifact(own / "tiny-Q4_0.gguf") is None
    assert len(store.pending_removals()) == 2
    scan(store, [ScanRoot(path=own, is_owned=True)])
    assert store.pending_removals() == ()
    assert list(own.iterdir()) == []


REMOVER = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(PROJECT)!r})
from registry.store import Registry
from registry.removal import remove_model
with Registry.open(sys.argv[1]) as store:
    for model in store.list_models():
        print(model.name, flush=True)
        remove_model(store, model.name)
"""


def test_rows_and_files_agree_after_a_kill_in_the_middle(tmp_path: Path) -> None:
    """SIGKILL at random moments of a long removal; the next scan ends what was begun."""
    rng = random.Random(20_261_121)
    for round_number in range(5):
        own = tmp_path / f"models-{round_number}"
        path = tmp_path / f"{round_number}.sqlite3"
        for index in range(12):
            write_mlx_dir(own / f"m{index}", extra={f"f{number}.txt": "" for number in range(5)})
        with Registry.open(path) as store:
            scan(store, [ScanRoot(path=own, is_owned=True)])
        remover = subprocess.Popen(
            [sys.executable, "-c", REMOVER, str(path)], stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert remover.stdout is not None
        for _ in range(rng.randrange(1, 12)):
            remover.stdout.readline()
        # Some work between the line and the signal, so that it hits another step each time.
        sum(range(rng.randrange(200_000)))
        remover.send_signal(signal.SIGKILL)
        remover.communicate()
        with Registry.open(path) as store:
            assert finish_removals(store) == ()
            on_disk = {folder.name for folder in own.iterdir()}
            assert {model.name for model in store.list_models()} == on_disk
            report = scan(store, [ScanRoot(path=own, is_owned=True)])
            assert (report.added, report.missing, report.failed) == ((), (), ())
            assert report.num_unchanged == len(on_disk)
