"""Keeps responses within the config's age and size, for the event loop: nothing here waits for a disk in its thread.

What belongs to another key is not there for whoever asks, nor are answers of kept conversations for the pages of other
programs.

A response is kept behind the answer: whoever asks for it right after its last byte gets it, because reads come after
the writes that were given before. Not here: what responses look like (`router.protocols.responses`).
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from router.config import ConversationsConfig
from router.errors import PreviousResponseNotFoundError, ResponseNotFoundError
from router.http.caller import Caller, current_caller
from router.observers import Observers
from router.stores.base import StoreThread
from router.stores.conversations.kept import KeptConversations
from router.stores.conversations.store import ConversationStore, StoredResponse
from router.stores.forgotten import Forgotten
from router.stores.scrubbing import Scrubbing

SWEEP_S: Final = 600.0
"""How often responses are looked for that are too old."""


class Conversations:
    """The stored responses of a gateway. `run` is its task.

    Args:
        clock: Seconds since 1970.

    Attributes:
        kept: The conversations that stay until they are deleted.
        forgotten: Told of conversations of which something is kept no longer.
    """

    def __init__(
        self, path: Path, limits: Callable[[], ConversationsConfig], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._thread = StoreThread(lambda: _opened(path), "conversations")
        self._scrubbing = Scrubbing(self._thread)
        self.kept = KeptConversations(self._thread, lambda: self.keeps, on_deleted=self._on_deleted, clock=clock)
        self.forgotten: Observers[Forgotten] = Observers()

    @property
    def keeps(self) -> bool:
        """Whether anything is kept: the config wants it, and the file can be used."""
        return self._limits().max_bytes > 0 and self._thread.is_usable

    async def run(self) -> None:
        """Look for what is too old, now and then, until cancelled."""
        self._scrubbing.begin()  # for an earlier gateway that had no time for it
        while True:
            self._evict()
            await asyncio.sleep(SWEEP_S)

    async def close(self) -> None:
        """Write what is to be written, leave nothing of what was deleted, and close the file."""
        self._scrubbing.end()
        await self._thread.close()

    def keep(self, response: StoredResponse) -> None:
        """Keep a response, or what has become of it, as far as there is room; nobody waits for it."""
        self._thread.post(lambda store: store.put(response), "a response was not stored")
        self._evict()

    async def get(self, response_id: str) -> StoredResponse:
        """Return a response; one that is not kept is a ResponseNotFoundError."""
        found = await self._thread.call(lambda store: store.get(response_id))
        if found is None or not _may_see(current_caller(), found):
            raise ResponseNotFoundError(response_id)
        return found

    async def chain(self, previous_id: str) -> tuple[StoredResponse, ...]:
        """Return a response and all that it goes on from, the first one first.

        Raises:
            PreviousResponseNotFoundError: None of that id is kept.
        """
        chain = await self._thread.call(lambda store: store.chain(previous_id))
        if not chain or not _may_see(current_caller(), chain[-1]):
            raise PreviousResponseNotFoundError(previous_id)
        return chain

    async def history(self, response_id: str) -> tuple[StoredResponse, ...]:
        """Return the chain up to a response, itself included; errors as in `get`."""
        chain = await self._thread.call(lambda store: store.chain(response_id))
        if not chain or not _may_see(current_caller(), chain[-1]):
            raise ResponseNotFoundError(response_id)
        return chain

    async def item(self, item_id: str) -> dict[str, Any] | None:
        """Return an item of a kept response, or None."""
        may_see = partial(_may_see, current_caller())
        return await self._thread.call(lambda store: store.item(item_id, may_see))

    async def delete(self, response_id: str) -> None:
        """Forget a response; errors as in `get`."""
        found = await self.get(response_id)
        if not await self._thread.call(lambda store: store.delete(response_id)):
            raise ResponseNotFoundError(response_id)
        self._on_deleted([found.root_id])

    async def unfinished(self) -> tuple[StoredResponse, ...]:
        """Return the responses that the end of an earlier gateway cut off."""
        return await self._thread.call(ConversationStore.unfinished)

    def _on_deleted(self, places: Sequence[str]) -> None:
        self._on_forgotten(Forgotten(places, is_deleted=True))

    def _on_forgotten(self, forgotten: Forgotten) -> None:
        self._scrubbing.soon()
        if forgotten.places:
            self.forgotten.tell(forgotten)

    def _evict(self) -> None:
        limits = self._limits()
        before = self._clock() - limits.max_age_s
        loop = asyncio.get_running_loop()

        def evict(store: ConversationStore) -> None:
            gone = store.evict(before=before, max_bytes=limits.max_bytes)
            if gone:
                loop.call_soon_threadsafe(self._on_forgotten, Forgotten(gone, is_deleted=False))

        self._thread.post(evict, "old responses were not dropped")


def _may_see(caller: Caller, response: StoredResponse) -> bool:
    is_private = caller.is_foreign_page and response.conversation_id is not None
    return caller.may_see(response.owner) and not is_private


def _opened(path: Path) -> ConversationStore:
    """Open the store, which no other gateway has: what is being written in it was cut off."""
    store = ConversationStore(path)
    store.growing.end_cut_off()
    return store
