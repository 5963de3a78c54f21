"""What every engine promises of sequences that are held or retired, and of forks of them; no batcher decides here."""

from collections.abc import Callable, Iterator

import pytest

from backends.wire.load import LoadSpec
from backends.wire.request import SamplingParams
from tests.backends.conftest import CONTEXT_LENGTH, MAX_SEQUENCES, EngineUnderTest
from tests.support.bare_engine import GREEDY, BareEngine, answer_of, load, text_ids

pytestmark = pytest.mark.slow

PROMPT = text_ids(150)
OTHER = text_ids(40, seed=1)
SEEDED = SamplingParams(temperature=0.9, seed=5)
SAMPLINGS = pytest.mark.parametrize("sampling", [GREEDY, SEEDED], ids=["greedy", "seeded"])
NUM = 12
"""Tokens of an answer."""


@pytest.fixture
def bare(loaded: EngineUnderTest) -> Iterator[BareEngine]:
    bare = BareEngine(loaded.engine)
    yield bare
    bare.close()


class TestRetired:
    @pytest.mark.parametrize("num_answered", [1, 2, NUM])
    def test_tells_how_much_is_kept(self, bare: BareEngine, num_answered: int) -> None:
        sequence = bare.insert(PROMPT)
        bare.run(sequence, num_tokens=num_answered)
        num_tokens = bare.retire(sequence)
        assert len(sequence.token_ids) - 1 <= num_tokens <= len(sequence.token_ids)

    @pytest.mark.parametrize("num_tokens", [1, 63, 149, 150, 155])
    def test_a_fork_answers_as_if_it_had_computed_everything(self, bare: BareEngine, num_tokens: int) -> None:
        """Beginnings of the prompt, all of it, and some of the answer."""
        source = bare.insert(PROMPT)
        bare.run(source, num_tokens=NUM)
        text = source.token_ids[:num_tokens] + OTHER
        expected = bare.fresh_answer(text, NUM)
        assert bare.retire(source) >= 155
        for _ in range(2):
            fork = bare.fork(source, num_tokens, text)
            assert fork is not None
            assert bare.run(fork, num_tokens=NUM) == [expected]

    def test_the_next_turn_computes_only_what_is_new(self, bare: BareEngine) -> None:
        source = bare.insert(PROMPT)
        bare.run(source, num_tokens=NUM)
        num_kept = bare.retire(source)
        turn = source.token_ids + OTHER
        fork = bare.fork(source, num_kept, turn)
        assert fork is not None
        assert fork.num_pending <= len(OTHER) + 1
        assert bare.run(fork, num_tokens=NUM) == [bare.fresh_answer(turn, NUM)]

    def test_it_can_be_cancelled_in_its_prefill(self, bare: BareEngine) -> None:
        source = bare.insert(PROMPT)
        for _ in range(4):
            bare.step(source, max_tokens=32)
        num_computed = source.num_computed
        assert 0 < num_computed < len(PROMPT)
        num_kept = bare.retire(source)
        assert num_kept == num_computed
        fork = bare.fork(source, num_kept, PROMPT)
        assert fork is not None
        assert bare.run(fork, num_tokens=NUM) == [bare.fresh_answer(PROMPT, NUM)]

    def test_nothing_is_kept_of_what_has_computed_nothing(self, bare: BareEngine) -> None:
        sequence = bare.insert(PROMPT)
        assert bare.retire(sequence) == 0
        assert bare.fork(sequence, 5, PROMPT) is None
        assert bare.engine.retire(987_654) == 0

    def test_more_than_it_holds_cannot_be_had(self, bare: BareEngine) -> None:
        source = bare.insert(PROMPT)
        bare.run(source, num_tokens=2)
        num_kept = bare.retire(source)
        assert bare.fork(source, num_kept + 1, source.token_ids + OTHER) is None
        assert bare.fork(source, num_kept, source.token_ids + OTHER) is not None

    def test_removed_or_evicted_it_is_gone(self, bare: BareEngine) -> None:
        first, second = bare.insert(PROMPT), bare.insert(PROMPT)
        bare.run(first, second, num_tokens=2)
        bare.retire(first)
        bare.retire(second)
        bare.engine.remove(first.sequence_id)
        other = bare.insert(OTHER)
        bare.step(other, evicted=[second.sequence_id])
        assert bare.fork(first, 100, PROMPT) is None
        assert bare.fork(second, 100, PROMPT) is None

    def test_it_leaves_those_that_run_alone(self, bare: BareEngine) -> None:
        expected = [bare.fresh_answer(ids, 30) for ids in (PROMPT, OTHER)]
        first, second = bare.insert(PROMPT), bare.insert(OTHER)
        bare.run(first, second, num_tokens=5)
        third = bare.insert(PROMPT + OTHER)
        bare.run(third, num_tokens=3)
        bare.retire(third)
        assert bare.run(first, second, num_tokens=30) == expected

    def test_kept_caches_take_no_cells(self, bare: BareEngine, loaded: EngineUnderTest) -> None:
        """Kept and running together are several times what there are cells for."""
        alone = bare.fresh_answer(PROMPT, NUM)
        num_kept = 0
        for seed in range(min(20, bare.engine.limits.num_slots - MAX_SEQUENCES)):
            sequence = bare.insert(text_ids(200, seed))
            bare.run(sequence, num_tokens=1)
            num_kept += bare.retire(sequence)
        assert num_kept > 3 * loaded.model.kv_cells
        running = [bare.insert(PROMPT) for _ in range(MAX_SEQUENCES)]
        assert bare.run(*running, num_tokens=NUM) == [alone] * MAX_SEQUENCES

    def test_every_slot_can_be_used_and_used_again(self, bare: BareEngine) -> None:
        for _ in range(2):
            kept = [bare.insert(text_ids(8, seed)) for seed in range(bare.engine.limits.num_slots - 1)]
            for sequence in kept:
                bare.run(sequence, num_tokens=1)
                assert bare.retire(sequence)
            fork = bare.fork(kept[-1], 8, kept[-1].token_ids + OTHER)
            assert fork is not None
            assert bare.run(fork, num_tokens=3) == [bare.run(fork, num_tokens=3)[0]]
            for sequence in [*kept, fork]:
                bare.remove(sequence)


class TestHeld:
    @SAMPLINGS
    @pytest.mark.parametrize("num_tokens", [0, 1, 2, 7])
    def test_hold_and_resume_give_the_undisturbed_text(
        self, bare: BareEngine, sampling: SamplingParams, num_tokens: int
    ) -> None:
        """With 0 tokens it is held in its prefill, while another one runs, and again in its decode."""
        sequence, other = bare.insert(PROMPT, sampling), bare.insert(OTHER, sampling)
        expected = bare.run(sequence, other, num_tokens=30)
        bare.remove(sequence)
        bare.remove(other)
        sequence, other = bare.insert(PROMPT, sampling), bare.insert(OTHER, sampling)
        bare.step(sequence, other)
        bare.run(sequence, num_tokens=num_tokens)
        for _ in range(3):
            before = list(sequence.token_ids)
            bare.run(other, num_tokens=other.num_output_tokens + 2)
            assert sequence.token_ids == before
            assert sequence.num_computed < len(sequence.token_ids)
            bare.run(sequence, other, num_tokens=max(sequence.num_output_tokens, other.num_output_tokens) + 1)
        assert bare.run(sequence, other, num_tokens=30) == expected

    def test_nobody_in_the_plan_holds_everybody(self, bare: BareEngine) -> None:
        expected = bare.fresh_answer(PROMPT, NUM)
        sequence = bare.insert(PROMPT)
        while sequence.num_output_tokens < NUM:
            bare.step()
            bare.run(sequence, num_tokens=sequence.num_output_tokens + 1)
        assert answer_of(sequence) == expected

    @pytest.mark.parametrize("num_answered", [0, 1, 9])
    def test_a_held_sequence_can_be_forked_and_goes_on(self, bare: BareEngine, num_answered: int) -> None:
        """In its prefill with 0."""
        expected = bare.fresh_answer(PROMPT, 20)
        text = PROMPT[:60] + OTHER
        fork_expected = bare.fresh_answer(text, NUM)
        source = bare.insert(PROMPT)
        while source.num_computed < 60:
            bare.step(source)
        bare.run(source, num_tokens=num_answered)
        bare.run(bare.insert(OTHER), num_tokens=1)
        fork = bare.fork(source, 60, text)
        assert fork is not None
        assert bare.run(fork, num_tokens=NUM) == [fork_expected]
        assert bare.run(source, num_tokens=20) == [expected]

    def test_a_held_sequence_can_be_retired(self, bare: BareEngine) -> None:
        source = bare.insert(PROMPT)
        bare.run(source, num_tokens=3)
        bare.run(bare.insert(OTHER), num_tokens=1)
        assert bare.retire(source) == len(source.token_ids) - 1
        fork = bare.fork(source, len(PROMPT), PROMPT + OTHER)
        assert fork is not None
        assert bare.run(fork, num_tokens=NUM) == [bare.fresh_answer(PROMPT + OTHER, NUM)]

    def test_an_evicted_sequence_is_computed_anew(self, bare: BareEngine) -> None:
        expected = bare.fresh_answer(PROMPT, NUM)
        sequence = bare.insert(PROMPT)
        bare.run(sequence, num_tokens=3)
        bare.step(bare.insert(OTHER), evicted=[sequence.sequence_id])
        sequence.num_computed = 0
        assert bare.run(sequence, num_tokens=NUM) == [expected]


class TestForksOfForks:
    def test_the_end_of_a_source_leaves_its_forks(self, bare: BareEngine) -> None:
        text = PROMPT + OTHER
        expected = bare.fresh_answer(text, NUM)
        first = bare.insert(PROMPT)
        bare.run(first, num_tokens=1)
        second = bare.fork(first, 100, text)
        assert second is not None
        bare.step(second)
        third = bare.fork(second, 80, text)
        assert third is not None
        bare.retire(first)
        bare.remove(first)
        bare.run(second, num_tokens=2)
        bare.remove(second)
        assert bare.run(third, num_tokens=NUM) == [expected]

    def test_a_fork_is_retired_with_all_that_it_holds(self, bare: BareEngine) -> None:
        text = PROMPT + OTHER
        first = bare.insert(PROMPT)
        bare.run(first, num_tokens=1)
        second = bare.fork(first, len(PROMPT), text)
        assert second is not None
        bare.run(second, num_tokens=NUM)
        bare.remove(first)
        assert bare.retire(second) >= len(text) + NUM - 1
        third = bare.fork(second, 170, text)
        assert third is not None
        assert bare.run(third, num_tokens=NUM) == [answer_of(second)]

    def test_a_target_that_has_begun_is_not_a_target(self, bare: BareEngine) -> None:
        source, target = bare.insert(PROMPT), bare.insert(PROMPT)
        bare.run(source, num_tokens=1)
        bare.step(target)
        assert not bare.engine.fork(source.sequence_id, target.sequence_id, 100)


@pytest.mark.parametrize(("cache_slots", "num_slots"), [(None, 26), (3, 5), (0, 2)])
@pytest.mark.parametrize("name", ["fake", "llamacpp", "mlx"])
def test_slots_are_what_the_spec_says(
    name: str, cache_slots: int | None, num_slots: int, loaded_engines: Callable[[str], EngineUnderTest]
) -> None:
    loaded = loaded_engines(name)
    spec = LoadSpec(
        model_path=str(loaded.path), context_length=CONTEXT_LENGTH, max_sequences=2, cache_slots=cache_slots
    )
    engine = load(name, spec)
    assert engine.limits.num_slots == num_slots
    assert engine.limits.num_retired_tokens == (engine.model.kv_cells if num_slots > 2 else 0)
    engine.close()
