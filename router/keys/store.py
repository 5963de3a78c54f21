"""Keys and what they used, in a SQLite file; for the thread that opened it. Never a secret."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Final, Self

import msgspec
from msgspec.structs import asdict

from router.errors import KeyExistsError, KeyNotFoundError, SessionNotFoundError, TooManyKeysError
from router.keys.key import Key, Locked
from router.keys.session import LockedSession, Session
from router.stores.base import Store

MAX_KEYS: Final = 256
"""Those that were revoked among them. Each is hashed with every request: about a microsecond."""

MAX_SESSIONS: Final = 16
"""Of one key, and of the owner."""

_DAY_S: Final = 86_400
_SESSION_COLUMNS: Final = ", ".join(Session.__struct_fields__)
_KEY_COLUMNS: Final = ", ".join(Key.__struct_fields__)


class KeyUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What one key used on one day.

    Attributes:
        day: In UTC, `2026-01-31`.
        num_requests: That a model was to serve; those refused by a limit are not among them.
        num_refused: By a limit.
        num_prompt_tokens: Those that had not to be computed again among them.
        last_used_at: Seconds since 1970.
    """

    key_id: str
    day: str
    num_requests: int = 0
    num_refused: int = 0
    num_prompt_tokens: int = 0
    num_cached_tokens: int = 0
    num_answer_tokens: int = 0
    last_used_at: float

    def __add__(self, other: "KeyUsage") -> "KeyUsage":
        """Return both together, as of this one's day."""
        counts = {name: getattr(self, name) + getattr(other, name) for name in _COUNTS}
        return msgspec.structs.replace(self, last_used_at=max(self.last_used_at, other.last_used_at), **counts)


_USAGE_COLUMNS: Final = ", ".join(KeyUsage.__struct_fields__)
_COUNTS: Final = [name for name in KeyUsage.__struct_fields__ if name.startswith("num_")]


class KeyStore(Store):
    """The keys of one data folder."""

    MIGRATIONS: ClassVar = Path(__file__).parent / "migrations"

    @classmethod
    def opened(cls, path: Path, *, busy_timeout_s: float = 5.0) -> Self:
        """Open the file so that what was written is on the disk, also when the power goes: a revocation must last."""
        store = cls(path, busy_timeout_s=busy_timeout_s)
        store.rows("PRAGMA synchronous = FULL")
        return store

    def add(self, made: Locked) -> None:
        """Keep a new key.

        Raises:
            KeyExistsError: One has the name, perhaps one that was revoked.
            TooManyKeysError: There are `MAX_KEYS`.
        """
        with self.write():
            if self.rows("SELECT 1 FROM keys WHERE name = ?", made.key.name):
                raise KeyExistsError(made.key.name)
            if self.rows("SELECT count(*) FROM keys")[0][0] >= MAX_KEYS:
                raise TooManyKeysError(MAX_KEYS)
            self.put_row("keys", **_row(made))

    def locked(self) -> list[Locked]:
        """Return all keys, in the order of their making."""
        rows = self.rows(f"SELECT salt, digest, {_KEY_COLUMNS} FROM keys ORDER BY created_at, rowid")  # noqa: S608 - constants
        return [Locked(_key(row[2:]), row[0], row[1]) for row in rows]

    def all(self) -> list[Key]:
        """Return what all keys may, in the order of their making."""
        return [each.key for each in self.locked()]

    def get(self, name: str) -> Key:
        """Return a key by its name or id.

        Raises:
            KeyNotFoundError: There is none.
        """
        rows = self.rows(f"SELECT {_KEY_COLUMNS} FROM keys WHERE name = ? OR id = ?", name, name)  # noqa: S608 - constants
        if not rows:
            raise KeyNotFoundError(name)
        return _key(rows[0])

    def revoke(self, name: str, now: float) -> Key:
        """End a key, for good; one that was ended before stays as it is. Errors as in `get`."""
        with self.write():
            key = self.get(name)
            self.rows("UPDATE keys SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?", now, key.id)
            self.rows("DELETE FROM sessions WHERE key_id = ?", key.id)
            return self.get(key.id)

    def forget(self, name: str) -> Key:
        """Take a key away with what it used, as if it had never been made. Errors as in `get`."""
        with self.write():
            key = self.get(name)
            self.rows("DELETE FROM keys WHERE id = ?", key.id)
            self.rows("DELETE FROM usage WHERE key_id = ?", key.id)
            self.rows("DELETE FROM sessions WHERE key_id = ?", key.id)
        return key

    def add_session(self, made: LockedSession, now: float) -> None:
        """Keep a new session, and delete those that have ended; of one key the oldest goes when there are too many."""
        session = made.session
        with self.write():
            self.rows("DELETE FROM sessions WHERE expires_at <= ?", now)
            self.rows(
                "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE key_id IS ? "
                "ORDER BY created_at DESC, rowid DESC LIMIT -1 OFFSET ?)",
                session.key_id,
                MAX_SESSIONS - 1,
            )
            self.put_row("sessions", **asdict(session), salt=made.salt, digest=made.digest)

    def locked_sessions(self) -> list[LockedSession]:
        """Return all sessions, oldest first, those that have ended among them."""
        rows = self.rows(f"SELECT salt, digest, {_SESSION_COLUMNS} FROM sessions ORDER BY created_at, rowid")  # noqa: S608 - constants
        return [LockedSession(_session(row[2:]), row[0], row[1]) for row in rows]

    def sessions(self, now: float) -> list[Session]:
        """Return the sessions that have not ended, oldest first."""
        return [each.session for each in self.locked_sessions() if each.session.expires_at > now]

    def end_session(self, session_id: str) -> Session:
        """End a session for good.

        Raises:
            SessionNotFoundError: There is none.
        """
        sql = f"DELETE FROM sessions WHERE id = ? RETURNING {_SESSION_COLUMNS}"  # noqa: S608 - constants
        with self.write():
            rows = self.rows(sql, session_id)
        if not rows:
            raise SessionNotFoundError(session_id)
        return _session(rows[0])

    def add_usage(self, used: Iterable[KeyUsage]) -> None:
        """Add to what keys used."""
        sums = ", ".join(f"{name} = {name} + excluded.{name}" for name in _COUNTS)
        marks = ", ".join("?" * len(KeyUsage.__struct_fields__))
        sql = (
            f"INSERT INTO usage ({_USAGE_COLUMNS}) VALUES ({marks}) ON CONFLICT (key_id, day) "  # noqa: S608 - constants
            f"DO UPDATE SET {sums}, last_used_at = max(last_used_at, excluded.last_used_at)"
        )
        with self.write():
            for each in used:
                self.rows(sql, *msgspec.structs.astuple(each))

    def usage(self, since_day: str = "") -> list[KeyUsage]:
        """Return what keys used, by key and day.

        Args:
            since_day: The first day, `2026-01-31`.
        """
        sql = f"SELECT {_USAGE_COLUMNS} FROM usage WHERE day >= ? ORDER BY key_id, day"  # noqa: S608 - constants
        return [KeyUsage(**row) for row in self.records(sql, since_day)]


def _row(made: Locked) -> dict[str, Any]:
    row = msgspec.to_builtins(made.key)
    row["models"] = None if made.key.models is None else msgspec.json.encode(made.key.models).decode()
    return {**row, "salt": made.salt, "digest": made.digest}


def _key(row: tuple[Any, ...]) -> Key:
    values = dict(zip(Key.__struct_fields__, row, strict=True))
    values["models"] = None if values["models"] is None else msgspec.json.decode(values["models"])
    return msgspec.convert(values, Key)


def _session(row: tuple[Any, ...]) -> Session:
    return Session(**dict(zip(Session.__struct_fields__, row, strict=True)))


def first_day(days: int) -> str:
    """Return the first of some days in UTC, `2026-01-31`, the last of which is today."""
    return time.strftime("%Y-%m-%d", time.gmtime(time.time() - (days - 1) * _DAY_S))
