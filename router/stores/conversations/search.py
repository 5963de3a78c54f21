"""The full-text index over kept conversations: their titles, and what their messages say.

For the thread that opened the file. Rows are written in the transaction of what they index, by the same hands: the
index has texts as `words` makes them, which no trigger could. Where Python's SQLite lacks FTS5, texts are looked
through one after the other.
"""

from itertools import islice
from typing import Final

import msgspec

from registry.sqlite import Database
from router.stores.conversations.records import Item, text_of
from router.stores.conversations.words import match_for, spaced
from router.stores.viewer import Viewer

MAX_HITS: Final = 1_000
"""Most rows that are looked at for one query, the best ones first."""
_TITLE_WEIGHT: Final = 4.0
_HAS_INDEX: Final = "SELECT 1 FROM sqlite_master WHERE name = 'search'"
_HAS_FTS5: Final = "SELECT 1 FROM pragma_module_list WHERE name = 'fts5'"


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation that was found, by its best row.

    Attributes:
        item_id: The message; None = the title.
    """

    conversation_id: str
    item_id: str | None


class SearchIndex:
    """The index of one file.

    Attributes:
        is_there: Whether texts are indexed.
        is_new: Whether it was made just now, and has nothing yet.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.is_there = bool(database.rows(_HAS_FTS5))
        self.is_new = self.is_there and not database.rows(_HAS_INDEX)
        if self.is_there:
            with database.write():
                database.rows(
                    "CREATE TABLE IF NOT EXISTS search_rows (id INTEGER PRIMARY KEY, conversation_id TEXT NOT NULL, "
                    "item_id TEXT) STRICT"
                )
                database.rows(
                    "CREATE UNIQUE INDEX IF NOT EXISTS search_rows_by_item "
                    "ON search_rows (conversation_id, coalesce(item_id, ''))"
                )
                database.rows(
                    "CREATE VIRTUAL TABLE IF NOT EXISTS search USING fts5(title, body, "
                    "tokenize = 'unicode61 remove_diacritics 2')"
                )

    def put_title(self, conversation_id: str, title: str) -> None:
        """Index a conversation's title, in the place of the one before."""
        self._put(conversation_id, None, title=title)

    def put_item(self, conversation_id: str, item: Item) -> None:
        """Index what an item says, if it says anything, in the place of what it said before."""
        self._put(conversation_id, item["id"], body=text_of(item))

    def drop_item(self, conversation_id: str, item_id: str | None) -> None:
        """Forget an item's row, or for None the title's."""
        if self.is_there:
            rows = self._database.rows(
                "DELETE FROM search_rows WHERE conversation_id = ? AND coalesce(item_id, '') = ? RETURNING id",
                conversation_id,
                item_id or "",
            )
            for (row_id,) in rows:
                self._database.rows("DELETE FROM search WHERE rowid = ?", row_id)

    def drop_conversation(self, conversation_id: str) -> None:
        """Forget all rows of a conversation."""
        if self.is_there:
            self._database.rows(
                "DELETE FROM search WHERE rowid IN (SELECT id FROM search_rows WHERE conversation_id = ?)",
                conversation_id,
            )
            self._database.rows("DELETE FROM search_rows WHERE conversation_id = ?", conversation_id)

    def scrub(self) -> None:
        """Write the index anew, without what was deleted: `secure_delete` does not reach its tables.

        Source: sqlite.org/pragma.html#pragma_secure_delete.
        """
        if self.is_there:
            self._database.rows("INSERT INTO search (search) VALUES ('optimize')")

    def find(self, terms: list[str], viewer: Viewer, *, is_archived: bool = False) -> list[Hit]:
        """Return the conversations that have all of some words in their title or in one message, the best first."""
        if not terms:
            return []
        look = self._ranked if self.is_there else self._looked_through
        rows = look(terms, viewer, is_archived=is_archived)
        hits: dict[str, Hit] = {}
        for conversation_id, item_id in rows:
            hits.setdefault(conversation_id, Hit(conversation_id=conversation_id, item_id=item_id))
        return list(hits.values())

    def _put(self, conversation_id: str, item_id: str | None, *, title: str = "", body: str = "") -> None:
        self.drop_item(conversation_id, item_id)
        if self.is_there and (title or body):
            row_id = self._database.add_row("search_rows", conversation_id=conversation_id, item_id=item_id)
            self._database.rows(
                "INSERT INTO search (rowid, title, body) VALUES (?, ?, ?)", row_id, spaced(title), spaced(body)
            )

    def _ranked(self, terms: list[str], viewer: Viewer, *, is_archived: bool) -> list[tuple[str, str | None]]:
        rows = self._database.rows(
            "SELECT search_rows.conversation_id, search_rows.item_id FROM search "  # noqa: S608 - constants
            "JOIN search_rows ON search_rows.id = search.rowid "
            "JOIN conversations ON conversations.id = search_rows.conversation_id "
            f"WHERE search MATCH ? AND {viewer.condition} AND is_archived = ? "
            # Another Python's SQLite may have deleted items without an index.
            "AND (item_id IS NULL OR EXISTS (SELECT 1 FROM conversation_items AS each "
            "WHERE each.conversation_id = search_rows.conversation_id AND each.item_id = search_rows.item_id)) "
            "ORDER BY bm25(search, ?, 1.0), search.rowid DESC LIMIT ?",
            match_for(terms),
            viewer.key_id,
            is_archived,
            _TITLE_WEIGHT,
            MAX_HITS,
        )
        return [(conversation_id, item_id) for conversation_id, item_id in rows]

    def _looked_through(self, terms: list[str], viewer: Viewer, *, is_archived: bool) -> list[tuple[str, str | None]]:
        found: list[tuple[str, str | None]] = []
        for key, title in self._database.rows(
            f"SELECT id, title FROM conversations WHERE {viewer.condition} AND is_archived = ? "  # noqa: S608 - constants
            "ORDER BY updated_at DESC",
            viewer.key_id,
            is_archived,
        ):
            bodies = self._database.rows(
                "SELECT item_id, body FROM conversation_items WHERE conversation_id = ? ORDER BY id DESC", key
            )
            texts = [(None, title), *((item_id, text_of(msgspec.json.decode(body))) for item_id, body in bodies)]
            hits = (item_id for item_id, text in texts if _has_all(text, terms))
            found += [(key, item_id) for item_id in islice(hits, 1)]
        return found


def _has_all(text: str, terms: list[str]) -> bool:
    lower = text.casefold()
    return all(term.casefold() in lower for term in terms)
