"""SQLite files of the gateway's own, beside the catalogue: opened and migrated, and used from one thread each.

The event loop never waits for a disk: what a store does runs as jobs on its thread, in the order in which they were
given, so that whoever reads after a write sees it. Not here: what is in a file; the catalogue, whose connection other
processes share, is `registry.store`.
"""

import asyncio
import logging
import os
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

from router.errors import StoreUnavailableError

logger = logging.getLogger(__name__)

BUSY_TIMEOUT_S: Final = 5.0
_PRIVATE_MODE: Final = 0o600
_CLOSED: Final = "The server is ending; what is stored can no longer be used."


class _Closable(Protocol):
    def close(self) -> None:
        """Give the file back."""


StoreT = TypeVar("StoreT", bound=_Closable)
T = TypeVar("T")


def connect(path: Path, migrations: tuple[str, ...]) -> sqlite3.Connection:
    """Open a database for the calling thread, readable by this user only; make it or bring it up to date.

    What is deleted is overwritten in the file (`secure_delete`), and freed pages can be given back.

    Args:
        migrations: Scripts in order; the file's `user_version` says how many it has had.

    Raises:
        StoreUnavailableError: It cannot be opened, is damaged, or was written by a newer mlxr.
    """
    with translated(path):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, _PRIVATE_MODE))
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        try:
            # Before the first table: afterwards it would need a VACUUM.
            for pragma in (
                "auto_vacuum = INCREMENTAL",
                "journal_mode = WAL",
                "synchronous = NORMAL",
                "secure_delete = ON",
            ):
                connection.execute(f"PRAGMA {pragma}")
            connection.execute("PRAGMA foreign_keys = ON")
            _migrate(connection, path, migrations)
        except BaseException:
            connection.close()
            raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path, migrations: tuple[str, ...]) -> None:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(migrations):
        raise StoreUnavailableError(
            f"{path} was written by a newer version of mlxr; update mlxr, or move the file away."
        )
    for number, script in enumerate(migrations[version:], version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's and the disk's errors into ours.

    Raises:
        StoreUnavailableError: In place of theirs.
    """
    try:
        yield
    except (sqlite3.Error, OSError) as exc:
        raise StoreUnavailableError(f"{path} cannot be used: {exc}.") from exc


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Hold one write transaction: all or nothing; errors are SQLite's."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # A full disk may leave the transaction open, or have ended it.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


class Store:
    """A SQLite file in use; for the thread that opened it.

    Args:
        path: The file; made when it does not exist.
        migrations: Scripts, each once and in their order.

    Raises:
        StoreUnavailableError: By any method: the file cannot be used.
    """

    def __init__(self, path: Path, migrations: tuple[str, ...]) -> None:
        self._path = path
        self._connection = connect(path, migrations)

    def close(self) -> None:
        """Close the file."""
        with translated(self._path):
            self._connection.close()

    @contextmanager
    def write(self) -> Iterator[None]:
        """Hold one write transaction."""
        with translated(self._path), transaction(self._connection):
            yield

    def _rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        with translated(self._path):
            return self._connection.execute(sql, values).fetchall()


class StoreThread(Generic[StoreT]):
    """A store and the one thread that uses it.

    Args:
        open_store: Opens it; called in the thread, first of all.
    """

    def __init__(self, open_store: Callable[[], StoreT], name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._store: StoreT | None = None
        self._is_closed = False
        self._opening: Future[None] = self._executor.submit(self._open, open_store)

    @property
    def is_usable(self) -> bool:
        """Whether the store is open, or may still come to be."""
        return not self._is_closed and (not self._opening.done() or self._opening.exception() is None)

    async def call(self, job: Callable[[StoreT], T]) -> T:
        """Run a job after all that were given before; return what it returns.

        Raises:
            StoreUnavailableError: The store could not be opened, or the job could not use it.
        """
        if self._is_closed:
            raise StoreUnavailableError(_CLOSED)
        return await asyncio.wrap_future(self._executor.submit(self._run, job))

    def post(self, job: Callable[[StoreT], object], what: str) -> None:
        """Run a job that nobody waits for; one that fails is in the log."""

        def tell(done: Future[object]) -> None:
            error = done.exception()
            if error is not None:
                logger.warning("%s: %s", what, error)

        if self._is_closed:
            logger.warning("%s: %s", what, _CLOSED)
        else:
            self._executor.submit(self._run, job).add_done_callback(tell)

    async def close(self) -> None:
        """Let all jobs end, then close the store; it is not used any more."""
        if not self._is_closed:
            self._is_closed = True
            await asyncio.wrap_future(self._executor.submit(self._close))
            self._executor.shutdown()

    def _open(self, open_store: Callable[[], StoreT]) -> None:
        self._store = open_store()

    def _run(self, job: Callable[[StoreT], T]) -> T:
        if self._store is None:
            reason = self._opening.exception()
            raise StoreUnavailableError(str(reason) if reason is not None else _CLOSED)
        return job(self._store)

    def _close(self) -> None:
        if self._store is not None:
            store, self._store = self._store, None
            store.close()
