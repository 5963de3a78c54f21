"""Answers that grow in kept conversations, in SQLite: from what was asked to their end; for the thread of the file."""

from collections.abc import Sequence

import msgspec

from registry.sqlite import Database
from router.errors import ConversationLockedError
from router.stores.conversations.records import IN_PROGRESS, INCOMPLETE, ConversationItem, Item, Turn
from router.stores.conversations.trees import ConversationTrees


class GrowingAnswers:
    """The answers of one file that have not ended."""

    def __init__(self, database: Database, trees: ConversationTrees) -> None:
        self._database = database
        self._trees = trees

    def begin(self, turn: Turn) -> Turn:
        """Keep what a turn adds, before it is answered; return the turn with its items as they are kept.

        Raises:
            ConversationItemNotFoundError: The item that it goes on from is gone.
            ConversationLockedError: That is still being written, or waits for its answer.
        """
        key = turn.conversation_id
        with self._database.write():
            if turn.after_item_id is not None:
                before = self._trees.item(key, turn.after_item_id)
                if before.response_id in self._trees.running(key) and (before.is_output or not turn.is_chosen):
                    raise ConversationLockedError(key, str(before.response_id))
            added = self._trees.add(
                key, turn.after_item_id, turn.items, now=turn.created_at, response_id=turn.response_id
            )
            begun = msgspec.structs.replace(turn, items=tuple(each.item for each in added))
            facts = msgspec.json.encode({"model": turn.model}).decode()
            self._database.rows(
                "INSERT INTO conversation_answers (conversation_id, response_id, after_item_id, created_at, status, "
                "facts) VALUES (?, ?, ?, ?, ?, ?)",
                key,
                turn.response_id,
                begun.asked_id,
                turn.created_at,
                IN_PROGRESS,
                facts,
            )
        return begun

    def write_answer(self, turn: Turn, items: Sequence[Item], *, now: float) -> bool:
        """Keep an answer as far as it has come; tell whether its conversation still is there.

        Args:
            items: All that there are of it, in order.
        """
        key = turn.conversation_id
        with self._database.write():
            if turn.response_id not in self._trees.running(key):
                return False
            ids = [item["id"] for item in items]
            for item_id, is_output in self._item_ids(turn):
                if is_output and item_id not in ids:  # of an answer that began once more
                    self._trees.drop(key, item_id, turn.asked_id)
            before = turn.asked_id
            for item in items:
                self._trees.put(key, item, parent_id=before, response_id=turn.response_id, is_output=True, now=now)
                before = item["id"]
            self._move_head(turn, before, now)
        return True

    def end(self, turn: Turn, status: str, items: Sequence[Item], facts: str, *, now: float) -> None:
        """Keep an answer as it ended."""
        with self._database.write():
            if self.write_answer(turn, items, now=now):
                for item in items:
                    self._trees.search.put_item(turn.conversation_id, item)
                self._database.rows(
                    "UPDATE conversation_answers SET status = ?, facts = ? WHERE response_id = ?",
                    status,
                    facts,
                    turn.response_id,
                )

    def withdraw(self, turn: Turn) -> None:
        """Forget a turn that nothing came of, as it was begun or was to be: its request was refused."""
        key = turn.conversation_id
        with self._database.write():
            if turn.response_id not in self._trees.running(key):
                return
            self._database.rows("DELETE FROM conversation_answers WHERE response_id = ?", turn.response_id)
            for item_id, _ in reversed(self._item_ids(turn)):
                self._trees.drop(key, item_id, turn.after_item_id)
            self._trees.name(key)

    def end_cut_off(self) -> int:
        """Say of answers that the end of an earlier gateway cut off that they are incomplete; return how many."""
        with self._database.write():
            cut = self._database.rows(
                "SELECT response_id, conversation_id FROM conversation_answers WHERE status = ?", IN_PROGRESS
            )
            for response_id, key in cut:
                for each in self._trees.tree(key):
                    if each.response_id == response_id and each.is_output:
                        self._end_item(key, each)
                self._database.rows(
                    "UPDATE conversation_answers SET status = ? WHERE response_id = ?", INCOMPLETE, response_id
                )
        return len(cut)

    def _end_item(self, conversation_id: str, each: ConversationItem) -> None:
        item = each.item
        if item.get("status") == IN_PROGRESS:
            item["status"] = INCOMPLETE
            body = msgspec.json.encode(item).decode()
            self._database.rows(
                "UPDATE conversation_items SET body = ? WHERE conversation_id = ? AND item_id = ?",
                body,
                conversation_id,
                each.item_id,
            )
        self._trees.search.put_item(conversation_id, item)

    def _item_ids(self, turn: Turn) -> list[tuple[str, bool]]:
        """Return the items that are kept of a turn, in order, and whether each is of its answer."""
        rows = self._database.rows(
            "SELECT item_id, is_output FROM conversation_items WHERE conversation_id = ? AND response_id = ? "
            "ORDER BY id",
            turn.conversation_id,
            turn.response_id,
        )
        return [(item_id, bool(is_output)) for item_id, is_output in rows]

    def _move_head(self, turn: Turn, item_id: str | None, now: float) -> None:
        """Let the head go on with an answer, unless somebody has put it elsewhere meanwhile."""
        self._database.rows(
            "UPDATE conversations SET updated_at = ?, head_item_id = CASE WHEN head_item_id IS ? OR head_item_id IN "
            "(SELECT item_id FROM conversation_items WHERE conversation_id = ? AND response_id = ?) "
            "THEN ? ELSE head_item_id END WHERE id = ?",
            now,
            turn.asked_id,
            turn.conversation_id,
            turn.response_id,
            item_id,
            turn.conversation_id,
        )
