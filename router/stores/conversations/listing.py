"""Kept conversations as lists: the last ones used, those that were searched for, and what all of them take."""

from typing import Any, Final

import msgspec

from registry.sqlite import Database
from router.stores.conversations.records import Conversation, text_of
from router.stores.conversations.trees import ConversationTrees
from router.stores.conversations.words import SnippetPart, snippet_of, terms_of
from router.stores.viewer import Viewer

SOURCE_KEY: Final = "source_id"
"""Of the metadata of a conversation that was imported: what it was where it came from."""
OWN_SOURCE: Final = "mlxr:"
"""Before the id of a conversation of ours, as a source."""

_SIZES: Final = (
    ("num_conversations", "count(*)", "conversations"),
    ("num_items", "count(*)", "conversation_items"),
    ("num_bytes", "coalesce(sum(num_bytes), 0)", "conversation_items"),
    ("num_responses", "count(*)", "responses"),
    ("response_bytes", "coalesce(sum(num_bytes), 0)", "responses"),
)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation that was searched for, and where.

    Attributes:
        item_id: The message; None = the title.
        parts: Of its text.
    """

    conversation: Conversation
    item_id: str | None
    parts: tuple[SnippetPart, ...]


class StoredSizes(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept, in numbers and in bytes of JSON.

    Attributes:
        file_bytes: Of the whole database; None = the viewer sees only a part of it.
    """

    num_conversations: int
    num_items: int
    num_bytes: int
    num_responses: int
    response_bytes: int
    file_bytes: int | None


class ConversationLists:
    """The lists of one file."""

    def __init__(self, database: Database, trees: ConversationTrees) -> None:
        self._database = database
        self._trees = trees

    def page(self, viewer: Viewer, *, is_archived: bool, after: str | None, limit: int) -> list[Conversation]:
        """Return the pinned conversations and then the others, the last one used first.

        Args:
            after: The conversation that the page begins behind.
        """
        behind, values = "", []
        if after is not None:
            place = "is_pinned, updated_at, rowid"
            behind = f"AND ({place}) < (SELECT {place} FROM conversations WHERE id = ?)"  # noqa: S608 - constants
            values = [after]
        rows = self._database.rows(
            f"SELECT id FROM conversations WHERE {viewer.condition} AND is_archived = ? {behind} "  # noqa: S608 - constants
            "ORDER BY is_pinned DESC, updated_at DESC, rowid DESC LIMIT ?",
            viewer.key_id,
            is_archived,
            *values,
            limit,
        )
        return [self._trees.found(key) for (key,) in rows]

    def search(self, viewer: Viewer, query: str, *, is_archived: bool, limit: int) -> list[Found]:
        """Return the conversations that have all words of a query in their title or in one message, the best first."""
        terms, found = terms_of(query), []
        for hit in self._trees.search.find(terms, viewer, is_archived=is_archived)[:limit]:
            conversation = self._trees.found(hit.conversation_id)
            text = self._text_of(conversation, hit.item_id)
            found.append(Found(conversation=conversation, item_id=hit.item_id, parts=snippet_of(text, terms)))
        return found

    def ids(self, viewer: Viewer) -> list[str]:
        """Return all conversations that a viewer sees, in the order in which they were begun."""
        rows = self._database.rows(
            f"SELECT id FROM conversations WHERE {viewer.condition} ORDER BY rowid",  # noqa: S608 - constants
            viewer.key_id,
        )
        return [key for (key,) in rows]

    def sources(self, owner: str | None) -> set[str]:
        """Return where the conversations of a key came from: the ids in their metadata, and their own."""
        rows = self._database.rows("SELECT id, metadata FROM conversations WHERE owner IS ?", owner)
        named = {msgspec.json.decode(metadata).get(SOURCE_KEY) for _, metadata in rows}
        return {f"{OWN_SOURCE}{key}" for key, _ in rows} | {each for each in named if isinstance(each, str)}

    def sizes(self, viewer: Viewer) -> StoredSizes:
        """Return what is kept of what a viewer sees."""
        file_bytes = None
        if viewer.sees_all:
            folder, name = self._database.path.parent, self._database.path.name
            file_bytes = sum(each.stat().st_size for each in folder.glob(f"{name}*"))
        values = {name: self._sum(viewer, what, table) for name, what, table in _SIZES}
        return StoredSizes(**values, file_bytes=file_bytes)

    def _sum(self, viewer: Viewer, what: str, table: str) -> Any:
        of = " JOIN conversations ON conversations.id = conversation_id" if table == "conversation_items" else ""
        rows = self._database.rows(
            f"SELECT {what} FROM {table}{of} WHERE {viewer.condition}",  # noqa: S608 - constants
            viewer.key_id,
        )
        return rows[0][0]

    def _text_of(self, conversation: Conversation, item_id: str | None) -> str:
        if item_id is None:
            return conversation.title
        return text_of(self._trees.item(conversation.conversation_id, item_id).item)
