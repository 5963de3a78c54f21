"""Blocking work beside the event loop that is never left running alone.

`asyncio.to_thread` comes back at once when its task is cancelled, while the thread goes on; a descriptor that is closed
then may already be another file's. Here a cancelled task waits for its thread first. Not here: what the work is.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeVar

from registry.disk import Lock, translate_os_errors
from registry.store import Registry

_T = TypeVar("_T")
_LOCK_POLL_S: Final = (0.01, 0.5)
"""First and longest wait between two looks at another's lock."""


async def in_thread(work: Callable[[], _T]) -> _T:
    """Run blocking work of some seconds at most in a thread, and wait for its end even when this task is cancelled."""
    future = asyncio.get_running_loop().run_in_executor(None, work)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        while not future.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([future])
        if not future.cancelled():
            future.exception()  # Looked at, so that the loop does not report it.
        raise


async def with_registry(database: Path, work: Callable[[Registry], _T]) -> _T:
    """Do something with the catalogue, in a thread and on a connection of its own."""

    def run() -> _T:
        with Registry(database) as registry:
            return work(registry)

    return await in_thread(run)


@asynccontextmanager
async def locked(path: Path, on_wait: Callable[[], None] | None = None) -> AsyncIterator[None]:
    """Hold a lock, waiting for it as long as it takes.

    Args:
        on_wait: Called once when somebody else has it.
    """
    lock = Lock(path)
    delay_s, longest_s = _LOCK_POLL_S
    while True:
        with translate_os_errors(path):
            if lock.try_acquire():
                break
        if on_wait is not None:
            on_wait()
            on_wait = None
        await asyncio.sleep(delay_s)
        delay_s = min(longest_s, 2 * delay_s)
    try:
        yield
    finally:
        lock.release()
