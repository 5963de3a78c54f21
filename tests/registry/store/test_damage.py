"""Catalogues that are damaged, new, full or read-only."""

import random
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from registry.errors import (
    DatabaseError,
    RegistryBusyError,
    RegistryCorruptError,
    RegistryFullError,
    RegistryReadOnlyError,
    SchemaTooNewError,
)
from registry.store import Registry
from registry.store.database import rescue_registry
from tests.registry.catalogue_builder import make_draft
from tests.registry.scan_steps import names
from tests.support.waiting import WITHIN_S

PROJECT = Path(__file__).parents[3]


def test_a_damaged_file_is_named_with_the_way_out_and_rescued(store: Registry) -> None:
    store.artifacts.add(make_draft("/m/a.gguf"))
    store.close()
    data = store.path.read_bytes()
    store.path.write_bytes(b"not a database at all" + data[21:])
    with pytest.raises(RegistryCorruptError, match="--rescue"):
        Registry(store.path)
    aside = rescue_registry(store.path)
    assert aside is not None
    assert ".corrupt-" in aside.name
    assert aside.read_bytes().startswith(b"not a database")
    with Registry(store.path) as fresh:
        assert fresh.models.list() == ()
    assert rescue_registry(store.path) not in {None, aside}
    assert rescue_registry(store.path) is None


def test_a_truncated_file_is_an_error_of_ours_or_nothing_is_missing(store: Registry) -> None:
    for index in range(60):
        store.artifacts.add(make_draft(f"/m/{index}.gguf", name=f"m{index}"))
    store.close()
    with Registry(store.path) as opened:
        whole = opened.models.list()
    data = store.path.read_bytes()
    assert len(data) > 40_000
    num_refused = 0
    # SQLite takes a file of one byte for an empty database, so the lengths start at 2.
    for size in [*range(2, 200, 17), *range(1_000, len(data), 4_099)]:
        store.path.write_bytes(data[:size])
        try:
            with Registry(store.path) as opened:
                # What is cut off may be an index, which this does not read.
                assert opened.models.list() == whole
        except DatabaseError:
            num_refused += 1
    assert num_refused > 20


def test_random_damage_is_an_error_of_ours_or_harmless(store: Registry) -> None:
    for index in range(30):
        store.artifacts.add(make_draft(f"/m/{index}.gguf", name=f"m{index}"))
    store.close()
    data = store.path.read_bytes()
    rng = random.Random(7)
    num_refused = 0
    for _ in range(60):
        damaged = bytearray(data)
        for _ in range(20):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        store.path.write_bytes(bytes(damaged))
        for suffix in ("-wal", "-shm"):
            store.path.with_name(store.path.name + suffix).unlink(missing_ok=True)
        try:
            with Registry(store.path) as opened:
                assert len(opened.models.list()) <= 30
                assert len(opened.files.known()) <= 30
        except DatabaseError:
            num_refused += 1
    assert num_refused > 20


def test_a_newer_schema_is_refused(store: Registry) -> None:
    store.close()
    connection = sqlite3.connect(store.path)
    connection.execute("PRAGMA user_version = 999")
    connection.close()
    with pytest.raises(SchemaTooNewError, match="newer mlxr"):
        Registry(store.path)


def test_migrations_are_applied_in_order_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    for file in Registry.MIGRATIONS.iterdir():
        (folder / file.name).write_text(file.read_text())
    monkeypatch.setattr(Registry, "MIGRATIONS", folder)
    path = tmp_path / "r.sqlite3"
    with Registry(path) as store:
        store.artifacts.add(make_draft("/m/a.gguf"))
    (folder / "0900_more.sql").write_text(
        "-- a; semicolon\nALTER TABLE models ADD COLUMN note TEXT;\nCREATE TABLE x (y);\n"
    )
    for _ in range(2):
        with Registry(path) as store:
            assert names(store) == ["m"]
    (folder / "0901_broken.sql").write_text("CREATE TABLE z (y);\nCREATE TABLE x (y);\n")
    with pytest.raises(DatabaseError):
        Registry(path)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (900,)
    assert connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'z'").fetchall() == []
    connection.close()


READ_ONLY = """
import os, sys, urllib.parse  # which pathlib imports when nobody but root can read it any more
sys.path.insert(0, sys.argv[2])
from registry.settings import ModelSettings
from registry.store import Registry
from registry.errors import RegistryReadOnlyError
if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
with Registry(sys.argv[1], is_read_only=True) as store:
    print([model.name for model in store.models.list()])
try:
    with Registry(sys.argv[1]) as store:
        store.models.touch_last_used("m")
except RegistryReadOnlyError as exc:
    print("read-only")
"""


def test_a_catalogue_in_a_read_only_folder_can_be_read(store: Registry) -> None:
    store.artifacts.add(make_draft("/m/a.gguf"))
    store.close()
    folder = store.path.parent
    # A copy of the code, because the checkout may lie where nobody but root can read.
    shutil.copytree(PROJECT / "registry", folder / "code" / "registry")
    store.path.chmod(0o444)
    folder.chmod(0o555)
    for parent in folder.parents[:3]:
        if parent.stat().st_mode & 0o005 != 0o005:
            parent.chmod(parent.stat().st_mode | 0o005)
    try:
        argv = [sys.executable, "-P", "-c", READ_ONLY, str(store.path), str(folder / "code")]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    finally:
        folder.chmod(0o755)
    assert done.stdout.splitlines() == ["['m']", "read-only"], done.stderr


def test_a_read_only_registry_does_not_write(store: Registry) -> None:
    store.artifacts.add(make_draft("/m/a.gguf"))
    with Registry(store.path, is_read_only=True) as reader, pytest.raises(RegistryReadOnlyError):
        reader.models.touch_last_used("m")
    with pytest.raises(RegistryReadOnlyError):
        Registry(store.path.parent / "absent.sqlite3", is_read_only=True)


def test_a_folder_that_cannot_be_made_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RegistryReadOnlyError):
        Registry(tmp_path / "file" / "r.sqlite3")
    with pytest.raises(RegistryReadOnlyError):
        Registry(tmp_path)


def test_a_full_database_rolls_back_and_works_again(store: Registry) -> None:
    store.artifacts.add(make_draft("/m/a.gguf"))
    (pages,) = store.rows("PRAGMA page_count")[0]
    store.rows(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        with store.write():
            for index in range(1_000):
                store.artifacts.add(make_draft(f"/m/{index}.gguf", name=f"m{index}"))

    with pytest.raises(RegistryFullError):
        fill()
    assert names(store) == ["m"]
    store.rows("PRAGMA max_page_count = 1000000")
    store.artifacts.add(make_draft("/m/b.gguf", name="n"))
    assert names(store) == ["m", "n"]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (sqlite3.SQLITE_BUSY_SNAPSHOT, RegistryBusyError),
        (sqlite3.SQLITE_LOCKED, RegistryBusyError),
        (sqlite3.SQLITE_READONLY_DBMOVED, RegistryReadOnlyError),
        (sqlite3.SQLITE_CORRUPT_INDEX, RegistryCorruptError),
        (sqlite3.SQLITE_NOTADB, RegistryCorruptError),
        (sqlite3.SQLITE_FULL, RegistryFullError),
        (sqlite3.SQLITE_IOERR_FSYNC, DatabaseError),
    ],
)
def test_every_result_code_becomes_an_error_of_ours(store: Registry, code: int, error: type[DatabaseError]) -> None:
    foreign = sqlite3.OperationalError("x")
    foreign.sqlite_errorcode = code
    with pytest.raises(error) as caught, store.read():
        raise foreign
    assert type(caught.value) is error


def test_the_thread_rule_is_enforced(store: Registry) -> None:
    caught: list[BaseException] = []

    def use() -> None:
        try:
            store.models.list()
        except DatabaseError as exc:
            caught.append(exc)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert len(caught) == 1
