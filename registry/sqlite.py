"""One SQLite file in use by one thread: opened, migrated, read and written in transactions.

The catalogue and the gateway's other stores are this. Several processes may use one file: readers never wait for a
writer, writers wait for each other up to the busy timeout. Not here: what a file holds.
"""

import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final, Self

BUSY_TIMEOUT_S: Final = 5.0

_FAILURES: Final = (sqlite3.Error, UnicodeDecodeError)
"""What SQLite raises; it decodes names from a damaged schema before it hands them over."""


class Database(ABC):
    """A SQLite file, for the thread that opened it; made and migrated when needed. Close it, or use it in a `with`.

    Any method may raise what `error_for` makes.

    Args:
        busy_timeout_s: How long a write waits for another process.
        is_read_only: Only look, not even migrate; works while another process writes and on a read-only disk.
    """

    MIGRATIONS: ClassVar[Path]
    """Folder of its scripts, `0001_initial.sql` and so on. They are append-only: what was released is never edited."""

    PRAGMAS: ClassVar[tuple[str, ...]] = ()
    """Set before the first table is made, beside those that every file has."""

    def __init__(self, path: Path | str, *, busy_timeout_s: float = BUSY_TIMEOUT_S, is_read_only: bool = False) -> None:
        self.path: Final = Path(path).absolute()
        self._depth = 0
        if not is_read_only:
            self.prepare()
        with self._translated():
            self._connection = _connect(self.path, busy_timeout_s, is_read_only=is_read_only)
            try:
                self._set_up(is_read_only=is_read_only)
            except BaseException:
                self._connection.close()
                raise

    @abstractmethod
    def prepare(self) -> None:
        """Make what must be there before the file is opened for writing."""

    @abstractmethod
    def error_for(self, exc: Exception) -> Exception:
        """Give our error for SQLite's."""

    @abstractmethod
    def error_for_schema(self, version: int, newest: int) -> Exception:
        """Give the error for a file whose schema is newer than this code's, or older where it may not be migrated."""

    def before_migration(self, version: int) -> None:  # noqa: B027 - most files need nothing
        """Do what must be done before a file of an older version, not a new one, is changed."""

    @classmethod
    def newest_schema(cls) -> int:
        """Give the version of the newest schema."""
        return cls._migrations()[-1][0]

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        with self._translated():
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def write(self) -> Iterator[None]:
        """Hold one write transaction; nested ones join it. All or nothing: an error inside undoes everything."""
        with self._translated():
            if self._depth == 0:
                # IMMEDIATE: a read transaction that turns into a write may fail at once with SQLITE_BUSY_SNAPSHOT,
                # whatever the busy timeout says.
                self._connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
                if self._depth == 1:
                    self._connection.execute("COMMIT")
            except BaseException:
                # A full disk may leave the transaction open, or have ended it.
                if self._depth == 1 and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            finally:
                self._depth -= 1

    @contextmanager
    def read(self) -> Iterator[None]:
        """Hold one view of the data over several queries."""
        with self._translated():
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN DEFERRED")
            try:
                yield
            finally:
                self._connection.execute("ROLLBACK")

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement, with `?` for every value; outside `write` it is a transaction by itself."""
        with self._translated():
            return self._connection.execute(sql, values).fetchall()

    def records(self, sql: str, *values: object) -> Iterator[dict[str, Any]]:
        """Run a query at once; give each row by the names of its columns, one after the other."""
        with self._translated():
            cursor = self._connection.execute(sql, values)
            names = [column[0] for column in cursor.description]
            rows = cursor.fetchall()
        return (dict(zip(names, row, strict=True)) for row in rows)

    def put_row(self, table: str, **row: object) -> None:
        """Insert a row, in the place of one that has the same key."""
        self.rows(f"INSERT OR REPLACE INTO {table} {_columns_and_marks(row)}", *row.values())

    def add_row(self, table: str, **row: object) -> int:
        """Insert a new row into a table whose rows have an `id`; return that."""
        sql = f"INSERT INTO {table} {_columns_and_marks(row)} RETURNING id"
        row_id: int = self.rows(sql, *row.values())[0][0]
        return row_id

    @property
    def data_version(self) -> int:
        """A number that changes when another connection has committed. Own writes do not change it.

        Source: sqlite.org/pragma.html#pragma_data_version.
        """
        version: int = self.rows("PRAGMA data_version")[0][0]
        return version

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except _FAILURES as exc:
            raise self.error_for(exc) from exc

    def _set_up(self, *, is_read_only: bool) -> None:
        pragmas = () if is_read_only else (*self.PRAGMAS, "journal_mode = WAL", "synchronous = NORMAL")
        for pragma in (*pragmas, "foreign_keys = ON"):
            self._connection.execute(f"PRAGMA {pragma}")
        migrations = self._migrations()
        newest = migrations[-1][0]
        version = self._schema_version()
        if version > newest or (version < newest and is_read_only):
            raise self.error_for_schema(version, newest)
        if version < newest:
            if version:
                self.before_migration(version)
            self._migrate(migrations)

    @classmethod
    def _migrations(cls) -> list[tuple[int, Path]]:
        return sorted((int(file.name.split("_", 1)[0]), file) for file in cls.MIGRATIONS.glob("[0-9]*_*.sql"))

    def _migrate(self, migrations: list[tuple[int, Path]]) -> None:
        with self.write():
            # Asked again under the lock: another process may have been faster.
            version = self._schema_version()
            for number, file in migrations:
                if number > version:
                    for statement in _statements(file.read_text(encoding="utf-8")):
                        self._connection.execute(statement)
                    self._connection.execute(f"PRAGMA user_version = {number:d}")

    def _schema_version(self) -> int:
        version: int = self._connection.execute("PRAGMA user_version").fetchone()[0]
        return version


def _columns_and_marks(row: Mapping[str, object]) -> str:
    return f"({', '.join(row)}) VALUES ({', '.join('?' * len(row))})"


def _connect(path: Path, busy_timeout_s: float, *, is_read_only: bool) -> sqlite3.Connection:
    mode = "rwc"
    if is_read_only:
        # Without a log file beside it the database is at rest, and may lie on a read-only disk.
        is_at_rest = not path.with_name(path.name + "-wal").exists() and not os.access(path.parent, os.W_OK)
        mode = "ro&immutable=1" if is_at_rest else "ro"
    return sqlite3.connect(f"{path.as_uri()}?mode={mode}", timeout=busy_timeout_s, isolation_level=None, uri=True)


def _statements(script: str) -> Iterator[str]:
    """Cut a script into statements; executescript would commit the transaction that holds them together."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
