"""Kept conversations in SQLite: trees of items, and what goes when they are deleted.

For the thread that opened the file. A conversation's head is the item that it goes on from; what leads to it is the
conversation as it stands, everything else its other branches. Not here: answers that grow (`growing`), who may see what
(`kept`).
"""

import secrets
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from registry.sqlite import Database
from router.errors import ConversationItemNotFoundError, ConversationLockedError
from router.stores.conversations.records import (
    IN_PROGRESS,
    Conversation,
    ConversationAnswer,
    ConversationItem,
    Item,
    title_from,
)
from router.stores.conversations.search import SearchIndex

MAX_PATH: Final = 10_000
"""Most items that lead to one, as many as a request may have messages."""

_CONVERSATION: Final = (
    "id, owner, created_at, updated_at, title, is_title_own, metadata, head_item_id, is_pinned, is_archived"
)
_ITEM: Final = "item_id, parent_id, response_id, is_output, created_at, body"
_ANSWER: Final = "response_id, after_item_id, created_at, status, facts"
_OF_ITEM: Final = "conversation_id = ? AND item_id = ?"


class ConversationTrees:
    """The kept conversations of one file.

    Args:
        search: Is told of all texts.
    """

    def __init__(self, database: Database, search: SearchIndex) -> None:
        self._database = database
        self.search = search

    # ---- conversations ------------------------------------------------------------------------------------------

    def create(self, conversation: Conversation, items: Sequence[Item] = ()) -> Conversation:
        """Keep a new conversation that begins with some items; return it as it is then."""
        with self._database.write():
            self._database.rows(
                f"INSERT INTO conversations ({_CONVERSATION}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - constants
                *_row_of(conversation),
            )
            self.search.put_title(conversation.conversation_id, conversation.title)
            self.add(conversation.conversation_id, None, items, now=conversation.created_at)
        return self.found(conversation.conversation_id)

    def restore(
        self, conversation: Conversation, items: Sequence[ConversationItem], answers: Sequence[ConversationAnswer]
    ) -> None:
        """Keep a conversation that has been, with all of its branches; parents come before their children."""
        key = conversation.conversation_id
        with self._database.write():
            self.create(conversation)
            for each in items:
                self.put(
                    key,
                    each.item,
                    parent_id=each.parent_id,
                    response_id=each.response_id,
                    is_output=each.is_output,
                    now=each.created_at,
                )
                self.search.put_item(key, each.item)
            for answer in answers:
                self._database.put_row("conversation_answers", conversation_id=key, **msgspec.structs.asdict(answer))
            self.change(conversation)

    def get(self, conversation_id: str) -> Conversation | None:
        """Return a conversation, or None when none of that id is kept."""
        rows = self._database.rows(f"SELECT {_CONVERSATION} FROM conversations WHERE id = ?", conversation_id)  # noqa: S608 - constants
        return conversation_in(rows[0]) if rows else None

    def found(self, conversation_id: str) -> Conversation:
        """Return a conversation that is there."""
        found = self.get(conversation_id)
        assert found is not None, "it was looked for before"
        return found

    def change(self, changed: Conversation) -> None:
        """Write what may be changed of a conversation: all but its id, its owner and its beginning.

        Raises:
            ConversationItemNotFoundError: Its new head is none of its items.
        """
        key = changed.conversation_id
        with self._database.write():
            if changed.head_item_id is not None:
                self.item(key, changed.head_item_id)
            self._database.rows(
                "UPDATE conversations SET updated_at = ?, title = ?, is_title_own = ?, metadata = ?, "
                "head_item_id = ?, is_pinned = ?, is_archived = ? WHERE id = ?",
                *_row_of(changed)[3:],
                key,
            )
            self.search.put_title(key, changed.title)
            self.name(key)

    def delete(self, conversation_ids: Sequence[str]) -> None:
        """Forget conversations with all that belongs to them, their stored responses among it."""
        with self._database.write():
            for key in conversation_ids:
                self.search.drop_conversation(key)
                self._database.rows("DELETE FROM responses WHERE conversation_id = ?", key)
                self._database.rows("DELETE FROM conversations WHERE id = ?", key)

    def index_all(self) -> None:
        """Tell the search of everything: it has nothing yet."""
        with self._database.write():
            for key, title in self._database.rows("SELECT id, title FROM conversations"):
                self.search.put_title(key, title)
                for each in self.tree(key):
                    self.search.put_item(key, each.item)

    def running(self, conversation_id: str) -> list[str]:
        """Return the ids of the responses that are being made in a conversation."""
        rows = self._database.rows(
            "SELECT response_id FROM conversation_answers WHERE conversation_id = ? AND status = ?",
            conversation_id,
            IN_PROGRESS,
        )
        return [response_id for (response_id,) in rows]

    # ---- items --------------------------------------------------------------------------------------------------

    def item(self, conversation_id: str, item_id: str) -> ConversationItem:
        """Return an item of any branch.

        Raises:
            ConversationItemNotFoundError: There is none of that id.
        """
        rows = self._database.rows(
            f"SELECT {_ITEM} FROM conversation_items WHERE {_OF_ITEM}",  # noqa: S608 - constants
            conversation_id,
            item_id,
        )
        if not rows:
            raise ConversationItemNotFoundError(conversation_id, item_id)
        return _item_in(rows[0])

    def path(self, conversation_id: str, item_id: str | None) -> list[ConversationItem]:
        """Return an item behind all that it goes on from, the first one first; [] for None.

        Raises:
            ConversationItemNotFoundError: There is none of that id.
        """
        if item_id is None:
            return []
        rows = self._database.rows(
            "WITH RECURSIVE path (id, parent_id, depth) AS ("  # noqa: S608 - constants
            f"SELECT id, parent_id, 0 FROM conversation_items WHERE {_OF_ITEM} "
            "UNION ALL SELECT above.id, above.parent_id, depth + 1 FROM path JOIN conversation_items AS above "
            "ON above.conversation_id = ? AND above.item_id = path.parent_id LIMIT ?) "
            "SELECT item_id, each.parent_id, response_id, is_output, created_at, body "
            "FROM path JOIN conversation_items AS each USING (id) ORDER BY depth DESC",
            conversation_id,
            item_id,
            conversation_id,
            MAX_PATH,
        )
        if not rows:
            raise ConversationItemNotFoundError(conversation_id, item_id)
        return [_item_in(row) for row in rows]

    def tree(self, conversation_id: str) -> list[ConversationItem]:
        """Return the items of all branches, in the order in which they came."""
        rows = self._database.rows(
            f"SELECT {_ITEM} FROM conversation_items WHERE conversation_id = ? ORDER BY id",  # noqa: S608 - constants
            conversation_id,
        )
        return [_item_in(row) for row in rows]

    def answers(self, conversation_id: str) -> list[ConversationAnswer]:
        """Return what is known of the answers of all branches, in the order in which they began."""
        rows = self._database.rows(
            f"SELECT {_ANSWER} FROM conversation_answers WHERE conversation_id = ? ORDER BY rowid",  # noqa: S608 - constants
            conversation_id,
        )
        return [ConversationAnswer(**dict(zip(ConversationAnswer.__struct_fields__, row, strict=True))) for row in rows]

    def add(
        self,
        conversation_id: str,
        after: str | None,
        items: Sequence[Item],
        *,
        now: float,
        response_id: str | None = None,
    ) -> list[ConversationItem]:
        """Put items behind one another, the first behind `after`; the last becomes the head."""
        added: list[ConversationItem] = []
        with self._database.write():
            for item in items:
                item_id = self._free_id(conversation_id, item["id"])
                own = item if item_id == item["id"] else {**item, "id": item_id}
                self.put(conversation_id, own, parent_id=after, response_id=response_id, is_output=False, now=now)
                self.search.put_item(conversation_id, own)
                added.append(self.item(conversation_id, item_id))
                after = item_id
            self._database.rows(
                "UPDATE conversations SET updated_at = ?, head_item_id = ? WHERE id = ?", now, after, conversation_id
            )
            self.name(conversation_id)
        return added

    def delete_item(self, conversation_id: str, item_id: str) -> None:
        """Forget an item; those behind it go on from what it went on from.

        The stored response that it came with is forgotten as well: that has its text, too.

        Raises:
            ConversationItemNotFoundError: There is none of that id.
            ConversationLockedError: It is still being written, or waits for its answer, which would go on from nothing.
        """
        with self._database.write():
            gone = self.item(conversation_id, item_id)
            if gone.response_id in self.running(conversation_id):
                raise ConversationLockedError(conversation_id, str(gone.response_id))
            self.drop(conversation_id, item_id, gone.parent_id)
            self._database.rows("DELETE FROM responses WHERE id = ?", gone.response_id)
            self.name(conversation_id)

    def put(
        self,
        conversation_id: str,
        item: Item,
        *,
        parent_id: str | None,
        response_id: str | None,
        is_output: bool,
        now: float,
    ) -> None:
        """Write an item, in the place of what it was before; its place in the tree stays then."""
        encoded = msgspec.json.encode(item)
        self._database.rows(
            f"INSERT INTO conversation_items (conversation_id, num_bytes, {_ITEM}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608 - constants
            "ON CONFLICT (conversation_id, item_id) DO UPDATE SET body = excluded.body, num_bytes = excluded.num_bytes",
            conversation_id,
            len(encoded),
            item["id"],
            parent_id,
            response_id,
            is_output,
            now,
            encoded.decode(),
        )

    def drop(self, conversation_id: str, item_id: str, parent_id: str | None) -> None:
        """Take an item out of the tree; what was behind it, and the head where it was that, go to its parent."""
        for table, column in (
            ("conversation_items", "parent_id"),
            ("conversation_answers", "after_item_id"),
        ):
            self._database.rows(
                f"UPDATE {table} SET {column} = ? WHERE conversation_id = ? AND {column} = ?",  # noqa: S608 - constants
                parent_id,
                conversation_id,
                item_id,
            )
        self._database.rows(
            "UPDATE conversations SET head_item_id = ? WHERE id = ? AND head_item_id = ?",
            parent_id,
            conversation_id,
            item_id,
        )
        self.search.drop_item(conversation_id, item_id)
        self._database.rows(f"DELETE FROM conversation_items WHERE {_OF_ITEM}", conversation_id, item_id)  # noqa: S608 - constants

    def _free_id(self, conversation_id: str, item_id: str) -> str:
        """Return an item's id, or a new one where the conversation has that already."""
        taken = self._database.rows(
            f"SELECT 1 FROM conversation_items WHERE {_OF_ITEM}",  # noqa: S608 - constants
            conversation_id,
            item_id,
        )
        return f"{item_id.partition('_')[0]}_{secrets.token_hex(16)}" if taken else item_id

    def name(self, conversation_id: str) -> None:
        """Give a conversation that has no title of its own that of its first message."""
        found = self.get(conversation_id)
        if found is None or found.is_title_own:
            return
        rows = self._database.rows(
            "SELECT body FROM conversation_items WHERE conversation_id = ? ORDER BY id LIMIT 20", conversation_id
        )
        title = title_from([msgspec.json.decode(body) for (body,) in rows])
        if title != found.title:
            self._database.rows("UPDATE conversations SET title = ? WHERE id = ?", title, conversation_id)
            self.search.put_title(conversation_id, title)


def conversation_in(row: Sequence[Any]) -> Conversation:
    """Return the conversation that a row of its columns is."""
    values = dict(zip(Conversation.__struct_fields__, row, strict=True))
    values["metadata"] = msgspec.json.decode(values["metadata"])
    return msgspec.convert(values, Conversation, strict=False)


def _row_of(conversation: Conversation) -> list[Any]:
    values = msgspec.structs.asdict(conversation)
    values["metadata"] = msgspec.json.encode(conversation.metadata).decode()
    return list(values.values())


def _item_in(row: Sequence[Any]) -> ConversationItem:
    return msgspec.convert(
        dict(zip(ConversationItem.__struct_fields__, row, strict=True)), ConversationItem, strict=False
    )
