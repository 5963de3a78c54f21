"""The file of a store, beside other handles and other processes."""

import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from router.stores.base import Store

WRITE_AND_CLOSE = """
import sqlite3, sys
other = sqlite3.connect(sys.argv[1], isolation_level=None)
other.execute("INSERT INTO notes VALUES ('of another process')")
other.close()
"""


@pytest.fixture
def open_notes(tmp_path: Path) -> Callable[[], Store]:
    scripts = tmp_path / "migrations"
    scripts.mkdir()
    (scripts / "0001_initial.sql").write_text("CREATE TABLE notes (text TEXT NOT NULL);\n")

    class Notes(Store):
        MIGRATIONS: ClassVar = scripts

    return lambda: Notes(tmp_path / "notes.sqlite3")


def notes_in(store: Store) -> list[str]:
    return [text for (text,) in store.rows("SELECT text FROM notes ORDER BY rowid")]


def test_only_this_user_may_read_it(open_notes: Callable[[], Store]) -> None:
    with open_notes() as store:
        assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def test_opening_it_once_more_keeps_the_locks_of_the_first_handle(open_notes: Callable[[], Store]) -> None:
    """Another process that believes itself alone takes the log away at its end, and what is written to it is lost."""
    with open_notes() as first:
        first.rows("INSERT INTO notes VALUES ('before')")
        log = first.path.with_name(f"{first.path.name}-wal")
        before = log.stat().st_ino
        with open_notes() as second:
            subprocess.run([sys.executable, "-c", WRITE_AND_CLOSE, str(first.path)], check=True)
            assert log.exists(), "somebody else has it open, so the other process leaves it"
            assert log.stat().st_ino == before
            first.rows("INSERT INTO notes VALUES ('after')")
            assert notes_in(second) == ["before", "of another process", "after"]
    with open_notes() as again:
        assert notes_in(again) == ["before", "of another process", "after"]
