"""SQLite files of the gateway's own, beside the catalogue, each used from one thread.

The event loop never waits for a disk: what a store does runs as jobs on its thread, in the order in which they were
given, so that whoever reads after a write sees it. Not here: what is in a file.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Final, Generic, TypeVar

from registry.sqlite import Database
from router.errors import StoreUnavailableError

logger = logging.getLogger(__name__)

_PRIVATE_MODE: Final = 0o600
_CLOSED: Final = "The server is ending; what is stored can no longer be used."


StoreT = TypeVar("StoreT", bound="Store")
T = TypeVar("T")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn the disk's errors into a StoreUnavailableError."""
    try:
        yield
    except OSError as exc:
        raise StoreUnavailableError(f"{path} cannot be used: {exc}.") from exc


class Store(Database):
    """A SQLite file of the gateway's own, readable by this user only.

    What is deleted is overwritten in the file (`secure_delete`), and freed pages can be given back. Any method may
    raise a StoreUnavailableError: the file cannot be used, is damaged, or was written by a newer mlxr.
    """

    # `auto_vacuum` before the first table: afterwards it would need a VACUUM.
    PRAGMAS: ClassVar = ("auto_vacuum = INCREMENTAL", "secure_delete = ON")

    def prepare(self) -> None:
        """Make the file, before SQLite would make one that others may read."""
        # Closing any handle of a file drops all of this process's locks on it, also those of another connection, and
        # then another process takes the log away from under it. Source: sqlite.org/howtocorrupt.html, section 2.2.
        if self.path.exists():
            return
        with translated(self.path):
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, _PRIVATE_MODE))

    def scrub(self) -> bool:
        """Leave nothing of what was deleted in the file or its log; tell whether that is done.

        It is not while another process reads the file. Source: sqlite.org/pragma.html#pragma_wal_checkpoint.
        """
        self.rows("PRAGMA incremental_vacuum")
        ((is_busy, _, _),) = self.rows("PRAGMA wal_checkpoint(TRUNCATE)")
        return not is_busy

    def error_for(self, exc: Exception) -> StoreUnavailableError:
        """Give our error for SQLite's."""
        return StoreUnavailableError(f"{self.path} cannot be used: {exc}.")

    def error_for_schema(self, version: int, newest: int) -> StoreUnavailableError:  # noqa: ARG002 - one message does
        """Give the error for a file of a newer mlxr."""
        return StoreUnavailableError(
            f"{self.path} was written by a newer version of mlxr; update mlxr, or move the file away."
        )


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

        A StoreUnavailableError says that the store could not be opened, or that the job could not use it.
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
