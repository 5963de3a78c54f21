"""The pulls' part of the catalogue: what was asked for, and how far it is.

Not here: the transfers, and the Structs of plans, which are JSON texts at this height.
"""

from typing import Final, Literal

import msgspec

from registry.errors import PullNotFoundError
from registry.store.database import Part

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


_COLUMNS: Final = ", ".join(PullRecord.__struct_fields__)


class Pulls(Part):
    """The pulls that were asked for. A method that is given the number of no pull raises a PullNotFoundError."""

    def add(self, reference: str, wishes: str) -> PullRecord:
        """Record a new pull, queued.

        Args:
            wishes: JSON.
        """
        now = self._now()
        sql = "INSERT INTO pulls (reference, wishes, state, created_at, updated_at) VALUES (?, ?, 'queued', ?, ?)"
        with self._write():
            self._rows(sql, reference, wishes, now, now)
            return self._get(self._rows("SELECT last_insert_rowid()")[0][0])

    def get(self, pull_id: int) -> PullRecord:
        """Give one pull."""
        with self._read():
            return self._get(pull_id)

    def list(self) -> tuple[PullRecord, ...]:
        """List all pulls, oldest first."""
        with self._read():
            rows = self._rows(f"SELECT {_COLUMNS} FROM pulls ORDER BY id")  # noqa: S608 - own names
        return tuple(PullRecord(**dict(zip(PullRecord.__struct_fields__, row, strict=True))) for row in rows)

    def set_plan(self, pull_id: int, plan: str, *, total_bytes: int, done_bytes: int) -> None:
        """Record what a pull is going to do.

        Args:
            plan: JSON.
            done_bytes: That need not be fetched.
        """
        sql = "UPDATE pulls SET plan = ?, total_bytes = ?, done_bytes = ?, updated_at = ? WHERE id = ?"
        with self._write():
            self._rows(sql, plan, total_bytes, done_bytes, self._now(), pull_id)

    def set_state(
        self, pull_id: int, state: PullState, *, error_code: str | None = None, error: str | None = None
    ) -> PullRecord:
        """Record where a pull stands; what others wanted of it is then done with."""
        now = self._now()
        sql = "UPDATE pulls SET state = ?, error_code = ?, error = ?, updated_at = ?, ended_at = ?, wanted = NULL "
        with self._write():
            self._rows(f"{sql} WHERE id = ?", state, error_code, error, now, now if state in _ENDED else None, pull_id)
            return self._get(pull_id)

    def set_done_bytes(self, pull_id: int, done_bytes: int | None) -> PullWish | None:
        """Record how far a pull is, and hear what others want of it.

        Args:
            done_bytes: That are there; None leaves the number as it is.

        Returns:
            What is wanted; `cancel` when the pull was forgotten.
        """
        sql = "UPDATE pulls SET done_bytes = COALESCE(?, done_bytes), updated_at = ? WHERE id = ?"
        with self._write():
            self._rows(sql, done_bytes, self._now(), pull_id)
            rows = self._rows("SELECT wanted FROM pulls WHERE id = ?", pull_id)
        wanted: PullWish | None = rows[0][0] if rows else "cancel"
        return wanted

    def want(self, pull_id: int, wanted: PullWish) -> None:
        """Ask the process that runs a pull to stop it."""
        with self._write():
            self._rows("UPDATE pulls SET wanted = ? WHERE id = ?", wanted, pull_id)

    def forget(self, pull_id: int) -> None:
        """Take a pull out of the list."""
        with self._write():
            self._rows("DELETE FROM pulls WHERE id = ?", pull_id)

    def _get(self, pull_id: int) -> PullRecord:
        rows = self._rows(f"SELECT {_COLUMNS} FROM pulls WHERE id = ?", pull_id)  # noqa: S608 - own names
        if not rows:
            raise PullNotFoundError(f"There is no pull {pull_id}; `mlxr models pulls` lists them.")
        return PullRecord(**dict(zip(PullRecord.__struct_fields__, rows[0], strict=True)))
