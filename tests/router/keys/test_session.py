"""Sessions of the page: their key's rights, and no longer than it is good."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from router.errors import SessionNotFoundError, UnauthorizedError
from router.http.caller import NOBODY, OWNER, Scope
from router.keys.key import Key, new_key
from router.keys.ring import KeyRing
from router.keys.session import SESSION_S, Session, new_session
from router.keys.store import MAX_SESSIONS, KeyStore
from router.keys.use import KeyUse

NOW = 1_800_000_000.0


def ring_of(store: KeyStore, now: float = NOW) -> KeyRing:
    return KeyRing(store, clock=lambda: now)


def add_key(path: Path, name: str = "laptop") -> Key:
    _, made = new_key(name, scope=Scope.INFERENCE, created_at=NOW, models=["tin*"], requests_per_minute=3)
    with KeyStore.opened(path) as other:
        other.add(made)
    return made.key


def open_session(path: Path, key_id: str | None, at: float = NOW) -> tuple[bytes, Session]:
    """Open one as another process does."""
    token, made = new_session(key_id, "Browser/1.0 \x1b[31m", at)
    with KeyStore.opened(path) as other:
        other.add_session(made, at)
    return token.encode(), made.session


def test_a_session_is_its_key_and_ends_with_it(store: KeyStore, path: Path) -> None:
    ring, key = ring_of(store), add_key(path)
    token, session = open_session(path, key.id)
    assert ring.caller([token]) == replace(key.caller, session_id=session.id)
    assert [each.name for each in ring.good_keys()] == ["laptop"], "a session is no key"
    assert session.client == "Browser/1.0 ?[31m"
    with KeyStore.opened(path) as other:
        other.revoke("laptop", NOW)
    assert ring.caller([token]).scope is Scope.PUBLIC
    assert not ring.is_session_good(session.id)


def test_one_of_the_owner_is_the_owner(store: KeyStore, path: Path) -> None:
    ring = ring_of(store)
    token, session = open_session(path, None)
    add_key(path)
    assert ring.caller([token]) == replace(OWNER, session_id=session.id)
    assert ring.caller([]) is NOBODY


def test_a_session_ends_by_itself_and_by_command(store: KeyStore, path: Path) -> None:
    add_key(path)
    token, session = open_session(path, None)
    late = ring_of(store, NOW + SESSION_S).caller([token])
    assert (late.scope, late.problem) == (
        Scope.PUBLIC,
        "The session of the page has expired; `mlxr ui` opens it anew.",
    )
    ring = ring_of(store)
    assert ring.is_session_good(session.id)
    with KeyStore.opened(path) as other:
        assert other.end_session(session.id) == session
        with pytest.raises(SessionNotFoundError):
            other.end_session(session.id)
    assert ring.caller([token]).scope is Scope.PUBLIC
    assert not ring.is_session_good(session.id)


def test_a_session_without_its_key_is_nobodys(store: KeyStore, path: Path) -> None:
    add_key(path, "other")
    token, _ = open_session(path, "key_of_a_file_that_is_gone")
    assert ring_of(store).caller([token]).scope is Scope.PUBLIC


def test_of_one_key_the_oldest_sessions_go(store: KeyStore, path: Path) -> None:
    key = add_key(path)
    _, others = open_session(path, None)
    opened = [open_session(path, key.id, NOW + number)[1] for number in range(MAX_SESSIONS + 2)]
    assert store.sessions(NOW) == [others, *opened[2:]]
    open_session(path, None, NOW + SESSION_S + 1)
    assert others not in store.sessions(NOW), "one that has ended is deleted"


def test_its_secret_is_not_kept(store: KeyStore, path: Path) -> None:
    token, _ = open_session(path, None)
    assert store.sessions(NOW)
    assert all(token not in file.read_bytes() for file in path.parent.iterdir())


async def test_one_that_has_ended_asks_nothing_more_over_what_it_opened(store: KeyStore, path: Path) -> None:
    add_key(path)
    token, session = open_session(path, None)
    ring = ring_of(store)
    caller = ring.caller([token])
    use = KeyUse(path, ring.key, is_session_good=ring.is_session_good)
    use.admit(caller)
    assert use.is_good(caller)
    with KeyStore.opened(path) as other:
        other.end_session(session.id)
    assert not use.is_good(caller)
    with pytest.raises(UnauthorizedError, match="session of the page has ended"):
        use.admit(caller)
    await use._thread.close()
