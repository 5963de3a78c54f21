"""Keeps winds within the config's age and size, for the event loop: nothing here waits for a disk in its thread.

What belongs to another key is not there for whoever asks, nor for any conversation that is to go on: `longest` asks for
the very owner, whatever its key may look at. There is no file before something is wound. Not here: winding
(`router.context`).
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Final, TypeVar

from router.config import ContextConfig
from router.errors import ContextNotFoundError, StoreUnavailableError
from router.http.caller import current_caller
from router.http.origin import check_own_page
from router.observers import Observers
from router.stores.base import StoreThread
from router.stores.contexts.record import Beginnings, Wind, WindUse
from router.stores.contexts.store import ContextStore
from router.stores.forgotten import Forgotten
from router.stores.scrubbing import Scrubbing
from router.stores.viewer import Viewer, current_viewer

logger = logging.getLogger(__name__)

SWEEP_S: Final = 600.0
"""How often winds are looked for that are too old."""
_NUM_FORGOTTEN: Final = 1000
_DAY_S: Final = 86_400.0

T = TypeVar("T")


class Contexts:
    """The winds of a gateway. `run` is its task.

    Args:
        clock: Seconds since 1970.

    Attributes:
        wound: Told of each new wind.
    """

    def __init__(
        self, path: Path, limits: Callable[[], ContextConfig], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._path = path
        self._limits = limits
        self._clock = clock
        self._is_open = False
        self._forgotten_at: dict[str, float] = {}
        self._emptied_at: dict[Viewer, float] = {}
        self.wound: Observers[Wind] = Observers()

    @cached_property
    def _thread(self) -> StoreThread[ContextStore]:
        self._is_open = True
        return StoreThread(lambda: ContextStore(self._path), "contexts")

    @cached_property
    def _scrubbing(self) -> Scrubbing[ContextStore]:
        return Scrubbing(self._thread)

    @property
    def _is_empty(self) -> bool:
        return not self._is_open and not self._path.exists()

    async def run(self) -> None:
        """Look for what is too old, now and then, until cancelled."""
        if not self._is_empty:
            self._scrubbing.begin()  # for an earlier gateway that had no time for it
        while True:
            if not self._is_empty:
                self._evict()
            await asyncio.sleep(SWEEP_S)

    async def close(self) -> None:
        """Write what is to be written, leave nothing of what was deleted, and close the file."""
        if self._is_open:
            self._scrubbing.begin()  # behind all that was to be deleted
            await self._thread.close()

    async def longest(self, beginnings: Beginnings) -> Wind | None:
        """Return what was told of the longest of a conversation's beginnings; None = of none, or it cannot be read."""
        if not self._limits().max_bytes:
            return None
        try:
            return await self._read(lambda store: store.longest(beginnings), None)
        except StoreUnavailableError as exc:
            logger.warning("no earlier narrative was looked for: %s", exc)
            return None

    def keep(self, wind: Wind) -> None:
        """Keep a new wind, as far as there is room, and tell of it; nobody waits for that."""
        logger.info(
            "context wound: context=%s model=%s turns=%d before=%d after=%d narrative=%d by=%s ms=%.0f%s",
            *(wind.context_id, wind.model, wind.num_turns, wind.tokens_before, wind.tokens_after),
            *(wind.narrative_tokens, wind.told_by, wind.ms, " left_out" if wind.is_left_out else ""),
        )
        self.wound.tell(wind)
        if self._limits().max_bytes and not self._is_forgotten(wind):
            self._thread.post(lambda store: store.put(wind), "a narrative was not stored")
            self._evict()

    def _is_forgotten(self, wind: Wind) -> bool:
        """Tell whether somebody has deleted what it tells of, while it was made."""
        deleted_at = [at for viewer, at in self._emptied_at.items() if viewer.has(wind.owner)]
        if wind.kept_in in self._forgotten_at:
            deleted_at.append(self._forgotten_at[wind.kept_in])
        return max(deleted_at, default=-math.inf) >= wind.created_at - wind.ms / 1000

    def note_use(self, use: WindUse) -> None:
        """Take note of what a model sees of a conversation that was wound; nobody waits for it."""
        if not self._is_empty:
            now = self._clock()
            self._thread.post(lambda store: store.note_use(use, now=now), "the last use of a narrative was not stored")

    async def get(self, context_id: str) -> Wind:
        """Return a wind of the caller's.

        Raises:
            ContextNotFoundError: There is none of that id.
            OriginNotAllowedError: The page of another program asks.
            StoreUnavailableError: What is kept cannot be read.
        """
        caller = current_caller()
        check_own_page(caller)
        found = await self._read(lambda store: store.get(context_id), None)
        if found is None or not caller.may_see(found.owner):
            raise ContextNotFoundError(context_id)
        return found

    async def page(self, *, after: str | None, limit: int) -> list[Wind]:
        """Return the caller's winds, that which was used last first; errors as in `get`."""
        if after is not None:
            await self.get(after)
        viewer = current_viewer()
        return await self._read(lambda store: store.page(viewer, after=after, limit=limit), [])

    async def sizes(self) -> tuple[int, int]:
        """Return how many winds the caller has, and what they take, bytes."""
        viewer = current_viewer()
        return await self._read(lambda store: store.sizes(viewer), (0, 0))

    async def delete(self, context_id: str) -> int:
        """Forget a wind of the caller's with all that tell the same; return how many there were; errors as in `get`."""
        await self.get(context_id)
        return self._gone(await self._read(lambda store: store.delete(context_id), 0))

    async def delete_all(self) -> int:
        """Forget all winds of the caller's, for an administrator everybody's; return how many there were."""
        viewer = current_viewer()
        self._emptied_at[viewer] = self._clock()
        return self._gone(await self._read(lambda store: store.delete_all(viewer), 0))

    def on_forgotten(self, forgotten: Forgotten) -> None:
        """Forget what was told of kept conversations and stored responses; nobody waits for it.

        Of those that were deleted all of it goes, and what is being made of them at this moment is not kept either.
        """
        places = forgotten.places
        if forgotten.is_deleted:
            self._remember(places)
        if self._is_empty:
            return
        loop = asyncio.get_running_loop()

        def delete(store: ContextStore) -> None:
            num_gone = store.delete_kept_in(places) if forgotten.is_deleted else store.unlink(places)
            loop.call_soon_threadsafe(self._gone, num_gone)

        self._thread.post(delete, "what was told of deleted conversations is still kept")

    def _remember(self, places: Sequence[str]) -> None:
        now = self._clock()
        for place in places:
            self._forgotten_at.pop(place, None)
            self._forgotten_at[place] = now
        while len(self._forgotten_at) > _NUM_FORGOTTEN:
            del self._forgotten_at[next(iter(self._forgotten_at))]

    async def _read(self, job: Callable[[ContextStore], T], otherwise: T) -> T:
        """Run a job that writes nothing new; return `otherwise` where nothing was ever wound."""
        return otherwise if self._is_empty else await self._thread.call(job)

    def _gone(self, num_gone: int) -> int:
        if num_gone:
            self._scrubbing.soon()
        return num_gone

    def _evict(self) -> None:
        limits = self._limits()
        before = self._clock() - limits.keep_days * _DAY_S
        loop = asyncio.get_running_loop()

        def evict(store: ContextStore) -> None:
            if store.evict(before=before, max_bytes=limits.max_bytes):
                loop.call_soon_threadsafe(self._scrubbing.soon)

        self._thread.post(evict, "old narratives were not dropped")
