"""One connection to the catalogue and its transactions. Not here: what is read and written."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

from registry.store.database import connect, translate_errors

BUSY_TIMEOUT_S: Final = 5.0


class Session:
    """One connection, for the thread that opened it. Open it with `open`.

    Args:
        clock: Gives seconds since 1970.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, clock: Callable[[], float]) -> None:
        self._connection = connection
        self._path = path
        self._clock = clock
        self._depth = 0

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        is_read_only: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> Self:
        """Open the catalogue, making or migrating it when needed.

        Args:
            path: Its file, e.g. `registry.sqlite3` in the data folder.
            busy_timeout_s: How long a write waits for another process.
            is_read_only: Only look; works while another process writes and on a read-only disk.
            clock: Gives seconds since 1970.

        Returns:
            The session; close it, or use it in a `with`.
        """
        path = Path(path).absolute()
        return cls(connect(path, busy_timeout_s=busy_timeout_s, is_read_only=is_read_only), path, clock)

    @property
    def path(self) -> Path:
        """The database's file."""
        return self._path

    def close(self) -> None:
        """Close the connection; closing twice is allowed."""
        with translate_errors(self._path):
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def write(self) -> Iterator[None]:
        """Hold one write transaction; nested ones join it. All or nothing: an error inside undoes everything."""
        with translate_errors(self._path):
            if self._depth == 0:
                # IMMEDIATE: a read transaction that turns into a write may fail at once with SQLITE_BUSY_SNAPSHOT,
                # whatever the busy timeout says.
                self._connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0 and self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            self._depth -= 1
            if self._depth == 0:
                self._commit()

    def _commit(self) -> None:
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error:
            # A full disk may leave the transaction open.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def read(self) -> Iterator[None]:
        """Hold one view of the data over several queries."""
        with translate_errors(self._path):
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN DEFERRED")
            try:
                yield
            finally:
                self._connection.execute("ROLLBACK")

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one statement inside `read` or `write`.

        Args:
            sql: The statement, with `?` for every value.

        Raises:
            sqlite3.Error: Translated by the surrounding `read` or `write`.
        """
        rows: list[tuple[Any, ...]] = self._connection.execute(sql, values).fetchall()
        return rows

    @property
    def data_version(self) -> int:
        """A number that changes when another connection has committed. Own writes do not change it.

        Source: sqlite.org/pragma.html#pragma_data_version.
        """
        with translate_errors(self._path):
            version: int = self.rows("PRAGMA data_version")[0][0]
            return version
