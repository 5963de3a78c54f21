"""Blocking work beside the event loop that is never left running alone.

`asyncio.to_thread` comes back at once when its task is cancelled, while the thread goes on; a descriptor that is closed
then may already be another file's. Here a cancelled task waits for its thread first. Not here: what the work is.
"""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from registry.store import Registry

_T = TypeVar("_T")


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
