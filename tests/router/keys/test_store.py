"""Keys and their usage in a file."""

import stat
import threading
from pathlib import Path

import pytest

from backends.wire.request import Priority
from router.errors import KeyExistsError, KeyNotFoundError, StoreUnavailableError, TooManyKeysError
from router.http.caller import Scope
from router.keys import store as store_module
from router.keys.key import Locked, new_key
from router.keys.store import KeyStore, KeyUsage

NOW = 1_800_000_000.0


def made(name: str, **more: object) -> Locked:
    return new_key(name, scope=Scope.INFERENCE, created_at=NOW, **more)[1]


def test_a_key_comes_back_as_it_was_made(store: KeyStore) -> None:
    key = made(
        "laptop",
        models=("a*", "b"),
        priority=Priority.BACKGROUND,
        requests_per_minute=5,
        tokens_per_minute=7,
        expires_at=NOW + 1,
    )
    store.add(key)
    assert store.locked() == [key]
    assert store.get("laptop") == store.get(key.key.id) == key.key


def test_the_file_is_its_users_alone_and_has_no_secret(store: KeyStore, path: Path) -> None:
    secret, key = new_key("laptop", scope=Scope.ADMIN, created_at=NOW)
    store.add(key)
    store.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    held = b"".join(file.read_bytes() for file in path.parent.iterdir())
    assert key.key.prefix.encode() in held
    assert secret.encode() not in held
    assert secret[len(key.key.prefix) :].encode() not in held


def test_what_was_written_is_on_the_disk_when_the_power_goes(store: KeyStore) -> None:
    """Source: sqlite.org/pragma.html#pragma_synchronous: 2 = FULL."""
    assert store.rows("PRAGMA synchronous") == [(2,)]


def test_a_name_is_one_keys_also_after_its_end(store: KeyStore) -> None:
    store.add(made("laptop"))
    store.revoke("laptop", NOW)
    with pytest.raises(KeyExistsError, match="forget laptop"):
        store.add(made("laptop"))
    store.forget("laptop")
    store.add(made("laptop"))


def test_a_key_that_was_revoked_twice_ended_the_first_time(store: KeyStore) -> None:
    store.add(made("laptop"))
    assert store.revoke("laptop", NOW + 1).revoked_at == NOW + 1
    assert store.revoke("laptop", NOW + 2).revoked_at == NOW + 1


@pytest.mark.parametrize("name", ["nobody", "' OR 1=1--", ""])
def test_a_key_that_there_is_not_is_not_found(store: KeyStore, name: str) -> None:
    store.add(made("laptop"))
    for ask in (store.get, store.forget, lambda each: store.revoke(each, NOW)):
        with pytest.raises(KeyNotFoundError):
            ask(name)


def test_there_is_a_bound(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MAX_KEYS", 2)
    store.add(made("one"))
    store.add(made("two"))
    with pytest.raises(TooManyKeysError, match="2 keys"):
        store.add(made("three"))


def test_usage_adds_up_by_key_and_day_and_goes_with_its_key(store: KeyStore) -> None:
    key = made("laptop")
    store.add(key)
    one = KeyUsage(key_id=key.key.id, day="2027-01-15", num_requests=2, num_prompt_tokens=30, last_used_at=NOW)
    other = KeyUsage(key_id=key.key.id, day="2027-01-15", num_requests=1, num_refused=4, last_used_at=NOW - 5)
    store.add_usage([one, other, KeyUsage(key_id="key_file", day="2027-01-16", num_requests=1, last_used_at=NOW)])
    assert one + other in store.usage()
    assert [used.key_id for used in store.usage("2027-01-16")] == ["key_file"]
    store.forget("laptop")
    assert [used.key_id for used in store.usage()] == ["key_file"]


def test_two_processes_that_make_the_same_name_make_one_key(path: Path) -> None:
    KeyStore.opened(path).close()
    ends: list[str] = []

    def make() -> None:
        with KeyStore.opened(path) as store:
            try:
                store.add(made("laptop"))
                ends.append("made")
            except KeyExistsError:
                ends.append("refused")

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ends) == ["made", "refused", "refused", "refused"]


def test_a_damaged_file_is_one_sentence(path: Path) -> None:
    path.write_bytes(b"no database at all" * 100)
    with pytest.raises(StoreUnavailableError, match="cannot be used"):
        KeyStore.opened(path)
