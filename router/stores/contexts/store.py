"""Winds in SQLite, for the thread that opened the file. What may not be on the disk is in a table of the memory's."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec

from router.stores.base import Store
from router.stores.contexts.record import Beginnings, Wind, WindUse
from router.stores.viewer import Viewer

_COLUMNS: Final = (
    "id, root, owner, model, kept_in, digest, num_told, num_turns, task, narrative, earlier_id, session_id, "
    "tokens_before, tokens_after, narrative_tokens, told_by, ms, is_left_out, created_at, used_at, shown"
)
"""In the order of the fields of `Wind`, whose last one is the table."""
_WINDS: Final = {True: "winds", False: "passing_winds"}
_PLACES: Final = {True: "wind_places", False: "passing_places"}
"""By whether a wind is stored."""
_ALL: Final = "all_winds"
_AT_ONCE: Final = 500
"""Digests that are looked for in one query: SQLite has bounds for the values of a statement."""
_MEMORY: Final = (
    "PRAGMA temp_store = MEMORY",
    "CREATE TEMP TABLE passing_winds AS SELECT * FROM winds WHERE false",
    "CREATE UNIQUE INDEX temp.passing_winds_by_id ON passing_winds (id)",
    "CREATE INDEX temp.passing_winds_by_digest ON passing_winds (digest)",
    "CREATE INDEX temp.passing_winds_by_earlier ON passing_winds (earlier_id)",
    "CREATE TEMP TABLE passing_places (place TEXT, context_id TEXT, PRIMARY KEY (place, context_id))",
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
        marks = ", ".join("?" * (len(values) + 1))
        with self.write():
            self.rows(
                f"INSERT INTO {_WINDS[is_stored]} ({_COLUMNS}, num_bytes) VALUES ({marks})",  # noqa: S608 - constants
                *values,
                wind.num_bytes,
            )
            self._link(wind.context_id, wind.kept_in, is_stored=is_stored)

    def longest(self, beginnings: Beginnings) -> Wind | None:
        """Return the wind of the longest beginning that has one, the newest of that; None = none has."""
        digests = list(beginnings.digests)
        while digests:
            asked, digests = digests[-_AT_ONCE:], digests[:-_AT_ONCE]
            found = self._winds(
                f"owner IS ? AND model = ? AND digest IN ({', '.join('?' * len(asked))}) "
                "ORDER BY num_told DESC, created_at DESC LIMIT 1",
                *(beginnings.owner, beginnings.model, *asked),
            )
            if found:
                return found[0]
        return None

    def get(self, context_id: str) -> Wind | None:
        """Return a wind, or None when none of that id is kept."""
        found = self._winds("id = ?", context_id)
        return found[0] if found else None

    def note_use(self, use: WindUse, *, now: float) -> None:
        """Take note that a model has seen it."""
        with self.write():
            for is_stored, table in _WINDS.items():
                # What was shown of an earlier use stays where that of this one may not be on the disk.
                may_write = use.is_stored or not is_stored
                written = ", shown = ?, num_bytes = num_bytes - length(shown) + length(?), kept_in = ?"
                values = (use.shown, use.shown, use.kept_in)
                found = self.rows(
                    f"UPDATE {table} SET used_at = ?{written if may_write else ''} WHERE id = ? RETURNING id",  # noqa: S608 - constants
                    *(now, *(values if may_write else ()), use.context_id),
                )
                if found and may_write:
                    self._link(use.context_id, use.kept_in, is_stored=is_stored)

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

    def sizes(self, viewer: Viewer) -> tuple[int, int]:
        """Return how many there are of what a viewer sees, and what they take, bytes."""
        ((num, num_bytes),) = self.rows(
            f"SELECT count(*), coalesce(sum(num_bytes), 0) FROM {_ALL} WHERE {viewer.condition}",  # noqa: S608 - constants
            viewer.key_id,
        )
        return num, num_bytes

    def delete(self, context_id: str) -> int:
        """Forget a wind with all that tell the same again: those before and behind it, whatever branch they are of.

        Returns:
            How many there were.
        """
        found, asked = {context_id}, [context_id]
        with self.write():
            while asked:
                near = self._near(asked.pop()) - found
                found |= near
                asked += near
            return self._delete(found)

    def delete_kept_in(self, places: Iterable[str]) -> int:
        """Forget what kept conversations and stored responses have used; return how many there were."""
        with self.write():
            return self._delete(self._linked(places))

    def unlink(self, places: Iterable[str]) -> int:
        """Forget what was used by conversations that are kept no longer, and by none that is; return how many."""
        with self.write():
            linked = self._linked(places)
            keys = [(place,) for place in places]
            for table in _PLACES.values():
                self._connection.executemany(f"DELETE FROM {table} WHERE place = ?", keys)  # noqa: S608 - constants
            return self._delete(context_id for context_id in linked if not self._is_linked(context_id))

    def delete_all(self, viewer: Viewer) -> int:
        """Forget what a viewer sees; return how many there were."""
        ids = self.rows(f"SELECT id FROM {_ALL} WHERE {viewer.condition}", viewer.key_id)  # noqa: S608 - constants
        return self._delete(each for (each,) in ids)

    def evict(self, *, before: float, max_bytes: int) -> int:
        """Drop what is too old or too much, that which is longest unused first; return how many went.

        Args:
            before: Those that were used last before it go, seconds since 1970.
            max_bytes: Upper bound of what is kept.
        """
        # Of an index alone, which the view would not be: the texts of all are not read.
        sizes = (f"SELECT used_at, created_at, num_bytes, id FROM {table}" for table in _WINDS.values())  # noqa: S608 - constants
        rows = sorted(self.rows(" UNION ALL ".join(sizes)), reverse=True)
        gone, num_left = [], max_bytes
        for used_at, _, size, context_id in rows:
            # One that is too large by itself takes no other with it.
            if size <= max_bytes:
                num_left -= size
            if used_at < before or size > max_bytes or num_left < 0:
                gone.append(context_id)
        return self._delete(gone)

    def _winds(self, where: str, *values: object) -> list[Wind]:
        rows = self.rows(f"SELECT {_COLUMNS}, is_stored FROM {_ALL} WHERE {where}", *values)  # noqa: S608 - constants
        return [_wind(row) for row in rows]

    def _link(self, context_id: str, place: str | None, *, is_stored: bool) -> None:
        if place is not None:
            table = _PLACES[is_stored]
            self.rows(f"INSERT OR IGNORE INTO {table} (place, context_id) VALUES (?, ?)", place, context_id)  # noqa: S608 - constants

    def _linked(self, places: Iterable[str]) -> list[str]:
        """Return the winds that any of some places has used."""
        return [
            context_id
            for place in places
            for table in _PLACES.values()
            for (context_id,) in self.rows(
                f"SELECT context_id FROM {table} WHERE place = ?",  # noqa: S608 - constants
                place,
            )
        ]

    def _near(self, context_id: str) -> set[str]:
        """Return what a wind goes on from, and what goes on from it."""
        return {
            other
            for table in _WINDS.values()
            for (other,) in self.rows(
                f"SELECT earlier_id FROM {table} WHERE id = ? AND earlier_id IS NOT NULL "  # noqa: S608 - constants
                f"UNION SELECT id FROM {table} WHERE earlier_id = ?",
                *(context_id, context_id),
            )
        }

    def _is_linked(self, context_id: str) -> bool:
        return any(
            self.rows(f"SELECT 1 FROM {table} WHERE context_id = ? LIMIT 1", context_id)  # noqa: S608 - constants
            for table in _PLACES.values()
        )

    def _delete(self, ids: Iterable[str]) -> int:
        keys = [(context_id,) for context_id in set(ids)]
        num_gone = 0
        with self.write():
            for table in _PLACES.values():
                self._connection.executemany(f"DELETE FROM {table} WHERE context_id = ?", keys)  # noqa: S608 - constants
            for table in _WINDS.values() if keys else ():
                num_gone += self._connection.executemany(f"DELETE FROM {table} WHERE id = ?", keys).rowcount  # noqa: S608 - constants
        return num_gone


def _wind(row: tuple[Any, ...]) -> Wind:
    return msgspec.convert(dict(zip(Wind.__struct_fields__, row, strict=True)), Wind, strict=False)
