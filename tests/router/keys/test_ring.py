"""Who is meant by what a request sends."""

import hmac
import inspect
from pathlib import Path
from unittest.mock import patch

import pytest

from router.errors import StoreUnavailableError
from router.http.caller import NOBODY, OWNER, Scope
from router.keys import ring as ring_module
from router.keys.key import MAX_SECRET_BYTES, digest_of, new_key
from router.keys.ring import KeyRing
from router.keys.store import KeyStore

NOW = 1_800_000_000.0


def ring_of(store: KeyStore, now: float = NOW, *, is_reachable: bool = False) -> KeyRing:
    return KeyRing(store, clock=lambda: now, is_reachable=is_reachable)


def add(path: Path, name: str, **more: object) -> str:
    """Make a key as another process does."""
    secret, made = new_key(name, scope=more.pop("scope", Scope.INFERENCE), created_at=NOW, **more)  # type: ignore[arg-type]
    with KeyStore.opened(path) as other:
        other.add(made)
    return secret


def test_without_any_key_everybody_is_the_owner(store: KeyStore) -> None:
    ring = ring_of(store)
    assert ring.caller([]) is OWNER
    assert ring.caller([b"what clients send that want some key"]) is OWNER


def test_a_server_that_others_reach_is_open_to_nobody(store: KeyStore) -> None:
    assert ring_of(store, is_reachable=True).caller([]) is NOBODY


def test_a_key_counts_from_the_moment_it_is_made_until_it_is_revoked(store: KeyStore, path: Path) -> None:
    ring = ring_of(store)
    secret = add(path, "laptop", models=["a*"]).encode()
    caller = ring.caller([secret])
    assert (caller.name, caller.scope, caller.models) == ("laptop", Scope.INFERENCE, ("a*",))
    assert ring.caller([]) is NOBODY
    with KeyStore.opened(path) as other:
        other.revoke("laptop", NOW)
    assert ring.caller([secret]).problem == "The API key 'laptop' was revoked."
    assert ring.caller([secret]).scope is Scope.PUBLIC


def test_a_server_whose_last_key_was_revoked_is_open_to_nobody(store: KeyStore, path: Path) -> None:
    ring = ring_of(store)
    add(path, "laptop")
    with KeyStore.opened(path) as other:
        other.revoke("laptop", NOW)
        assert ring.caller([]) is NOBODY
        other.forget("laptop")
        assert ring.caller([]) is OWNER


def test_a_key_that_has_expired_says_so_to_whoever_has_it(store: KeyStore, path: Path) -> None:
    secret = add(path, "laptop", expires_at=NOW + 10).encode()
    assert ring_of(store, NOW + 9).caller([secret]).name == "laptop"
    assert "expired" in str(ring_of(store, NOW + 10).caller([secret]).problem)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda secret: secret[:-1],
        lambda secret: secret + b"x",
        lambda secret: secret.swapcase(),
        lambda secret: secret[:14],
        lambda _: b"",
        lambda _: b"\xff\x00",
        lambda _: b"x" * (MAX_SECRET_BYTES + 1),
    ],
)
def test_what_is_not_the_whole_secret_is_nobodys(store: KeyStore, path: Path, wrong: object) -> None:
    secret = add(path, "laptop").encode()
    caller = ring_of(store).caller([wrong(secret)])  # type: ignore[operator]
    assert caller.scope is Scope.PUBLIC
    assert caller.problem == "The API key is not one of this server's."


def test_of_two_secrets_the_good_one_counts(store: KeyStore, path: Path) -> None:
    secret = add(path, "laptop").encode()
    for secrets in ([b"sk-default", secret], [secret, b"sk-default"]):
        assert ring_of(store).caller(secrets).name == "laptop"


def test_every_key_is_looked_at_whatever_is_sent(store: KeyStore, path: Path) -> None:
    """A loop that ended at the first hit, or a look-up by a part of the secret, would tell by its time what is so."""
    secrets = [add(path, f"key{i}").encode() for i in range(5)]
    ring = ring_of(store)
    ring.caller([])
    for sent in (*secrets, secrets[0][:20] + b"x" * 31, b"no key at all"):
        with (
            patch.object(ring_module, "digest_of", wraps=digest_of) as hashed,
            patch.object(hmac, "compare_digest", wraps=hmac.compare_digest) as compared,
        ):
            ring.caller([sent])
        assert hashed.call_count == compared.call_count == 5
        assert all(len(part) == 32 for call in compared.call_args_list for part in call.args)


def test_only_hashes_are_compared() -> None:
    source = inspect.getsource(ring_module)
    assert source.count("compare_digest(digest_of(") == 1
    assert "secret ==" not in source
    assert "startswith" not in source


def test_keys_that_are_known_go_on_counting_when_the_file_cannot_be_read(store: KeyStore, path: Path) -> None:
    secret = add(path, "laptop").encode()
    ring = ring_of(store)
    ring.caller([])
    with patch.object(KeyStore, "rows", side_effect=StoreUnavailableError("gone")):
        assert ring.caller([secret]).name == "laptop"
        assert ring.caller([]) is NOBODY


def test_a_server_whose_keys_cannot_be_read_does_not_start(store: KeyStore) -> None:
    with (
        patch.object(KeyStore, "rows", side_effect=StoreUnavailableError("gone")),
        pytest.raises(StoreUnavailableError),
    ):
        ring_of(store)
