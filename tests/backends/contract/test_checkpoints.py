"""What engines promise of checkpoints, on models whose caches cannot be cut: they have windows, or states."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.cache_files import write_cache
from backends.sequence import Sequence
from backends.step import Chunk, StepPlan
from backends.wire.request import SamplingParams
from tests.support.bare_engine import GREEDY, BareEngine, text_ids
from tests.support.engine_driver import EngineDriver
from tests.support.uncuttable import CONTEXT_LENGTH, Kind

pytestmark = pytest.mark.slow

PROMPT = text_ids(200)
PLACES = (40, 120, 190)
OTHER = text_ids(40, seed=1)
SEEDED = SamplingParams(temperature=0.9, seed=5)
NUM = 12


@pytest.fixture
def bare(kind: Kind) -> Iterator[BareEngine]:
    bare = BareEngine(kind.engine)
    yield bare
    bare.close()


@pytest.fixture
def driver(kind: Kind) -> Iterator[EngineDriver]:
    driver = EngineDriver(kind.engine, keeps_ended=True)
    yield driver
    driver.close()


def with_checkpoints(bare: BareEngine, token_ids: list[int], places: tuple[int, ...] = PLACES) -> Sequence:
    """Return a sequence that has drawn a few tokens, with its checkpoints."""
    sequence = bare.insert(token_ids)
    sequence.checkpoint_places = places
    for place in places:
        go_to(bare, sequence, place)
        assert bare.engine.add_checkpoint(sequence.sequence_id) > 0
    bare.run(sequence, num_tokens=NUM)
    return sequence


def go_to(bare: BareEngine, sequence: Sequence, place: int) -> None:
    while sequence.num_computed < place:
        bare.step(sequence)
    assert sequence.num_computed == place, "no chunk goes over a place"


def test_they_are_of_use(kind: Kind) -> None:
    limits = kind.engine.limits
    assert limits.keeps_checkpoints
    assert not limits.can_cut(CONTEXT_LENGTH)
    assert limits.can_cut(8) == (kind.cache == "windowed")
    assert limits.num_slots == 4 + 24
    assert limits.border_ids


@pytest.mark.parametrize("is_retired", [True, False])
@pytest.mark.parametrize("place", PLACES)
def test_a_fork_at_one_answers_as_if_it_had_computed_everything(
    bare: BareEngine, place: int, *, is_retired: bool
) -> None:
    source = with_checkpoints(bare, PROMPT)
    if is_retired:
        assert bare.retire(source) >= len(PROMPT)
    text = PROMPT[:place] + OTHER
    expected = bare.fresh_answer(text, NUM)
    for _ in range(2):
        assert bare.forked_answer(source, place, text, NUM) == expected


def test_a_source_that_goes_on_is_not_disturbed(bare: BareEngine) -> None:
    expected = bare.fresh_answer(PROMPT, 30)
    source = with_checkpoints(bare, PROMPT)
    forks = [bare.fork(source, place, PROMPT[:place] + OTHER) for place in PLACES]
    for number in range(NUM, 30, 4):
        bare.run(source, num_tokens=number)
        for fork in forks:
            assert fork is not None
            bare.run(fork, num_tokens=number - 8)
    assert bare.run(source, num_tokens=30) == [expected]


def test_forks_hold_what_they_begin_with(bare: BareEngine) -> None:
    source = with_checkpoints(bare, PROMPT)
    bare.retire(source)
    text = PROMPT[:120] + OTHER
    fork = bare.fork(source, 120, text)
    assert fork is not None
    bare.remove(source)
    bare.run(fork, num_tokens=3)
    bare.retire(fork)
    third = bare.fork(fork, 40, PROMPT[:40] + OTHER)
    assert third is not None
    assert bare.run(third, num_tokens=NUM) == [bare.fresh_answer(PROMPT[:40] + OTHER, NUM)]
    assert bare.fork(fork, 150, text) is None, "that was the source's"


def test_a_whole_cache_that_was_begun_with_becomes_one(bare: BareEngine) -> None:
    source = with_checkpoints(bare, PROMPT)
    num_tokens = bare.retire(source)
    text = source.token_ids[:num_tokens] + OTHER
    fork = bare.fork(source, num_tokens, text)
    assert fork is not None
    assert bare.engine.add_checkpoint(fork.sequence_id) > 0
    bare.remove(source)
    bare.run(fork, num_tokens=3)
    bare.retire(fork)
    again = bare.fork(fork, num_tokens, text)
    assert again is not None
    assert bare.run(again, num_tokens=NUM) == [bare.fresh_answer(text, NUM)]


def test_what_was_dropped_is_no_beginning(bare: BareEngine, kind: Kind) -> None:
    source = with_checkpoints(bare, PROMPT)
    bare.retire(source)
    bare.engine.drop_checkpoint(source.sequence_id, 120)
    bare.engine.drop_checkpoint(source.sequence_id, 121)
    bare.engine.drop_checkpoint(987_654, 120)
    assert bare.fork(source, 120, PROMPT[:120] + OTHER) is None
    assert bare.fork(source, 121, PROMPT[:121] + OTHER) is None
    assert bare.fork(source, 40, PROMPT[:40] + OTHER) is not None
    assert kind.engine.add_checkpoint(987_654) == 0


def test_whoever_is_evicted_has_none_any_more(bare: BareEngine) -> None:
    source = with_checkpoints(bare, PROMPT)
    fork = bare.fork(source, 40, PROMPT[:40] + OTHER)
    assert fork is not None
    bare.step(bare.insert(OTHER), evicted=[source.sequence_id])
    assert bare.engine.checkpoints_of(source.sequence_id) == {}
    assert bare.fork(source, 40, PROMPT[:40] + OTHER) is None
    assert tuple(bare.engine.checkpoints_of(fork.sequence_id)) == (40,), "it holds them too"
    assert bare.run(fork, num_tokens=NUM) == [bare.fresh_answer(PROMPT[:40] + OTHER, NUM)]


def test_a_prefill_that_was_given_up_begins_again_at_one(bare: BareEngine) -> None:
    source = bare.insert(PROMPT)
    source.checkpoint_places = PLACES
    go_to(bare, source, 120)
    bare.engine.add_checkpoint(source.sequence_id)
    bare.step(source, max_tokens=32)
    num_kept = bare.retire(source)
    assert num_kept > 120
    text = PROMPT[:130] + OTHER
    assert bare.forked_answer(source, 120, text, NUM) == bare.fresh_answer(text, NUM)


def test_a_step_that_was_given_up_goes_back_to_the_last_one(bare: BareEngine, kind: Kind) -> None:
    if kind.name == "mlx":
        pytest.skip("its steps are not given up")
    expected = bare.fresh_answer(PROMPT, NUM)
    sequence = bare.insert(PROMPT)
    sequence.checkpoint_places = PLACES
    go_to(bare, sequence, 40)
    bare.engine.add_checkpoint(sequence.sequence_id)
    bare.step(sequence, max_tokens=10)
    result = bare.engine.step(StepPlan((Chunk(sequence, 50, 60),)), lambda: True)
    assert result.was_aborted
    assert result.num_computed == {sequence.sequence_id: 50 if kind.cache == "windowed" else 40}
    sequence.num_computed = result.num_computed[sequence.sequence_id]
    assert bare.run(sequence, num_tokens=NUM) == [expected]


@pytest.mark.parametrize("sampling", [GREEDY, SEEDED], ids=["greedy", "seeded"])
def test_held_sequences_go_on_as_if_undisturbed(bare: BareEngine, sampling: SamplingParams) -> None:
    """Where the token that was drawn ahead cannot be taken back, from the last checkpoint on."""
    sequence = bare.insert(PROMPT, sampling)
    (expected,) = bare.run(sequence, num_tokens=24)
    bare.remove(sequence)
    held = bare.insert(PROMPT, sampling)
    held.checkpoint_places = PLACES
    for place in PLACES:
        go_to(bare, held, place)
        bare.engine.add_checkpoint(held.sequence_id)
    other = bare.insert(OTHER)
    for number in (1, 5, 12):
        bare.run(held, num_tokens=number)
        bare.run(other, num_tokens=number)
        assert held.num_computed >= PLACES[-1], "nothing before it is computed again"
    assert bare.run(held, num_tokens=24) == [expected]


def test_logits_are_the_same_within_rounding(driver: EngineDriver) -> None:
    """With float32 weights and caches; a neighbour in the batch changes them as much."""
    sampling = SamplingParams(temperature=0, num_logprobs=5)
    first = text_ids(400)
    driver.answer(first, max_tokens=20, ignore_eos=True)
    text = first + OTHER
    continued = driver.answer(text, sampling, max_tokens=NUM, ignore_eos=True)
    assert continued.end.usage.num_cached_tokens == 399
    driver.close()
    fresh = EngineDriver(driver.engine).answer(text, sampling, max_tokens=NUM, ignore_eos=True)
    assert continued.token_ids == fresh.token_ids
    for ours, theirs in zip(continued.likelihoods, fresh.likelihoods, strict=True):
        for one, other in zip(ours.top, theirs.top, strict=True):
            assert one.token_id == other.token_id
            assert one.logprob == pytest.approx(other.logprob, abs=1e-3)


def test_a_file_has_them_too(bare: BareEngine, tmp_path: Path) -> None:
    path = tmp_path / "cache"
    source = with_checkpoints(bare, PROMPT)
    held = bare.engine.checkpoints_of(source.sequence_id)
    assert tuple(held) == PLACES
    num_tokens = bare.retire(source)
    assert bare.engine.save_cache(source.sequence_id, path) > sum(held.values())
    bare.remove(source)
    loaded_id = bare.new_id()
    assert bare.engine.load_cache(path, loaded_id, source.token_ids) == num_tokens
    assert bare.engine.checkpoints_of(loaded_id) == held
    for place in PLACES:
        text = PROMPT[:place] + OTHER
        assert bare.forked_answer(loaded_id, place, text, NUM) == bare.fresh_answer(text, NUM)


def test_a_file_has_those_that_are_wanted(bare: BareEngine, tmp_path: Path) -> None:
    source = with_checkpoints(bare, PROMPT)
    bare.retire(source)
    cache = bare.engine.export_cache(source.sequence_id, [40, 41, 190])
    assert cache is not None
    bare.engine.drop_checkpoint(source.sequence_id, 40)
    assert cache.places == (40, 190)
    write_cache(tmp_path / "cache", bare.engine.cache_fingerprint, cache)
    loaded_id = bare.new_id()
    assert bare.engine.load_cache(tmp_path / "cache", loaded_id, source.token_ids)
    assert tuple(bare.engine.checkpoints_of(loaded_id)) == (40, 190)


@pytest.mark.parametrize("places", [(0,), (40, 40), (120, 40), (500,), tuple(range(1, 100))])
def test_a_file_with_wrong_places_is_not_read(bare: BareEngine, tmp_path: Path, places: tuple[int, ...]) -> None:
    source = with_checkpoints(bare, PROMPT)
    bare.retire(source)
    cache = bare.engine.export_cache(source.sequence_id, [])
    assert cache is not None
    write_cache(tmp_path / "cache", bare.engine.cache_fingerprint, cache._replace(places=places))
    assert bare.engine.load_cache(tmp_path / "cache", bare.new_id(), source.token_ids) == 0
