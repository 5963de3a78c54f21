"""Stored responses in SQLite, beside the conversations that are kept (`trees`); for the thread that opened the file.

A chain of responses is a tree: every response knows the one it goes on from. Such trees are evicted as a whole, the one
whose last answer is oldest first, so that none loses its beginning while it goes on. A response that was deleted can no
longer be looked up or gone on from; what it said stays as long as a response that goes on from it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec

from router.stores.base import Store
from router.stores.conversations.growing import GrowingAnswers
from router.stores.conversations.listing import ConversationLists
from router.stores.conversations.search import SearchIndex
from router.stores.conversations.trees import ConversationTrees

MAX_CHAIN: Final = 10_000
"""Longest chain that is followed, as many as a request may have messages."""

_COLUMNS: Final = "id, root_id, previous_id, created_at, status, input, body, owner, conversation_id"
"""In the order of the fields of `StoredResponse`."""


class StoredResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A response with what it was asked, and the response that it goes on from.

    Attributes:
        response_id: `resp_…`.
        root_id: The first response of its conversation; its own id where it is that.
        previous_id: What it goes on from, or None.
        created_at: Seconds since 1970.
        status: As in `body`.
        input: JSON of its own input items, those of earlier responses not among them.
        body: JSON of the response object.
        owner: Id of the key that it belongs to; None = it is the server's owner's.
        conversation_id: The kept conversation that it is a part of; it goes with that.
    """

    response_id: str
    root_id: str
    previous_id: str | None
    created_at: float
    status: str
    input: bytes
    body: bytes
    owner: str | None = None
    conversation_id: str | None = None

    @property
    def input_items(self) -> list[dict[str, Any]]:
        """Its own input items."""
        return msgspec.json.decode(self.input, type=list[dict[str, Any]])

    @property
    def output_items(self) -> list[dict[str, Any]]:
        """The items of its answer."""
        return msgspec.json.decode(self.body, type=_Output).output


class _Output(msgspec.Struct):
    output: list[dict[str, Any]]


class ConversationStore(Store):
    """The stored responses of one data folder."""

    MIGRATIONS: ClassVar = Path(__file__).parent / "migrations"

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        self.trees = ConversationTrees(self, SearchIndex(self))
        self.growing = GrowingAnswers(self, self.trees)
        self.lists = ConversationLists(self, self.trees)
        if self.trees.search.is_new:
            self.trees.index_all()

    def scrub(self) -> bool:
        """Leave nothing of what was deleted in the index either."""
        with self.write():
            self.trees.search.scrub()
        return super().scrub()

    def put(self, response: StoredResponse) -> None:
        """Keep a response, in the place of what was kept under its id."""
        num_bytes = len(response.input) + len(response.body)
        item_ids = [item["id"] for item in (*response.input_items, *response.output_items)]
        with self.write():
            if response.conversation_id is not None and self.trees.get(response.conversation_id) is None:
                return  # it was deleted meanwhile, with all that belongs to it
            self._connection.execute(
                f"INSERT INTO responses ({_COLUMNS}, num_bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "  # noqa: S608 - constants
                "ON CONFLICT (id) DO UPDATE SET status = excluded.status, num_bytes = excluded.num_bytes, "
                "input = excluded.input, body = excluded.body",
                (*msgspec.structs.astuple(response), num_bytes),
            )
            # An item that was sent again is still found where it came first.
            self._connection.executemany(
                "INSERT INTO items (id, response_id) VALUES (?, ?) ON CONFLICT (id) DO NOTHING",
                [(item_id, response.response_id) for item_id in item_ids],
            )

    def get(self, response_id: str) -> StoredResponse | None:
        """Return a response, or None when none of that id is kept."""
        rows = self.rows(f"SELECT {_COLUMNS} FROM responses WHERE id = ? AND NOT is_deleted", response_id)  # noqa: S608 - constants
        return _response(rows[0]) if rows else None

    def chain(self, response_id: str) -> tuple[StoredResponse, ...]:
        """Return a response and those that it goes on from, the first one first; () when it is not kept."""
        chain: list[StoredResponse] = []
        if (found := self.get(response_id)) is not None:
            chain.append(found)
        while chain and chain[-1].previous_id is not None and len(chain) < MAX_CHAIN:
            rows = self.rows(f"SELECT {_COLUMNS} FROM responses WHERE id = ?", chain[-1].previous_id)  # noqa: S608 - constants
            if not rows:
                break
            chain.append(_response(rows[0]))
        return tuple(reversed(chain))

    def item(self, item_id: str, may_see: Callable[[StoredResponse], bool] = lambda _: True) -> dict[str, Any] | None:
        """Return an input or output item of a kept response, or None.

        Args:
            may_see: Whether such a response is to be found.
        """
        rows = self.rows("SELECT response_id FROM items WHERE id = ?", item_id)
        response = self.get(rows[0][0]) if rows else None
        if response is None or not may_see(response):
            return None
        items = (*response.input_items, *response.output_items)
        return next((item for item in items if item["id"] == item_id), None)

    def delete(self, response_id: str) -> bool:
        """Forget a response; tell whether there was one."""
        found = self.get(response_id)
        if found is None:
            return False
        with self.write():
            self._connection.execute("UPDATE responses SET is_deleted = 1 WHERE id = ?", (response_id,))
            while self._connection.execute(
                "DELETE FROM responses WHERE is_deleted AND root_id = ? "
                "AND NOT EXISTS (SELECT 1 FROM responses AS next WHERE next.previous_id = responses.id)",
                (found.root_id,),
            ).rowcount:
                pass
        return True

    def evict(self, *, before: float, max_bytes: int) -> list[str]:
        """Drop conversations that have ended or are too much; return the first response of each.

        Args:
            before: Those whose last answer is older than this go, seconds since 1970.
            max_bytes: Upper bound of what is kept of inputs and answers.
        """
        with self.write():
            conversations = self.rows(
                "SELECT root_id, max(created_at) AS last, sum(num_bytes) FROM responses "
                "GROUP BY root_id ORDER BY last DESC, max(rowid) DESC"
            )
            gone, num_left = [], max_bytes
            for root_id, last, size in conversations:
                # One that is too large by itself takes no other with it.
                if size <= max_bytes:
                    num_left -= size
                if last < before or size > max_bytes or num_left < 0:
                    gone.append(root_id)
            self._connection.executemany("DELETE FROM responses WHERE root_id = ?", [(root_id,) for root_id in gone])
        return gone

    def unfinished(self) -> tuple[StoredResponse, ...]:
        """Return the responses that were being made when the gateway ended."""
        rows = self.rows(f"SELECT {_COLUMNS} FROM responses WHERE status IN ('queued', 'in_progress')")  # noqa: S608 - constants
        return tuple(_response(row) for row in rows)


def _response(row: tuple[Any, ...]) -> StoredResponse:
    return msgspec.convert(dict(zip(StoredResponse.__struct_fields__, row, strict=True)), StoredResponse)
