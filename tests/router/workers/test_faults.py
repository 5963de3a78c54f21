import msgspec
import pytest

from registry.engines import Engine, EngineKind
from registry.settings import LoadSettings
from router.errors import UnavailableError
from router.models.targets import LocalArtifact, Target
from router.workers.faults import MAX_AVOIDED_S, MAX_FAILURES, OPEN_S, LoadBreaker

BAD, GOOD = (
    Target("bad", Engine(EngineKind.MLX), LocalArtifact(1, "/b")),
    Target("good", Engine(EngineKind.MLX), LocalArtifact(2, "/g")),
)


def opened(now: float = 100.0) -> LoadBreaker:
    breaker = LoadBreaker()
    for _ in range(MAX_FAILURES):
        breaker.check(BAD, now)
        breaker.on_failure(BAD, "no tensor 'x'", now)
    return breaker


def test_it_opens_after_the_last_allowed_failure_for_that_target_alone() -> None:
    breaker = opened()
    with pytest.raises(UnavailableError, match=r"'bad' failed to load 3 times on mlx .*no tensor 'x'") as caught:
        breaker.check(BAD, 110)
    assert caught.value.retry_after_s == OPEN_S - 10
    breaker.check(GOOD, 110)
    breaker.check(msgspec.structs.replace(BAD, load=LoadSettings(context_length=64)), 110)  # loaded otherwise


def test_after_its_time_it_lets_a_try_through_and_closes_for_as_long_again_when_that_fails() -> None:
    breaker = opened(100)
    breaker.check(BAD, 100 + OPEN_S)
    breaker.on_failure(BAD, "still", 170)
    with pytest.raises(UnavailableError):
        breaker.check(BAD, 170 + OPEN_S - 0.1)
    breaker.check(BAD, 170 + OPEN_S)


def test_a_success_forgets_the_failures() -> None:
    breaker = opened()
    breaker.on_success(BAD)
    breaker.check(BAD, 101)
    breaker.on_failure(BAD, "again", 101)
    breaker.check(BAD, 101)


def test_a_load_that_was_killed_is_tried_again_before_anything_else_serves() -> None:
    breaker = LoadBreaker()
    breaker.on_failure(BAD, "it was killed", 100, is_tried_again=True)
    assert breaker.has_failed(BAD), "once"
    assert not breaker.is_avoided(BAD, 100)
    breaker.on_failure(BAD, "it was killed again", 101)
    assert breaker.is_avoided(BAD, 101)
    breaker.on_failure(BAD, "and again", 101)
    with pytest.raises(UnavailableError, match="failed to load 3 times"):
        breaker.check(BAD, 101)


def test_a_target_that_fails_is_left_alone_for_ever_longer_where_something_else_can_serve() -> None:
    breaker, now = LoadBreaker(), 100.0
    assert not breaker.is_avoided(BAD, now)
    for number in range(20):
        breaker.on_failure(BAD, "no tensor", now)
        until = now + min(MAX_AVOIDED_S, OPEN_S * 2**number)
        assert breaker.is_avoided(BAD, until - 0.1)
        assert not breaker.is_avoided(BAD, until), "then one tries again"
        now = until
    assert not breaker.is_avoided(GOOD, now)
    breaker.on_failure(BAD, "no tensor", now)
    breaker.on_success(BAD)
    assert not breaker.is_avoided(BAD, now)
