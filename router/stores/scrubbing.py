"""Leaves nothing of what was deleted in a store's file, a moment later and once for all of it."""

import asyncio
from typing import Final, Generic, TypeVar

from router.stores.base import Store, StoreThread

SCRUB_S: Final = 1.0
"""How long what was deleted may be left in the file's log and index."""

StoreT = TypeVar("StoreT", bound=Store)


class Scrubbing(Generic[StoreT]):
    """Scrubs the file of a thread's store after deletions."""

    def __init__(self, thread: StoreThread[StoreT]) -> None:
        self._thread = thread
        self._timer: asyncio.TimerHandle | None = None

    def soon(self) -> None:
        """Leave nothing of what was deleted; one time for all that is deleted in a short while."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SCRUB_S, self.begin)

    def begin(self) -> None:
        """Do it now; where that cannot be, as while somebody reads the file, soon again."""
        self._timer = None
        loop = asyncio.get_running_loop()

        def scrub(store: StoreT) -> None:
            if not store.scrub() and not loop.is_closed():
                loop.call_soon_threadsafe(self.soon)

        self._thread.post(scrub, "what was deleted is still in the file")

    def end(self) -> None:
        """Do at once what was to be done soon; the thread is about to be closed."""
        if self._timer is not None:
            self._timer.cancel()
            self.begin()
