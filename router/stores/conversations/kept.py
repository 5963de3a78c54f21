"""Kept conversations for the event loop, each caller's own; nothing here waits for a disk in its thread.

What belongs to another key is not there for whoever asks. Not here: what items look like, and how answers are made.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from router.errors import ConversationNotFoundError, StoreUnavailableError
from router.http.caller import current_caller
from router.http.origin import check_own_page
from router.stores.base import StoreThread
from router.stores.conversations.listing import Found, StoredSizes
from router.stores.conversations.records import Conversation, ConversationAnswer, ConversationItem, Item, Turn
from router.stores.viewer import current_viewer

if TYPE_CHECKING:
    from router.stores.conversations.store import ConversationStore

T = TypeVar("T")


class Branches(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation with all that it has."""

    conversation: Conversation
    items: list[ConversationItem]
    answers: list[ConversationAnswer]


class KeptConversations:
    """The kept conversations of a gateway.

    Every method that is given an id may raise a ConversationNotFoundError, and one that is given an item's a
    ConversationItemNotFoundError; all of them a StoreUnavailableError.

    Args:
        can_keep: Whether anything is to be kept.
        on_deleted: Called after something of these conversations was deleted.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        thread: "StoreThread[ConversationStore]",
        can_keep: Callable[[], bool],
        *,
        on_deleted: Callable[[Sequence[str]], object],
        clock: Callable[[], float],
    ) -> None:
        self._thread = thread
        self._can_keep = can_keep
        self._on_deleted = on_deleted
        self._clock = clock

    def check_usable(self) -> None:
        """Refuse what is to be kept where nothing is.

        Raises:
            StoreUnavailableError: It is so.
        """
        if not self._can_keep():
            raise StoreUnavailableError(
                "Conversations are not kept: conversations.max_bytes is 0, or the log says what is wrong with the "
                "database."
            )

    async def create(self, conversation_id: str, metadata: dict[str, str], items: Sequence[Item]) -> Conversation:
        """Begin a conversation of the caller's."""
        self.check_usable()
        now = self._clock()
        conversation = Conversation(
            conversation_id=conversation_id,
            owner=current_caller().key_id,
            created_at=now,
            updated_at=now,
            metadata=metadata,
        )
        return await self._thread.call(lambda store: store.trees.create(conversation, items))

    async def sources(self) -> set[str]:
        """Return where the caller's conversations came from, as `ConversationLists.sources` does."""
        owner = current_caller().key_id
        return await self._thread.call(lambda store: store.lists.sources(owner))

    async def restore(self, branches: Branches) -> None:
        """Keep a conversation that has been as one of the caller's; a time of 0 is now."""
        self.check_usable()
        now = self._clock()
        given = branches.conversation
        begun_at = given.created_at or now
        conversation = msgspec.structs.replace(
            given, owner=current_caller().key_id, created_at=begun_at, updated_at=given.updated_at or begun_at
        )
        items = [msgspec.structs.replace(each, created_at=each.created_at or begun_at) for each in branches.items]
        await self._thread.call(lambda store: store.trees.restore(conversation, items, branches.answers))

    async def get(self, conversation_id: str) -> Conversation:
        """Return a conversation."""
        return await self._on(conversation_id, lambda _, found: found)

    async def change(self, conversation_id: str, **fields: Any) -> Conversation:
        """Change fields of a conversation; return it as it is then."""

        def change(store: "ConversationStore", found: Conversation) -> Conversation:
            store.trees.change(msgspec.structs.replace(found, **fields))
            return store.trees.found(conversation_id)

        return await self._on(conversation_id, change)

    async def delete(self, conversation_id: str) -> list[str]:
        """Forget a conversation with all that it has; return the responses that were being made in it."""

        def delete(store: "ConversationStore", _: Conversation) -> list[str]:
            running = store.trees.running(conversation_id)
            store.trees.delete([conversation_id])
            return running

        running = await self._on(conversation_id, delete)
        self._on_deleted([conversation_id])
        return running

    async def delete_all(self) -> tuple[int, list[str]]:
        """Forget all conversations of the caller's, for an administrator everybody's.

        Returns:
            How many there were, and the responses that were being made in them.
        """
        viewer = current_viewer()

        def delete(store: "ConversationStore") -> tuple[list[str], list[str]]:
            with store.write():
                ids = store.lists.ids(viewer)
                running = [response_id for key in ids for response_id in store.trees.running(key)]
                store.trees.delete(ids)
                return ids, running

        ids, running = await self._thread.call(delete)
        self._on_deleted(ids)
        return len(ids), running

    async def page(self, *, is_archived: bool, after: str | None, limit: int) -> list[Conversation]:
        """Return the caller's conversations, as `ConversationLists.page` does."""
        viewer = current_viewer()
        if after is not None:
            await self.get(after)
        return await self._thread.call(
            lambda store: store.lists.page(viewer, is_archived=is_archived, after=after, limit=limit)
        )

    async def search(self, query: str, *, is_archived: bool, limit: int) -> list[Found]:
        """Return those of the caller's conversations that have all words of a query, the best ones first."""
        viewer = current_viewer()
        return await self._thread.call(
            lambda store: store.lists.search(viewer, query, is_archived=is_archived, limit=limit)
        )

    async def sizes(self) -> StoredSizes:
        """Return what the caller's conversations and responses take."""
        viewer = current_viewer()
        return await self._thread.call(lambda store: store.lists.sizes(viewer))

    async def ids(self) -> list[str]:
        """Return all conversations of the caller's."""
        viewer = current_viewer()
        return await self._thread.call(lambda store: store.lists.ids(viewer))

    async def path(self, conversation_id: str, last: str | None = None) -> list[ConversationItem]:
        """Return what a conversation has up to an item, or to its head, the first item first."""
        return await self._on(
            conversation_id, lambda store, found: store.trees.path(conversation_id, last or found.head_item_id)
        )

    async def branches(self, conversation_id: str) -> Branches:
        """Return a conversation with all of its branches."""
        return await self._on(
            conversation_id,
            lambda store, found: Branches(
                conversation=found,
                items=store.trees.tree(conversation_id),
                answers=store.trees.answers(conversation_id),
            ),
        )

    async def item(self, conversation_id: str, item_id: str) -> ConversationItem:
        """Return an item of any branch."""
        return await self._on(conversation_id, lambda store, _: store.trees.item(conversation_id, item_id))

    async def add(self, conversation_id: str, items: Sequence[Item]) -> list[ConversationItem]:
        """Put items behind a conversation's head; return them as they are kept."""
        self.check_usable()
        now = self._clock()
        return await self._on(
            conversation_id, lambda store, found: store.trees.add(conversation_id, found.head_item_id, items, now=now)
        )

    async def delete_item(self, conversation_id: str, item_id: str) -> Conversation:
        """Forget an item; return its conversation.

        Raises:
            ConversationLockedError: It is still being written, or waits for its answer.
        """

        def delete(store: "ConversationStore", _: Conversation) -> Conversation:
            store.trees.delete_item(conversation_id, item_id)
            return store.trees.found(conversation_id)

        changed = await self._on(conversation_id, delete)
        self._on_deleted([conversation_id])
        return changed

    async def written(self, conversation_id: str, response_id: str) -> list[Item]:
        """Return what was written of an answer."""
        branches = await self.branches(conversation_id)
        return [each.item for each in branches.items if each.is_output and each.response_id == response_id]

    async def begin(self, turn: Turn) -> Turn:
        """Keep what a turn adds, before it is answered; return the turn with its items as they are kept.

        Raises:
            ConversationLockedError: What it goes on from is still being written.
        """
        try:
            return await self._on(turn.conversation_id, lambda store, _: store.growing.begin(turn))
        except asyncio.CancelledError:
            # The thread may have begun it all the same, and nobody would end it.
            self.withdraw(turn)
            raise

    def write_answer(self, turn: Turn, items: Sequence[Item]) -> None:
        """Keep an answer as far as it has come; nobody waits for it."""
        now = self._clock()
        self._thread.post(
            lambda store: store.growing.write_answer(turn, items, now=now), "the beginning of an answer was not kept"
        )

    def end(self, turn: Turn, status: str, items: Sequence[Item], facts: str) -> None:
        """Keep an answer as it ended; nobody waits for it."""
        now = self._clock()
        self._thread.post(
            lambda store: store.growing.end(turn, status, items, facts, now=now), "an answer was not kept"
        )

    def withdraw(self, turn: Turn) -> None:
        """Forget a turn whose request was refused; nobody waits for it."""
        self._thread.post(lambda store: store.growing.withdraw(turn), "a request that was refused is still kept")
        self._on_deleted([])

    async def _on(self, conversation_id: str, job: Callable[["ConversationStore", Conversation], T]) -> T:
        """Do something with a conversation of the caller's, in one transaction.

        Raises:
            OriginNotAllowedError: The page of another program asks, which no way leads to what is kept here.
        """
        caller = current_caller()
        check_own_page(caller)
        may_see = caller.may_see

        def run(store: "ConversationStore") -> T:
            with store.write():
                found = store.trees.get(conversation_id)
                if found is None or not may_see(found.owner):
                    raise ConversationNotFoundError(conversation_id)
                return job(store, found)

        return await self._thread.call(run)
