"""Which process has a pull in its hands: a lock that goes with the process. Not here: the rows of the pulls."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from msgspec.structs import replace

from registry.disk import is_locked, make_folder, translate_os_errors
from registry.errors import PullConflictError
from registry.pull.folder import PullFolder
from registry.pull_record import PullInfo
from registry.threads import locked

_LOCK_TIMEOUT_S: Final = 2.0
"""Others hold a pull's lock for a moment when they look whether it runs."""


@asynccontextmanager
async def owned(folder: PullFolder, pull_id: int) -> AsyncIterator[None]:
    """Have a pull while the body runs.

    Raises:
        PullConflictError: Another process has it.
        PullStoreError: The folder of the locks cannot be made.
    """
    with translate_os_errors(folder.partial_dir):
        make_folder(folder.partial_dir, folder.models_dir)
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(_LOCK_TIMEOUT_S):
                await stack.enter_async_context(locked(folder.pull_lock(pull_id)))
        except TimeoutError as exc:
            raise PullConflictError(f"Pull {pull_id} runs in another process.") from exc
        yield


def as_it_is(pull: PullInfo, folder: PullFolder) -> PullInfo:
    """Give a pull that no job of this process runs, as it is stored, with its true state."""
    is_interrupted = pull.state in {"queued", "running"} and not _is_owned(pull.id, folder)
    return replace(pull, state="interrupted") if is_interrupted else pull


def _is_owned(pull_id: int, folder: PullFolder) -> bool:
    try:
        return is_locked(folder.pull_lock(pull_id))
    except OSError:
        return False  # Without a folder for locks nothing runs.
