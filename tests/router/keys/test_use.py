"""What keys use, and their bounds."""

from pathlib import Path

import pytest

from router.errors import RateLimitedError, UnauthorizedError
from router.http.caller import OWNER, Scope
from router.keys.key import Key
from router.keys.store import KeyStore
from router.keys.use import KeyUse

KEY = Key(
    id="key_1",
    name="ci",
    prefix="sk-mlxr-abcdef",
    scope=Scope.INFERENCE,
    created_at=0.0,
    requests_per_minute=3,
    tokens_per_minute=100,
)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def use(tmp_path: Path, clock: Clock) -> KeyUse:
    return KeyUse(tmp_path / "keys.sqlite3", {"key_1": KEY}.get, clock=clock)


async def test_requests_beyond_the_bound_are_refused_until_there_is_room(use: KeyUse, clock: Clock) -> None:
    for _ in range(3):
        use.admit(KEY.caller)
    with pytest.raises(RateLimitedError, match="may use 3 requests per minute") as refused:
        use.admit(KEY.caller)
    assert refused.value.retry_after_s == pytest.approx(20)
    clock.now += 20.01
    use.admit(KEY.caller)


async def test_a_key_that_has_gone_is_refused_also_where_it_was_let_in_before(tmp_path: Path) -> None:
    """As by a WebSocket that was opened with it."""
    keys = {"key_1": KEY}
    use = KeyUse(tmp_path / "keys.sqlite3", keys.get)
    use.admit(KEY.caller)
    keys.clear()
    with pytest.raises(UnauthorizedError, match="'ci' is no longer good"):
        use.admit(KEY.caller)


async def test_tokens_that_were_too_many_are_missing_afterwards(use: KeyUse, clock: Clock) -> None:
    use.add_tokens("key_1", num_prompt=90, num_cached=10, num_answer=110)
    with pytest.raises(RateLimitedError, match="100 tokens per minute") as refused:
        use.admit(KEY.caller)
    assert refused.value.retry_after_s == pytest.approx(101 * 0.6)
    clock.now += 61
    use.admit(KEY.caller)


async def test_answers_tell_the_bounds(use: KeyUse) -> None:
    use.admit(KEY.caller)
    told = dict(use.headers(KEY.caller))
    assert told[b"x-ratelimit-limit-requests"] == b"3"
    assert told[b"x-ratelimit-remaining-requests"] == b"2"
    assert told[b"x-ratelimit-reset-requests"] == b"20s"
    assert told[b"x-ratelimit-remaining-tokens"] == b"100"
    assert use.headers(OWNER) == []


async def test_the_owner_is_neither_bounded_nor_counted(use: KeyUse, tmp_path: Path) -> None:
    for _ in range(100):
        use.admit(OWNER)
    use.admit(KEY.caller)
    use.write()
    await use._thread.close()
    with KeyStore.opened(tmp_path / "keys.sqlite3") as store:
        assert [(used.key_id, used.num_requests) for used in store.usage()] == [("key_1", 1)]


async def test_what_was_used_is_written(use: KeyUse, tmp_path: Path) -> None:
    for _ in range(3):
        use.admit(KEY.caller)
    with pytest.raises(RateLimitedError):
        use.admit(KEY.caller)
    use.add_tokens("key_1", num_prompt=20, num_cached=5, num_answer=7)
    use.write()
    await use._thread.close()
    with KeyStore.opened(tmp_path / "keys.sqlite3") as store:
        (used,) = store.usage()
    assert (used.num_requests, used.num_refused) == (3, 1)
    assert (used.num_prompt_tokens, used.num_cached_tokens, used.num_answer_tokens) == (20, 5, 7)
