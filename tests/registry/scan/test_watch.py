import os
from pathlib import Path

import msgspec

from registry.scan import ScanRoot, scan
from registry.scan.watch import MAX_UNSETTLED_S, SETTLE_S, FileWatch, what_changed
from registry.store import Registry
from tests.registry.gguf_builder import llama_model
from tests.registry.mlx_builder import write_mlx_dir
from tests.registry.ollama_builder import put_model


def watch_of(tmp_path: Path, *roots: ScanRoot) -> FileWatch:
    watched: set[str] = set()
    with Registry(tmp_path / "r.sqlite3") as store:
        scan(store, roots, watched=watched)
    return FileWatch(watched)


def test_nothing_happens_while_nothing_changes(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "a.gguf").write_bytes(llama_model())
    watch = watch_of(tmp_path, ScanRoot(path=tmp_path / "m"))
    assert [watch.look(), watch.is_due(0.0), watch.is_due(1e9)] == [False, False, False]


def test_files_that_come_go_or_change_are_seen(tmp_path: Path) -> None:
    folder = tmp_path / "m" / "sub"
    folder.mkdir(parents=True)
    path = folder / "a.gguf"
    path.write_bytes(llama_model())
    write_mlx_dir(tmp_path / "m" / "x-mlx")
    watch = watch_of(tmp_path, ScanRoot(path=tmp_path / "m"))
    path.write_bytes(llama_model() + b"\0")
    assert watch.look()
    path.rename(folder / "b.gguf")
    assert watch.look()
    (tmp_path / "m" / "new").mkdir()
    assert watch.look()
    (tmp_path / "m" / "x-mlx" / "model.safetensors").unlink()
    assert watch.look()
    assert not watch.look()


def test_a_broken_file_that_grows_is_seen(tmp_path: Path) -> None:
    """A download into a folder of models: its folder does not change while it grows."""
    (tmp_path / "m").mkdir()
    path = tmp_path / "m" / "a.gguf"
    path.write_bytes(llama_model()[:100])
    watch = watch_of(tmp_path, ScanRoot(path=tmp_path / "m"))
    path.write_bytes(llama_model())
    assert watch.look()


def test_a_root_that_appears_later_is_seen(tmp_path: Path) -> None:
    watch = watch_of(tmp_path, ScanRoot(path=tmp_path / "m"), ScanRoot(path=tmp_path / "ollama", layout="ollama"))
    (tmp_path / "m").mkdir()
    assert watch.look()
    put_model(tmp_path / "ollama", "a:1", llama_model())
    assert watch.look()


def test_new_names_new_snapshots_and_refs_are_seen(tmp_path: Path) -> None:
    put_model(tmp_path / "ollama", "a:1", llama_model())
    repository = tmp_path / "hub" / "models--o--r"
    for commit in ("a" * 40, "b" * 40):
        (repository / "snapshots" / commit).mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("a" * 40)
    watch = watch_of(
        tmp_path,
        ScanRoot(path=tmp_path / "ollama", layout="ollama"),
        ScanRoot(path=tmp_path / "hub", layout="hf_cache"),
    )
    put_model(tmp_path / "ollama", "a:2", llama_model())
    assert watch.look()
    (repository / "refs" / "main").write_text("b" * 40)
    assert watch.look()
    (tmp_path / "hub" / "models--o--s").mkdir()
    assert watch.look()


def test_changes_are_acted_on_when_they_settle_or_last_too_long(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("")
    watch = FileWatch([str(path)])
    path.write_text("1")
    assert not watch.is_due(100.0)
    assert not watch.is_due(100.0 + SETTLE_S / 2)
    assert watch.is_due(100.0 + SETTLE_S)
    assert not watch.is_due(200.0)
    now, due_after = 300.0, None
    for step in range(100):
        path.write_text("1" * (step + 2))
        if watch.is_due(now):
            due_after = now - 300.0
            break
        now += SETTLE_S / 2
    assert due_after is not None
    assert MAX_UNSETTLED_S <= due_after < MAX_UNSETTLED_S + SETTLE_S


def test_what_changes_between_a_scan_and_the_first_mark_is_seen(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    watch = FileWatch([str(old)])
    old.write_text("")
    watch.follow([str(old)])
    assert watch.look(), "a path that was marked before the scan keeps its mark"
    watch.follow([str(old), str(new)])
    assert watch.look(), "nobody knows how a new path looked when the scan read it"
    assert not watch.look()
    watch.follow([str(new)])
    assert not watch.look()
    assert watch.paths == (str(new),)


def test_what_changed_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "m" / "a.gguf"
    path.parent.mkdir()
    path.write_bytes(llama_model())
    with Registry(tmp_path / "r.sqlite3") as store:
        scan(store, [ScanRoot(path=path.parent)])
        (artifact,) = store.models.get("a").artifacts
    assert what_changed(artifact) is None
    assert what_changed(msgspec.structs.replace(artifact, files=(artifact.path, "/no/such\0file"))) is not None
    os.utime(path, ns=(1, 1))
    assert str(path) in (what_changed(artifact) or "")
    path.unlink()
    assert what_changed(artifact) == f"{path} is gone"
