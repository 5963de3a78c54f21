"""The pulls' part of the catalogue: what was asked for, how far it is, and which files were verified.

A session of its own: a pull writes now and then from another thread, and needs none of the models. Not here: the
transfers, and the Structs of plans, which are JSON texts at this height.
"""

from typing import Final, Literal, NamedTuple

import msgspec

from registry.errors import PullNotFoundError
from registry.store.database import CatalogueDatabase

PullState = Literal["queued", "running", "paused", "failed", "done", "cancelled"]
PullWish = Literal["pause", "cancel"]

_ENDED: Final = frozenset({"failed", "done", "cancelled"})


class PullRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One pull, as it is stored.

    Attributes:
        wishes: JSON of what was wished for.
        plan: JSON of the plan; None until the hub was asked.
        state: `running` also when the process that ran it is gone; its lock tells.
        wanted: What another process asks the one that runs it to do.
        done_bytes: As of the last look; the files themselves know better.
        created_at: Seconds since 1970.
        updated_at: Seconds since 1970.
        ended_at: Seconds since 1970; None while it may go on by itself.
    """

    id: int
    reference: str
    wishes: str
    plan: str | None
    state: PullState
    wanted: PullWish | None
    total_bytes: int | None
    done_bytes: int
    error_code: str | None
    error: str | None
    created_at: float
    updated_at: float
    ended_at: float | None


class PulledFile(NamedTuple):
    """A file that had the right hash when it was put there.

    Attributes:
        path: Absolute.
        mtime_ns: Then; a file that differs in either is no longer known.
    """

    path: str
    size_bytes: int
    mtime_ns: int


_COLUMNS: Final = ", ".join(PullRecord.__struct_fields__)


class PullStore(CatalogueDatabase):
    """One connection to the pulls' tables. Open it with `PullStore.open`, and close it."""

    def add_pull(self, reference: str, wishes: str) -> PullRecord:
        """Record a new pull, queued.

        Args:
            wishes: JSON.
        """
        now = self.clock()
        sql = "INSERT INTO pulls (reference, wishes, state, created_at, updated_at) VALUES (?, ?, 'queued', ?, ?)"
        with self.write():
            self.rows(sql, reference, wishes, now, now)
            return self._get(self.rows("SELECT last_insert_rowid()")[0][0])

    def get_pull(self, pull_id: int) -> PullRecord:
        """Give one pull.

        Raises:
            PullNotFoundError: There is none.
        """
        with self.read():
            return self._get(pull_id)

    def list_pulls(self) -> tuple[PullRecord, ...]:
        """List all pulls, oldest first."""
        with self.read():
            rows = self.rows(f"SELECT {_COLUMNS} FROM pulls ORDER BY id")  # noqa: S608 - own names
        return tuple(PullRecord(**dict(zip(PullRecord.__struct_fields__, row, strict=True))) for row in rows)

    def set_plan(self, pull_id: int, plan: str, *, total_bytes: int, done_bytes: int) -> None:
        """Record what a pull is going to do.

        Args:
            plan: JSON.
            done_bytes: That need not be fetched.
        """
        sql = "UPDATE pulls SET plan = ?, total_bytes = ?, done_bytes = ?, updated_at = ? WHERE id = ?"
        with self.write():
            self.rows(sql, plan, total_bytes, done_bytes, self.clock(), pull_id)

    def set_state(
        self, pull_id: int, state: PullState, *, error_code: str | None = None, error: str | None = None
    ) -> PullRecord:
        """Record where a pull stands; what others wanted of it is then done with.

        Raises:
            PullNotFoundError: There is none.
        """
        now = self.clock()
        sql = "UPDATE pulls SET state = ?, error_code = ?, error = ?, updated_at = ?, ended_at = ?, wanted = NULL "
        with self.write():
            self.rows(f"{sql} WHERE id = ?", state, error_code, error, now, now if state in _ENDED else None, pull_id)
            return self._get(pull_id)

    def set_done_bytes(self, pull_id: int, done_bytes: int | None) -> PullWish | None:
        """Record how far a pull is, and hear what others want of it.

        Args:
            done_bytes: That are there; None leaves the number as it is.

        Returns:
            What is wanted; `cancel` when the pull was forgotten.
        """
        sql = "UPDATE pulls SET done_bytes = COALESCE(?, done_bytes), updated_at = ? WHERE id = ?"
        with self.write():
            self.rows(sql, done_bytes, self.clock(), pull_id)
            rows = self.rows("SELECT wanted FROM pulls WHERE id = ?", pull_id)
        wanted: PullWish | None = rows[0][0] if rows else "cancel"
        return wanted

    def want(self, pull_id: int, wanted: PullWish) -> None:
        """Ask the process that runs a pull to stop it."""
        with self.write():
            self.rows("UPDATE pulls SET wanted = ? WHERE id = ?", wanted, pull_id)

    def forget_pull(self, pull_id: int) -> None:
        """Take a pull out of the list."""
        with self.write():
            self.rows("DELETE FROM pulls WHERE id = ?", pull_id)

    def note_file(self, blob: str, file: PulledFile) -> None:
        """Remember a verified file.

        Args:
            blob: What its bytes are.
            file: Where it is, or will be in a moment.
        """
        with self.write():
            self.rows(
                "INSERT OR REPLACE INTO pulled_files (path, blob, size_bytes, mtime_ns) VALUES (?, ?, ?, ?)",
                file.path,
                blob,
                file.size_bytes,
                file.mtime_ns,
            )

    def files_of(self, blob: str) -> tuple[PulledFile, ...]:
        """List files that had these bytes.

        Args:
            blob: What the bytes are.

        Returns:
            The files; whether they are still so is for the caller to see.
        """
        with self.read():
            rows = self.rows("SELECT path, size_bytes, mtime_ns FROM pulled_files WHERE blob = ? ORDER BY path", blob)
        return tuple(PulledFile(*row) for row in rows)

    def blob_at(self, path: str) -> str | None:
        """Tell what the bytes of a verified file were.

        Args:
            path: Absolute.

        Returns:
            Kind and value of their hash, or None when no pull has put the file there.
        """
        with self.read():
            rows = self.rows("SELECT blob FROM pulled_files WHERE path = ?", path)
        return rows[0][0] if rows else None

    def forget_file(self, path: str) -> None:
        """Forget a file that is gone or is another one now.

        Args:
            path: Absolute.
        """
        with self.write():
            self.rows("DELETE FROM pulled_files WHERE path = ?", path)

    def _get(self, pull_id: int) -> PullRecord:
        rows = self.rows(f"SELECT {_COLUMNS} FROM pulls WHERE id = ?", pull_id)  # noqa: S608 - own names
        if not rows:
            raise PullNotFoundError(f"There is no pull {pull_id}; `mlxr models pulls` lists them.")
        return PullRecord(**dict(zip(PullRecord.__struct_fields__, rows[0], strict=True)))
