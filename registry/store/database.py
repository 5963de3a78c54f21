"""The catalogue's SQLite file: its errors in our words, and a new one in the place of a damaged one."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Final

import msgspec

from registry.disk import make_private
from registry.errors import (
    DatabaseError,
    RegistryBusyError,
    RegistryCorruptError,
    RegistryFullError,
    RegistryReadOnlyError,
    SchemaTooNewError,
)
from registry.sqlite import Database
from registry.store.backups import back_up_as

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


class CatalogueDatabase(Database):
    """The catalogue's file. Any method may raise a `DatabaseError`."""

    MIGRATIONS: ClassVar = Path(__file__).parent / "migrations"

    clock: Callable[[], float]
    """Gives seconds since 1970."""

    def prepare(self) -> None:
        """Make its folder."""
        try:
            make_private(self.path.parent)
        except OSError as exc:
            reason = f"its folder cannot be made: {exc.strerror}"
            raise RegistryReadOnlyError(f"The model catalogue {self.path}: {reason}.") from exc

    def before_migration(self, version: int) -> None:
        """Keep a copy; without one nothing is changed."""
        back_up_as(self.path, f"schema{version}")

    def error_for(self, exc: Exception) -> DatabaseError:
        """Give our error for SQLite's, with what to do."""
        if isinstance(exc, sqlite3.Error):
            # The low byte is the primary code, the rest says more, e.g. SQLITE_BUSY_SNAPSHOT.
            primary = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        else:
            primary = sqlite3.SQLITE_CORRUPT
        error, advice = _ERRORS.get(primary, (DatabaseError, str(exc)))
        return error(f"The model catalogue {self.path}: {advice}.")

    def error_for_schema(self, version: int, newest: int) -> DatabaseError:
        """Give the error for a file of a newer mlxr, or of an older one when it is only read."""
        if version < newest:
            return RegistryReadOnlyError(
                f"The model catalogue {self.path} must be updated first, but was opened read-only."
            )
        return SchemaTooNewError(
            f"The model catalogue {self.path} was written by a newer mlxr (schema {version}; this one knows {newest}). "
            "Update mlxr, or use another data folder."
        )

    @contextmanager
    def decoding(self) -> Iterator[None]:
        """Say of damage that SQLite does not notice, which shows when rows are decoded, that it is damage."""
        try:
            yield
        except (msgspec.DecodeError, KeyError, ValueError, TypeError) as exc:
            raise RegistryCorruptError(
                f"The model catalogue {self.path}: a row is damaged ({exc}); `{RESCUE_COMMAND}` makes a new catalogue."
            ) from exc


class Part:
    """What every part of the catalogue has of its connection. Any method of a part may raise a `DatabaseError`."""

    def __init__(self, database: CatalogueDatabase) -> None:
        self._database = database
        self._rows = database.rows
        self._records = database.records
        self._put = database.put_row
        self._add = database.add_row
        self._read = database.read
        self._write = database.write
        self._now = database.clock


def rescue_registry(path: Path) -> Path | None:
    """Put a damaged catalogue aside, so that the next open starts with an empty one and a scan fills it.

    No connection to it may be open. One that cannot be renamed is a RegistryReadOnlyError.

    Returns:
        Where it is now, or None when there was none.
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
