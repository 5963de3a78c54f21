"""All keys of a running server, in memory: who is meant by what a request sends.

Every request asks the store whether another process has changed it (microseconds), so that a key that is made or
revoked counts at once. When the store cannot be read, what was read last goes on counting: it never opens the server.
"""

import hmac
import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from msgspec.structs import replace

from router.errors import StoreUnavailableError
from router.http.caller import NOBODY, OWNER, Caller, Scope
from router.keys.key import MAX_SECRET_BYTES, Key, Locked, digest_of
from router.keys.session import LockedSession, Session
from router.keys.store import KeyStore

_logger = logging.getLogger(__name__)

_WRONG: Final = replace(NOBODY, problem="The API key is not one of this server's.")


class KeyRing:
    """Owned by the event loop's thread, like the store's connection under it.

    Args:
        fixed: Gives the keys that are in no store: of a file, of the environment; None = there are to be none.
        is_reachable: Whether other machines reach the server and the config does not say that they may without a key.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        store: KeyStore,
        fixed: Callable[[], list[Locked]] | None = None,
        *,
        is_reachable: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._fixed = fixed
        self._is_reachable = is_reachable
        self._clock = clock
        self._version: int | None = None
        self._stored: list[Locked] = []
        self._sessions: list[LockedSession] = []
        self._refresh()

    @property
    def is_needed(self) -> bool:
        """Whether requests need a key.

        A key that was revoked counts as well: with the last one that goes, a server must not open to everybody.
        """
        self._refresh()
        return self._is_reachable or self._fixed is not None or bool(self._stored)

    def key(self, key_id: str) -> Key | None:
        """Return a key that is good now, or None."""
        return next((key for key in self.good_keys() if key.id == key_id), None)

    def caller_for(self, key_id: str | None) -> Caller:
        """Return who asks where a key's work goes on without its requests; one that is gone may nothing any more."""
        if key_id is None:
            return OWNER
        key = self.key(key_id)
        return replace(NOBODY, key_id=key_id, name=key_id) if key is None else key.caller

    def good_keys(self) -> list[Key]:
        """Return the keys that are good now."""
        now = self._clock()
        return [each.key for each in self._all() if each.key.problem(now) is None]

    def caller(self, secrets: Iterable[bytes]) -> Caller:
        """Return who is meant by what a request sends; the first that is known of several counts."""
        if not self.is_needed:
            return OWNER
        caller = NOBODY
        for secret in secrets:
            if caller.problem is not None:
                caller = self._caller(secret)
        return caller

    def _caller(self, secret: bytes) -> Caller:
        found = self._find(secret)
        if found is None:
            return _WRONG
        if isinstance(found, Session):
            return self._caller_by(found)
        problem = found.problem(self._clock())
        return found.caller if problem is None else replace(NOBODY, name=found.name, problem=problem)

    def _caller_by(self, session: Session) -> Caller:
        """Return who asks by a session of the page: the one whose key it came from, as long as that is good."""
        if session.expires_at <= self._clock():
            return replace(NOBODY, problem="The session of the page has expired; `mlxr ui` opens it anew.")
        caller = self.caller_for(session.key_id)
        if caller.scope is Scope.PUBLIC:
            return replace(NOBODY, problem="The API key that the page was opened with is no longer good.")
        return replace(caller, session_id=session.id)

    def is_session_good(self, session_id: str) -> bool:
        """Tell whether a session has not ended; of its key nothing is said."""
        self._refresh()
        now = self._clock()
        return any(each.session.id == session_id and each.session.expires_at > now for each in self._sessions)

    def _find(self, secret: bytes) -> Key | Session | None:
        """Look at every key and session, whether one was found or not.

        Each takes a time that does not hang on what was sent.
        """
        found: Key | Session | None = None
        if len(secret) > MAX_SECRET_BYTES:
            return None
        known: list[Locked | LockedSession] = [*self._all(), *self._sessions]
        for each in known:
            if hmac.compare_digest(digest_of(secret, each.salt), each.digest):
                found = each.key if isinstance(each, Locked) else each.session
        return found

    def _all(self) -> list[Locked]:
        self._refresh()
        return [*(self._fixed() if self._fixed is not None else ()), *self._stored]

    def _refresh(self) -> None:
        try:
            version = self._store.data_version
            if version != self._version:
                self._stored = self._store.locked()
                self._sessions = self._store.locked_sessions()
                self._version = version
        except StoreUnavailableError as exc:
            if self._version is None:
                raise
            _logger.warning("the keys cannot be read; going on with those that are known: %s", exc)
