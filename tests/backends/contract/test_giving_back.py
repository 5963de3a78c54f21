"""What every engine promises when memory gets short: kept caches go, what runs goes on as if nothing had been."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.batching.saving import Saving
from backends.saved_caches.caches import SavedCaches
from backends.wire.messages import Answered, Ask
from backends.wire.questions import GiveBackMemory, GivenBack
from tests.backends.conftest import EngineUnderTest
from tests.support.engine_driver import Answer, EngineDriver

pytestmark = pytest.mark.slow


@pytest.fixture
def keeping(loaded: EngineUnderTest) -> Iterator[EngineDriver]:
    driver = EngineDriver(loaded.engine, keeps_ended=True)
    yield driver
    driver.close()


def give_back(driver: EngineDriver, share: float, *, is_short: bool = True) -> GivenBack:
    """Ask as the gateway does, between two steps."""
    number = len(driver.answers) + 1
    driver.answers[number] = Answer()
    driver.handle(Ask(number, GiveBackMemory(share, is_short)))
    (reply,) = driver.answers[number].terminals
    assert isinstance(reply, Answered)
    assert isinstance(reply.answer, GivenBack)
    return reply.answer


@pytest.mark.parametrize(("share", "num_dropped"), [(0.0, 0), (0.5, 2), (1.0, 3)])
def test_the_least_recently_used_go_first_and_a_running_answer_stays_what_it_is(
    keeping: EngineDriver, share: float, num_dropped: int
) -> None:
    expected = keeping.answer("go on and on", max_tokens=12).token_ids
    give_back(keeping, 1.0, is_short=False)
    for number in range(3):
        keeping.answer(f"{number} is a number of its own", max_tokens=2)
    kept = keeping.batcher.retired_ids
    running = keeping.submit("go on and on", max_tokens=12)
    keeping.step_until(lambda: keeping.num_output_tokens(running) >= 4)
    assert give_back(keeping, share).num_caches == num_dropped
    assert keeping.batcher.retired_ids == kept[num_dropped:]
    keeping.run()
    assert keeping.answers[running].token_ids == expected


def test_what_was_given_back_is_computed_again(keeping: EngineDriver) -> None:
    first = keeping.answer("say it once more", max_tokens=6)
    assert keeping.answer("say it once more", max_tokens=6).end.usage.num_cached_tokens > 0
    give_back(keeping, 1.0)
    again = keeping.answer("say it once more", max_tokens=6)
    assert (again.end.usage.num_cached_tokens, again.token_ids) == (0, first.token_ids)


@pytest.mark.parametrize(("is_short", "num_kept"), [(False, 1), (True, 0)])
def test_a_cancelled_answers_cache_is_kept_unless_memory_is_short(
    keeping: EngineDriver, num_kept: int, *, is_short: bool
) -> None:
    give_back(keeping, 0.0, is_short=is_short)
    running = keeping.submit("this one is given up", max_tokens=50)
    keeping.step_until(lambda: keeping.num_output_tokens(running) >= 2)
    keeping.cancel(running)
    assert len(keeping.batcher.retired_ids) == num_kept


@pytest.mark.parametrize("saves_all", [False, True])
def test_what_came_twice_is_saved_before_it_is_given_back_unless_somebody_would_wait_for_it(
    keeping: EngineDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, saves_all: bool
) -> None:
    monkeypatch.setattr("backends.batching.repeats.MIN_TOKENS", 64)
    monkeypatch.setattr("backends.batching.saving._MIN_GROWTH_TOKENS", 64)
    saved = SavedCaches(keeping.engine, tmp_path / "model", 2**30)
    keeping.worker._batch.saving = Saving(keeping.engine, keeping.batcher, saved, saves_all=saves_all)
    beginning = [97] * 100
    keeping.answer([*beginning, 98], max_tokens=2)
    running = keeping.submit([*beginning, 99], max_tokens=20)
    keeping.step_until(lambda: keeping.num_output_tokens(running) >= 1)
    give_back(keeping, 1.0)
    assert saved.counts.num_written == int(saves_all)
    keeping.run()
    give_back(keeping, 1.0)
    assert saved.counts.num_written >= 1
    assert keeping.batcher.retired_ids == []


def test_what_is_being_saved_goes_too_where_somebody_would_wait_for_it(keeping: EngineDriver, tmp_path: Path) -> None:
    saved = SavedCaches(keeping.engine, tmp_path / "model", 2**30)
    keeping.worker._batch.saving = Saving(keeping.engine, keeping.batcher, saved)
    keeping.answer([97] * 100, max_tokens=2)
    assert saved.begin(keeping.batcher.retired_ids[0])
    keeping.submit("go on and on", max_tokens=4)
    give_back(keeping, 0.5)
    assert saved.is_writing
    give_back(keeping, 1.0)
    assert (saved.is_writing, list((tmp_path / "model").iterdir())) == (False, [])
    keeping.run()
