"""Copies of the catalogue: whole, bounded in number, and put back in one step or not at all."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from registry.errors import BackupError, RegistryBusyError
from registry.store import Registry
from registry.store.backups import NUM_AUTOMATIC, back_up, back_up_as, backups_folder, backups_of, restore
from registry.store.database import CatalogueDatabase
from tests.registry.catalogue_builder import make_draft

NEWEST = CatalogueDatabase.newest_schema()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "registry.sqlite3"
    with Registry(path) as registry:
        registry.artifacts.add(make_draft("/m/a.gguf", name="a"))
    return path


def models(file: Path) -> list[str]:
    with Registry(file) as registry:
        return [model.name for model in registry.models.list()]


def add(file: Path, name: str) -> None:
    with Registry(file) as registry:
        registry.artifacts.add(make_draft(f"/m/{name}.gguf", name=name))


def test_a_copy_is_one_private_file_also_of_a_catalogue_in_use(file: Path, tmp_path: Path) -> None:
    with Registry(file) as registry, registry.write():
        registry.artifacts.add(make_draft("/m/b.gguf", name="b"))
        copy = back_up(file, tmp_path / "copy.sqlite3")
    assert models(file) == ["a", "b"]
    assert copy.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == ["copy.sqlite3"]
    assert models(copy) == ["a"], "what was not committed is not in it"


def test_a_copy_goes_back_and_what_was_there_is_kept(file: Path, tmp_path: Path) -> None:
    copy = back_up(file, tmp_path / "copy.sqlite3")
    add(file, "b")
    before = restore(file, copy, newest_schema=NEWEST)
    assert models(file) == ["a"]
    assert before is not None
    assert restore(file, before, newest_schema=NEWEST) is not None
    assert models(file) == ["a", "b"]
    assert sorted(path.name for path in file.parent.iterdir() if path.is_file()) == ["registry.sqlite3"]


def test_an_older_schema_is_copied_before_it_is_migrated(tmp_path: Path) -> None:
    file = tmp_path / "data" / "registry.sqlite3"
    _older(file)
    add(file, "a")
    (copy,) = backups_of(file)
    assert (copy.schema, copy.num_models, copy.is_automatic) == (5, 0, True)
    assert restore(file, Path(copy.path), newest_schema=NEWEST) is not None
    assert models(file) == [], "it is migrated again"


def test_without_a_copy_nothing_is_migrated(tmp_path: Path) -> None:
    file = tmp_path / "data" / "registry.sqlite3"
    _older(file)
    backups_folder(file).write_text("a file where the folder must be")
    with pytest.raises(BackupError, match="cannot be copied"):
        Registry(file)
    for connection in _connected(file):
        assert connection.execute("PRAGMA user_version").fetchone() == (5,)


def test_a_new_catalogue_needs_no_copy(tmp_path: Path) -> None:
    Registry(tmp_path / "registry.sqlite3").close()
    assert not backups_folder(tmp_path / "registry.sqlite3").exists()


def test_the_oldest_automatic_copies_go_and_those_of_people_stay(file: Path) -> None:
    mine = back_up_as(file, "manual")
    made = [back_up_as(file, "schema5") for _ in range(NUM_AUTOMATIC + 13)]
    assert mine.exists()
    kept = [each for each in backups_of(file) if each.is_automatic]
    assert len(kept) == NUM_AUTOMATIC
    assert made[-1].exists()


@pytest.mark.parametrize("content", [None, b"", b"no database", "truncated", "foreign", "newer", "damaged"])
def test_what_is_no_whole_copy_replaces_nothing(file: Path, tmp_path: Path, content: bytes | str | None) -> None:
    source = tmp_path / "given.sqlite3"
    if isinstance(content, str):
        _spoil(back_up(file, source), content)
    elif content is not None:
        source.write_bytes(content)
    with pytest.raises(BackupError, match=r"given\.sqlite3"):
        restore(file, source, newest_schema=NEWEST)
    assert models(file) == ["a"]
    assert sorted(path.name for path in file.parent.iterdir()) == ["registry.sqlite3"]


def test_a_catalogue_in_use_is_not_replaced(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry.store.backups.BUSY_TIMEOUT_S", 0.05)
    copy = back_up(file, tmp_path / "copy.sqlite3")
    with Registry(file) as registry:
        registry.artifacts.add(make_draft("/m/b.gguf", name="b"))
        with pytest.raises(RegistryBusyError, match="another process"):
            restore(file, copy, newest_schema=NEWEST)
    assert models(file) == ["a", "b"]


def test_a_damaged_or_missing_catalogue_is_mended_by_a_copy(file: Path, tmp_path: Path) -> None:
    copy = back_up(file, tmp_path / "copy.sqlite3")
    file.write_bytes(b"not a database at all" * 100)
    before = restore(file, copy, newest_schema=NEWEST)
    assert before is not None
    assert before.read_bytes().startswith(b"not a database")
    assert models(file) == ["a"]
    file.unlink()
    assert restore(file, copy, newest_schema=NEWEST) is None
    assert models(file) == ["a"]


def _older(file: Path) -> None:
    """Make a catalogue of version 5, with nothing in it."""
    scripts = file.with_name("scripts")
    scripts.mkdir(parents=True)
    for script in CatalogueDatabase.MIGRATIONS.glob("000[1-5]_*.sql"):
        (scripts / script.name).write_bytes(script.read_bytes())

    class Older(Registry):
        MIGRATIONS: ClassVar = scripts

    Older(file).close()


def _spoil(copy: Path, how: str) -> None:
    match how:
        case "truncated":
            copy.write_bytes(copy.read_bytes()[:9000])
        case "damaged":
            data = bytearray(copy.read_bytes())
            data[4096 : len(data) - 4096] = bytes(len(data) - 8192)
            copy.write_bytes(data)
        case "foreign":
            copy.unlink()
            for connection in _connected(copy):
                connection.execute("CREATE TABLE models_of_others (name TEXT)")
        case _:
            for connection in _connected(copy):
                connection.execute(f"PRAGMA user_version = {NEWEST + 1:d}")


def _connected(file: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(file, isolation_level=None)
    yield connection
    connection.close()
