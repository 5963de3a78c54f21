"""The catalogue's SQLite file: opening, migrating, rescuing, and its errors made ours.

Not here: what the tables hold (`store.py` has all other SQL).
"""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from registry.errors import (
    DatabaseError,
    RegistryBusyError,
    RegistryCorruptError,
    RegistryFullError,
    RegistryReadOnlyError,
    SchemaTooNewError,
)

MIGRATIONS_FOLDER: Final = Path(__file__).parents[1] / "migrations"

RESCUE_COMMAND: Final = "mlxr models scan --rescue"

_ERRORS: Final[dict[int, tuple[type[DatabaseError], str]]] = {
    sqlite3.SQLITE_BUSY: (RegistryBusyError, "another process is writing to it; try again"),
    sqlite3.SQLITE_LOCKED: (RegistryBusyError, "another connection is writing to it; try again"),
    sqlite3.SQLITE_FULL: (RegistryFullError, "the disk is full; free some space and try again"),
    sqlite3.SQLITE_READONLY: (RegistryReadOnlyError, "this user may not write to it; check the owner of the folder"),
    sqlite3.SQLITE_PERM: (RegistryReadOnlyError, "this user may not open it; check the owner of the folder"),
    sqlite3.SQLITE_CANTOPEN: (RegistryReadOnlyError, "it cannot be opened or made; check the folder and its owner"),
    sqlite3.SQLITE_NOTADB: (RegistryCorruptError, f"it is no database any more; `{RESCUE_COMMAND}` makes a new one"),
    sqlite3.SQLITE_CORRUPT: (RegistryCorruptError, f"it is damaged; `{RESCUE_COMMAND}` makes a new one"),
}
"""SQLite's primary result code -> our error and what to do. Source: sqlite.org/rescode.html."""


@contextmanager
def translate_errors(path: Path) -> Iterator[None]:
    """Turn every error of SQLite into ours."""
    try:
        yield
    except UnicodeDecodeError as exc:
        # sqlite3 decodes names from a damaged schema before it hands them over.
        error, advice = _ERRORS[sqlite3.SQLITE_CORRUPT]
        raise error(f"The model catalogue {path}: {advice}.") from exc
    except sqlite3.Error as exc:
        # The low byte is the primary code, the rest says more, e.g. SQLITE_BUSY_SNAPSHOT.
        primary = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        error, advice = _ERRORS.get(primary, (DatabaseError, str(exc)))
        raise error(f"The model catalogue {path}: {advice}.") from exc


def connect(path: Path, *, busy_timeout_s: float, is_read_only: bool) -> sqlite3.Connection:
    """Open the catalogue and bring its schema up to date.

    Args:
        path: Its file; made, with its folder, when absent.
        busy_timeout_s: How long to wait for another writer.
        is_read_only: Never write, not even to make or migrate it; this also works on a read-only disk.

    Returns:
        A connection in autocommit mode, for the calling thread only.
    """
    with translate_errors(path):
        if is_read_only:
            connection = _connect_read_only(path, busy_timeout_s)
        else:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as exc:
                reason = f"its folder cannot be made: {exc.strerror}"
                raise RegistryReadOnlyError(f"The model catalogue {path}: {reason}.") from exc
            connection = sqlite3.connect(path, timeout=busy_timeout_s, isolation_level=None)
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            if not is_read_only:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")
            _migrate(connection, path, is_read_only=is_read_only)
        except BaseException:
            connection.close()
            raise
        return connection


def rescue_registry(path: Path) -> Path | None:
    """Put a damaged catalogue aside, so that the next open starts with an empty one and a scan fills it.

    Args:
        path: The catalogue's file. No connection to it may be open.

    Returns:
        Where it is now, or None when there was none.

    Raises:
        RegistryReadOnlyError: It cannot be renamed.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    target = path.with_name(f"{path.name}.corrupt-{stamp}")
    number = 1
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.corrupt-{stamp}-{number}")
    try:
        # The log goes first: a log that is left behind would be played into the new database.
        for suffix in ("-wal", "-shm", ""):
            source = path.with_name(path.name + suffix)
            if source.exists():
                source.rename(target.with_name(target.name + suffix))
    except OSError as exc:
        raise RegistryReadOnlyError(f"The model catalogue {path}: it cannot be renamed: {exc.strerror}.") from exc
    return target if target.exists() else None


def _connect_read_only(path: Path, busy_timeout_s: float) -> sqlite3.Connection:
    """Open without writing. Without a log file beside it the database is at rest, and may lie on a read-only disk."""
    has_log = path.with_name(path.name + "-wal").exists()
    is_writable_folder = os.access(path.parent, os.W_OK)
    mode = "mode=ro" if has_log or is_writable_folder else "mode=ro&immutable=1"
    return sqlite3.connect(f"{path.as_uri()}?{mode}", timeout=busy_timeout_s, isolation_level=None, uri=True)


def _migrations() -> list[tuple[int, Path]]:
    """List the migrations in order. They are append-only: what was released is never edited."""
    return sorted((int(file.name.split("_", 1)[0]), file) for file in MIGRATIONS_FOLDER.glob("[0-9]*_*.sql"))


def _migrate(connection: sqlite3.Connection, path: Path, *, is_read_only: bool) -> None:
    migrations = _migrations()
    newest = migrations[-1][0]
    version = _schema_version(connection)
    if version > newest:
        raise SchemaTooNewError(
            f"The model catalogue {path} was written by a newer mlxr (schema {version}; this one knows {newest}). "
            "Update mlxr, or use another data folder."
        )
    if version == newest:
        return
    if is_read_only:
        raise RegistryReadOnlyError(f"The model catalogue {path} must be updated first, but was opened read-only.")
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Asked again under the lock: another process may have been faster.
        version = _schema_version(connection)
        for number, file in migrations:
            if number > version:
                for statement in _statements(file.read_text(encoding="utf-8")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number:d}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _schema_version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _statements(script: str) -> Iterator[str]:
    """Cut a script into statements; executescript would commit the transaction that holds them together."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
