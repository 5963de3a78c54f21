"""Winds in SQLite, for the thread that opened the file. What may not be on the disk is in a table of the memory's."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec

from router.stores.base import Store
from router.stores.contexts.record import Beginnings, Wind
from router.stores.viewer import Viewer

_COLUMNS: Final = (
    "id, root, owner, model, kept_in, digest, num_told, task, narrative, earlier_id, session_id, tokens_before, "
    "tokens_after, narrative_tokens, told_by, ms, is_left_out, created_at, used_at, shown"
)
"""In the order of the fields of `Wind`, whose last one is the table."""
_TABLES: Final = {True: "winds", False: "passing_winds"}
"""By whether a wind is stored."""
_ALL: Final = "all_winds"
_AT_ONCE: Final = 500
"""Digests that are looked for in one query: SQLite has bounds for the values of a statement."""
_MEMORY: Final = (
    "PRAGMA temp_store = MEMORY",
    "CREATE TEMP TABLE passing_winds AS SELECT * FROM winds WHERE false",
    "CREATE INDEX temp.passing_winds_by_digest ON passing_winds (digest)",
    "CREATE TEMP VIEW all_winds AS SELECT *, 1 AS is_stored FROM winds UNION ALL SELECT *, 0 FROM passing_winds",
)


class ContextStore(Store):
    """The winds of one data folder."""

    MIGRATIONS: ClassVar = Path(__file__).parent / "migrations"

    def __init__(self, path: Path | str) -> None:
        super().__init__(path)
        for statement in _MEMORY:
            self.rows(statement)

    def put(self, wind: Wind) -> None:
        """Keep a wind, unless what it goes on from was deleted while it was made."""
        if wind.earlier_id is not None and self.get(wind.earlier_id) is None:
            return
        *values, is_stored = msgspec.structs.astuple(wind)
        marks = ", ".join("?" * len(values))
        self.rows(f"INSERT INTO {_TABLES[is_stored]} ({_COLUMNS}) VALUES ({marks})", *values)  # noqa: S608 - constants

    def longest(self, beginnings: Beginnings) -> Wind | None:
        """Return the wind of the longest beginning that has one, the newest of that; None = none has."""
        digests = list(beginnings.digests)
        while digests:
            asked, digests = digests[-_AT_ONCE:], digests[:-_AT_ONCE]
            found = self._winds(
                f"owner IS ? AND model = ? AND kept_in IS ? AND digest IN ({', '.join('?' * len(asked))}) "
                "ORDER BY num_told DESC, created_at DESC LIMIT 1",
                *(beginnings.owner, beginnings.model, beginnings.kept_in, *asked),
            )
            if found:
                return found[0]
        return None

    def get(self, context_id: str) -> Wind | None:
        """Return a wind, or None when none of that id is kept."""
        found = self._winds("id = ?", context_id)
        return found[0] if found else None

    def note_use(self, context_id: str, shown: bytes, *, is_stored: bool, now: float) -> None:
        """Take note that a model has seen it.

        Args:
            shown: As of a `Wind`; what is kept of an earlier use stays where it may not be on the disk.
        """
        self.rows(
            "UPDATE winds SET used_at = ?, shown = iif(?, ?, shown) WHERE id = ?", now, is_stored, shown, context_id
        )
        self.rows("UPDATE passing_winds SET used_at = ?, shown = ? WHERE id = ?", now, shown, context_id)

    def page(self, viewer: Viewer, *, after: str | None, limit: int) -> list[Wind]:
        """Return what a viewer sees, that which was used last first.

        Args:
            after: The wind that the page begins behind.
        """
        behind: tuple[str, ...] = ()
        where = viewer.condition
        if after is not None:
            where += f" AND (used_at, id) < (SELECT used_at, id FROM {_ALL} WHERE id = ?)"  # noqa: S608 - constants
            behind = (after,)
        return self._winds(f"{where} ORDER BY used_at DESC, id DESC LIMIT ?", viewer.key_id, *behind, limit)

    def delete(self, context_id: str) -> int:
        """Forget a wind with all that tell the same again: those before and behind it, whatever branch they are of.

        Returns:
            How many there were.
        """
        ids = self.rows(
            "WITH RECURSIVE tree (id) AS (SELECT ? UNION "  # noqa: S608 - constants
            f"SELECT near.id FROM tree JOIN {_ALL} AS each ON each.id = tree.id "
            f"JOIN {_ALL} AS near ON near.id = each.earlier_id OR near.earlier_id = each.id) SELECT id FROM tree",
            context_id,
        )
        return self._delete("id", [each for (each,) in ids])

    def delete_kept_in(self, places: Iterable[str]) -> int:
        """Forget the winds of kept conversations and stored responses; return how many there were."""
        return self._delete("kept_in", places)

    def delete_all(self, viewer: Viewer) -> int:
        """Forget what a viewer sees; return how many there were."""
        ids = self.rows(f"SELECT id FROM {_ALL} WHERE {viewer.condition}", viewer.key_id)  # noqa: S608 - constants
        return self._delete("id", [each for (each,) in ids])

    def evict(self, *, before: float, max_bytes: int) -> int:
        """Drop what is too old or too much, that which is longest unused first; return how many went.

        Args:
            before: Those that were used last before it go, seconds since 1970.
            max_bytes: Upper bound of what is kept.
        """
        rows = self.rows(
            "SELECT id, used_at, length(CAST(ifnull(narrative, '') AS BLOB)) + length(shown) "  # noqa: S608 - constants
            f"FROM {_ALL} ORDER BY used_at DESC, created_at DESC"
        )
        gone, num_left = [], max_bytes
        for context_id, used_at, size in rows:
            # One that is too large by itself takes no other with it.
            if size <= max_bytes:
                num_left -= size
            if used_at < before or size > max_bytes or num_left < 0:
                gone.append(context_id)
        return self._delete("id", gone)

    def _winds(self, where: str, *values: object) -> list[Wind]:
        rows = self.rows(f"SELECT {_COLUMNS}, is_stored FROM {_ALL} WHERE {where}", *values)  # noqa: S608 - constants
        return [_wind(row) for row in rows]

    def _delete(self, column: str, values: Iterable[str]) -> int:
        keys = [(value,) for value in values]
        num_gone = 0
        with self.write():
            for table in _TABLES.values() if keys else ():
                deleted = self._connection.executemany(f"DELETE FROM {table} WHERE {column} = ?", keys)  # noqa: S608 - constants
                num_gone += deleted.rowcount
        return num_gone


def _wind(row: tuple[Any, ...]) -> Wind:
    return msgspec.convert(dict(zip(Wind.__struct_fields__, row, strict=True)), Wind, strict=False)
