"""The pulls' part of the catalogue: what was asked for, what is planned, and how far it is. Not here: the transfers."""

from typing import Any, Final, Literal

import msgspec

from registry.errors import PullNotFoundError
from registry.pull_record import ENDED_STATES, PullInfo, PullOptions, PullPlan, PullState
from registry.store.database import Part
from registry.store.reading import as_struct

StopRequest = Literal["pause", "cancel"]
"""What another process asks the one that runs a pull to do."""

_COLUMNS: Final = "id, reference, wishes, state, total_bytes, done_bytes, error_code, error, created_at, updated_at"
_OWNERS: Final = msgspec.json.Decoder(frozenset[str | None])
_OPTIONS: Final = msgspec.json.Decoder(PullOptions)
_PLAN: Final = msgspec.json.Decoder(PullPlan)


class Pulls(Part):
    """The pulls that were asked for. A method that is given the number of no pull raises a PullNotFoundError.

    `queued` and `running` stand there also when the process that had a pull is gone; its lock tells. A pull belongs to
    the API keys that asked for it, by their ids; None = the server's owner.
    """

    def add(self, reference: str, options: PullOptions, *, owner: str | None = None) -> PullInfo:
        """Record a new pull, queued."""
        now = self._now()
        row = {"reference": reference, "wishes": _text(options), "owners": _text([owner]), "state": "queued"}
        with self._write():
            return self.get(self._add("pulls", **row, created_at=now, updated_at=now))

    def get(self, pull_id: int) -> PullInfo:
        """Give one pull."""
        return _info(self._row(_COLUMNS, pull_id))

    def list(self) -> tuple[PullInfo, ...]:
        """List all pulls, oldest first."""
        return tuple(map(_info, self._records(f"SELECT {_COLUMNS} FROM pulls ORDER BY id")))  # noqa: S608 - own names

    def owners(self) -> dict[int, frozenset[str | None]]:
        """Give whose all pulls are."""
        return {pull_id: _OWNERS.decode(text) for pull_id, text in self._rows("SELECT id, owners FROM pulls")}

    def owners_of(self, pull_id: int) -> frozenset[str | None]:
        """Give whose a pull is."""
        return _OWNERS.decode(self._row("owners", pull_id)["owners"])

    def add_owner(self, pull_id: int, owner: str | None) -> frozenset[str | None]:
        """Let a pull belong to one more; give whose it is then."""
        with self._write():
            return self._set_owners(pull_id, self.owners_of(pull_id) | {owner})

    def remove_owner(self, pull_id: int, owner: str | None) -> bool:
        """Take one owner's part in a pull away, where others have theirs; tell whether it was so."""
        with self._write():
            owners = self.owners_of(pull_id)
            if owner not in owners or len(owners) == 1:
                return False
            self._set_owners(pull_id, owners - {owner})
            return True

    def options_of(self, pull_id: int) -> PullOptions:
        """Give what was asked for."""
        return _OPTIONS.decode(self._row("wishes", pull_id)["wishes"])

    def plan_of(self, pull_id: int) -> PullPlan | None:
        """Give what a pull is going to do; None until the hub was asked."""
        plan = self._row("plan", pull_id)["plan"]
        return None if plan is None else _PLAN.decode(plan)

    def open_plans(self) -> tuple[PullPlan, ...]:
        """Give the plans of all pulls that somebody may still go on with."""
        rows = self._rows("SELECT state, plan FROM pulls WHERE plan IS NOT NULL")
        return tuple(_PLAN.decode(plan) for state, plan in rows if state not in ENDED_STATES)

    def set_plan(self, pull_id: int, plan: PullPlan) -> None:
        """Record what a pull is going to do."""
        text = _text(plan)
        sql = "UPDATE pulls SET plan = ?, total_bytes = ?, done_bytes = ?, updated_at = ? WHERE id = ?"
        self._rows(sql, text, plan.total_bytes, plan.done_bytes, self._now(), pull_id)

    def set_state(
        self, pull_id: int, state: PullState, *, error_code: str | None = None, error: str | None = None
    ) -> PullInfo:
        """Record where a pull stands; what others asked of it is then done with."""
        now = self._now()
        ended_at = now if state == "failed" or state in ENDED_STATES else None
        sql = "UPDATE pulls SET state = ?, error_code = ?, error = ?, updated_at = ?, ended_at = ?, wanted = NULL "
        with self._write():
            self._rows(f"{sql} WHERE id = ?", state, error_code, error, now, ended_at, pull_id)
            return self.get(pull_id)

    def set_done_bytes(self, pull_id: int, done_bytes: int | None) -> StopRequest | None:
        """Record how far a pull is, and hear what others ask of it.

        Args:
            done_bytes: That are there; None leaves the number as it is.

        Returns:
            What is asked; `cancel` when the pull was forgotten.
        """
        sql = "UPDATE pulls SET done_bytes = COALESCE(?, done_bytes), updated_at = ? WHERE id = ? RETURNING wanted"
        rows = self._rows(sql, done_bytes, self._now(), pull_id)
        request: StopRequest | None = rows[0][0] if rows else "cancel"
        return request

    def ask_to_stop(self, pull_id: int, request: StopRequest) -> None:
        """Ask the process that runs a pull to stop it."""
        self._rows("UPDATE pulls SET wanted = ? WHERE id = ?", request, pull_id)

    def forget(self, *pull_ids: int) -> None:
        """Take pulls out of the list."""
        with self._write():
            for pull_id in pull_ids:
                self._rows("DELETE FROM pulls WHERE id = ?", pull_id)

    def _set_owners(self, pull_id: int, owners: frozenset[str | None]) -> frozenset[str | None]:
        self._rows("UPDATE pulls SET owners = ? WHERE id = ?", _text(owners), pull_id)
        return owners

    def _row(self, columns: str, pull_id: int) -> dict[str, Any]:
        row = next(self._records(f"SELECT {columns} FROM pulls WHERE id = ?", pull_id), None)  # noqa: S608 - own names
        if row is None:
            raise PullNotFoundError.of(pull_id)
        return row


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _info(row: dict[str, Any]) -> PullInfo:
    return as_struct(PullInfo, row | msgspec.structs.asdict(_OPTIONS.decode(row["wishes"])))
