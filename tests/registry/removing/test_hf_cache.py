"""Removing from the Hugging Face cache: what goes, in which order, what stays, and kills in between."""

import os
import time
from pathlib import Path

import pytest

from registry.checksums.hashing import hash_artifact, pending_hashes
from registry.removing.plan import plan
from registry.removing.removal import finish_removals, plan_removal, remove_model
from registry.scan import ScanRoot, register_path, scan
from registry.store import Registry
from tests.registry.gguf_builder import llama_model
from tests.registry.mlx_builder import write_mlx_dir
from tests.registry.remover import killed_at, spread, steps_of

pytestmark = pytest.mark.slow

OLD, NEW = "a" * 40, "b" * 40


@pytest.fixture
def own(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


class Repository:
    """A repository in a cache, as huggingface_hub lays it out."""

    def __init__(self, hub: Path, name: str = "models--o--hubbed") -> None:
        self.hub = hub
        self.path = hub / name

    def put(self, commit: str, file: str, data: bytes = b"{}", *, ref: str | None = "main") -> Path:
        """Put a file's blob, its link and the ref; return the link."""
        blob = self.path / "blobs" / f"{hash(data) & (1 << 160) - 1:040x}"
        link = self.path / "snapshots" / commit / file
        for folder in (blob.parent, link.parent):
            folder.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        link.symlink_to(os.path.relpath(blob, link.parent))
        if ref is not None:
            self.put_text(f"refs/{ref}", commit)
        return link

    def put_text(self, name: str, text: str) -> None:
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        (self.path / name).write_text(text)

    def put_folder(self, commit: str, source: Path) -> None:
        """Put an MLX folder's files."""
        for path in sorted(source.iterdir()):
            self.put(commit, path.name, path.read_bytes())

    @property
    def root(self) -> ScanRoot:
        return ScanRoot(path=self.hub, layout="hf_cache")

    def files(self) -> set[str]:
        """All that is left, relative to the repository."""
        return {str(path.relative_to(self.path)) for path in self.path.rglob("*")}


@pytest.fixture
def cached(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "hub")


def test_of_the_last_snapshot_nothing_is_left(store: Registry, cached: Repository) -> None:
    link = cached.put(NEW, "sub/hubbed.gguf", llama_model())
    cached.put_text("refs/pr/3", NEW)
    cached.put_text(f".no_exist/{NEW}/adapter_config.json", "")
    scan(store, [cached.root])
    planned = plan_removal(store, store.models.get("hubbed").artifacts, is_deleting_foreign_files=True)
    assert cached.files(), "planning changed nothing"
    report = remove_model(store, "hubbed", is_deleting_foreign_files=True)
    assert report == planned
    assert report.deleted[0] == str(link)
    assert report.freed_bytes == len(llama_model()) + 2 * len(NEW)
    assert not cached.path.exists()
    assert cached.hub.is_dir()
    assert scan(store, [cached.root]).added == ()


def test_without_being_asked_for_nothing_of_the_cache_goes(store: Registry, cached: Repository) -> None:
    cached.put(NEW, "hubbed.gguf", llama_model())
    before = cached.files()
    scan(store, [cached.root])
    assert remove_model(store, "hubbed").deleted == ()
    assert cached.files() == before


def test_a_snapshot_with_another_file_stays_with_its_ref(store: Registry, cached: Repository) -> None:
    cached.put(NEW, "hubbed.gguf", llama_model())
    cached.put(NEW, "README.md", b"# read me")
    cached.put_text(f".no_exist/{NEW}/config.json", "")
    scan(store, [cached.root])
    remove_model(store, "hubbed", is_deleting_foreign_files=True)
    assert {path for path in cached.files() if path.endswith((".gguf", ".md", "main", "config.json"))} == {
        f"snapshots/{NEW}/README.md",
        f".no_exist/{NEW}/config.json",
        "refs/main",
    }
    assert len(list((cached.path / "blobs").iterdir())) == 1


def test_an_older_snapshot_stays_with_the_blobs_that_it_needs(store: Registry, cached: Repository) -> None:
    old = cached.put(OLD, "hubbed.gguf", llama_model(), ref="v1")
    cached.put(NEW, "hubbed.gguf", llama_model())
    scan(store, [cached.root])
    remove_model(store, "hubbed", is_deleting_foreign_files=True)
    assert old.exists()
    assert cached.files() & {"refs/main", "refs/v1", f"snapshots/{NEW}", f"snapshots/{OLD}"} == {
        "refs/v1",
        f"snapshots/{OLD}",
    }
    # The cache's newest snapshot is the old one now: it is found, and goes as well.
    scan(store, [cached.root])
    remove_model(store, "hubbed", is_deleting_foreign_files=True)
    assert not cached.path.exists()


def test_two_snapshots_of_one_artifact_go_with_their_blob(store: Registry, cached: Repository) -> None:
    links = [cached.put(commit, "hubbed.gguf", llama_model(), ref=commit[0]) for commit in (OLD, NEW)]
    for link in links:
        register_path(store, link)
    for task in pending_hashes(store):
        hash_artifact(store, task)
    (artifact,) = store.models.get("hubbed").artifacts
    assert artifact.copies == (str(links[1]),)
    remove_model(store, "hubbed", is_deleting_foreign_files=True)
    assert not cached.path.exists()


def test_a_snapshot_that_is_a_model_goes_with_what_lies_beside_its_weights(
    store: Registry, cached: Repository, tmp_path: Path
) -> None:
    write_mlx_dir(tmp_path / "mlx")
    cached.put_folder(NEW, tmp_path / "mlx")
    cached.put(NEW, "README.md", b"# read me")
    cached.put(NEW, ".gitattributes", b"*.safetensors filter=lfs")
    scan(store, [cached.root])
    (name,) = (model.name for model in store.models.list())
    remove_model(store, name, is_deleting_foreign_files=True)
    assert not cached.path.exists()


def test_folders_below_a_snapshot_that_is_a_model_stay(store: Registry, cached: Repository, tmp_path: Path) -> None:
    write_mlx_dir(tmp_path / "mlx")
    cached.put_folder(NEW, tmp_path / "mlx")
    weights = cached.put(NEW, "original/consolidated.pth", b"other weights")
    scan(store, [cached.root])
    (name,) = (model.name for model in store.models.list())
    remove_model(store, name, is_deleting_foreign_files=True)
    assert weights.exists()
    assert [path.name for path in weights.parent.parent.iterdir()] == ["original"]
    assert (cached.path / "refs" / "main").exists()


def test_a_ref_that_moved_on_in_between_stays(store: Registry, cached: Repository) -> None:
    cached.put(NEW, "hubbed.gguf", llama_model())
    scan(store, [cached.root])
    (planned,) = plan(store, store.models.get("hubbed").artifacts, is_deleting_foreign_files=True)
    store.removals.begin(planned.artifact_id, planned.deletions)
    cached.put(OLD, "README.md", b"new", ref="main")  # Another tool downloads meanwhile.
    assert finish_removals(store) == ()
    assert cached.files() >= {"refs/main", f"snapshots/{OLD}/README.md"}
    assert not (cached.path / "snapshots" / NEW).exists()


def test_stopped_after_each_step_it_is_ended_by_the_next_scan(store: Registry, cached: Repository) -> None:
    num_steps = 1
    step = 0
    while step < num_steps:
        cached.put(NEW, "sub/hubbed.gguf", llama_model())
        cached.put_text(f".no_exist/{NEW}/x.json", "")
        register_path(store, cached.path / "snapshots" / NEW / "sub" / "hubbed.gguf", name="hubbed")
        (planned,) = plan(store, store.models.get("hubbed").artifacts, is_deleting_foreign_files=True)
        num_steps = len(planned.deletions)
        store.removals.begin(planned.artifact_id, planned.deletions)
        for deletion in planned.deletions[:step]:
            path = Path(deletion.path)
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        scan(store, [cached.root])
        assert store.removals.pending() == ()
        assert store.models.list() == ()
        assert not cached.path.exists()
        step += 1
    assert num_steps > 8


def test_rows_and_cache_agree_after_a_kill_in_the_middle(tmp_path: Path) -> None:
    write_mlx_dir(tmp_path / "mlx", extra={f"f{file}.txt": str(file) for file in range(4)})

    def make(name: str) -> tuple[Path, Path]:
        hub, path = tmp_path / f"hub-{name}", tmp_path / f"{name}.sqlite3"
        for index in range(4):
            repository = Repository(hub, f"models--o--m{index}")
            repository.put_folder(NEW, tmp_path / "mlx")
            repository.put(NEW, "marker.json", str(index).encode())
            repository.put(OLD, f"m{index}.gguf", llama_model() + bytes(index), ref=None)
        with Registry(path) as store:
            scan(store, [ScanRoot(path=hub, layout="hf_cache")])
        return hub, path

    steps = steps_of(str(make("whole")[1]))
    num_cut = 0
    for step in spread(steps, 16):
        hub, path = make(str(step))
        killed_at(step, str(path))
        with Registry(path) as store:
            num_cut += len(store.removals.pending())
            assert finish_removals(store) == ()
            models = {artifact.path for model in store.models.list() for artifact in model.artifacts}
            for snapshot in hub.glob(f"models--*/snapshots/{NEW}"):
                assert str(snapshot) in models
                assert all(link.exists() for link in snapshot.iterdir())
            for old in hub.glob(f"models--*/snapshots/{OLD}/*"):
                assert old.exists(), "a snapshot that nobody removed has all its blobs"
            assert len(list(hub.glob(f"models--*/snapshots/{OLD}/*"))) == 4
            assert {ref.parent.parent for ref in hub.glob("*/refs/main")} == {
                snapshot.parent.parent for snapshot in hub.glob(f"*/snapshots/{NEW}")
            }
    assert num_cut > 4, "some hit the middle of one"


def hf_link(hub: Path, commit: str, blob: Path) -> Path:
    link = hub / "models--o--hubbed" / "snapshots" / commit / "hubbed.gguf"
    link.parent.mkdir(parents=True)
    link.symlink_to(f"../../blobs/{blob.name}")
    return link


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


def test_of_the_hf_cache_the_link_goes_and_the_blob_unless_another_snapshot_has_it(
    store: Registry, tmp_path: Path
) -> None:
    hub = tmp_path / "hub"
    blob = hub / "models--o--hubbed" / "blobs" / ("1" * 64)
    blob.parent.mkdir(parents=True)
    blob.write_bytes(llama_model())
    old, new = hf_link(hub, "a" * 40, blob), hf_link(hub, "b" * 40, blob)
    os.utime(new.parent, ns=(1, time.time_ns() + 10**12))
    root = ScanRoot(path=hub, layout="hf_cache")
    scan(store, [root])
    assert remove_model(store, "hubbed").deleted == ()
    register_path(store, new)
    assert remove_model(store, "hubbed", is_deleting_foreign_files=True).deleted == (str(new),)
    assert blob.exists()
    scan(store, [root])
    register_path(store, old, name="hubbed")
    report = remove_model(store, "hubbed", is_deleting_foreign_files=True)
    assert report.deleted == (str(old), str(blob))
    assert report.freed_bytes == len(llama_model())
    assert not blob.exists()


def test_a_blob_that_a_link_elsewhere_needs_stays(store: Registry, own: Path, tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    blob = hub / "models--o--hubbed" / "blobs" / ("1" * 64)
    blob.parent.mkdir(parents=True)
    write_mlx_dir(own / "linked")
    blob.write_bytes((own / "linked" / "model.safetensors").read_bytes())
    (own / "linked" / "model.safetensors").unlink()
    (own / "linked" / "model.safetensors").symlink_to(blob)
    link = hub / "models--o--hubbed" / "snapshots" / ("a" * 40)
    write_mlx_dir(link)
    (link / "model.safetensors").unlink()
    (link / "model.safetensors").symlink_to(f"../../blobs/{blob.name}")
    scan(store, [ScanRoot(path=own, is_owned=True), ScanRoot(path=hub, layout="hf_cache")])
    assert {model.name for model in store.models.list()} == {"hubbed", "linked"}
    remove_model(store, "hubbed", is_deleting_foreign_files=True)
    assert blob.exists()
    assert not (link / "model.safetensors").is_symlink()
