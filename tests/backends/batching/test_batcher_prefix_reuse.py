"""Who begins with whose cache, who waits for it, and which caches stay when a sequence has ended."""

import dataclasses

import pytest

from backends.batch_limits import BatchLimits
from backends.batching.actions import Fork
from backends.step import Chunk, StepResult
from tests.support.cell_engine import Cache, Driven, sequence_of

SYSTEM = [3] * 60
LIMITS = BatchLimits(max_sequences=4, num_slots=8, num_cells=1000, step_tokens=50, num_retired_tokens=1000)


def driven_of(**changed: float | bool) -> Driven:
    return Driven(dataclasses.replace(LIMITS, **changed))  # type: ignore[arg-type]


def finished(driven: Driven, sequence_id: int, prompt: list[int], session_id: str | None = None) -> list[int]:
    """Run a sequence of 4 tokens to its end; return all tokens but the last, which are what its cache holds."""
    sequence = driven.add(sequence_of(sequence_id, prompt, 4, session_id=session_id))
    driven.run()
    return sequence.token_ids[:-1]


class TestWaiting:
    def test_a_burst_with_one_beginning_computes_it_once(self) -> None:
        driven = driven_of(max_sequences=8)
        sequences = [driven.add(sequence_of(i, [*SYSTEM, 100 + i, 1, 2], 2)) for i in range(1, 9)]
        driven.run()
        assert [sequence.num_cached_tokens for sequence in sequences] == [0, *[60] * 7]
        assert driven.engine.num_evaluated == 63 + 7 * 3 + 8, "and one answer token each is evaluated for the next"
        assert [fork.target_id for fork in driven.forked] == list(range(2, 9))

    def test_choices_of_one_prompt_wait_however_short_it_is(self) -> None:
        driven = driven_of()
        sequences = [driven.add(sequence_of(i, [1, 2, 3], 2)) for i in range(1, 4)]
        driven.step()
        assert [sequence.num_computed for sequence in sequences] == [3, 0, 0]
        driven.step()
        assert driven.forked == [Fork(1, 2, 2), Fork(1, 3, 2)]
        assert sequences[1].num_cached_tokens == 2

    def test_a_few_common_words_are_not_waited_for(self) -> None:
        driven = driven_of()
        driven.add(sequence_of(1, [1, 2, 3, 4, 4], 2))
        other = driven.add(sequence_of(2, [1, 2, 3, 5, 5], 2))
        plan = driven.step()
        assert len(plan.chunks) == 2
        assert other.num_cached_tokens == 0

    def test_what_is_ready_is_taken_as_soon_as_it_is_and_the_rest_of_the_source_is_not_waited_for(self) -> None:
        driven = driven_of()
        source = driven.add(sequence_of(1, [*SYSTEM, *[4] * 200], 2))
        driven.add(sequence_of(2, [*SYSTEM, 9, 9], 2))
        driven.step()
        driven.step()
        assert source.num_computed == 100
        assert driven.forked == []
        driven.step()
        assert driven.forked == [Fork(1, 2, 60)]

    def test_waits_form_a_chain(self) -> None:
        """The second waits for the first, the third for the second, which has a longer beginning for it."""
        driven = driven_of()
        driven.add(sequence_of(1, [*SYSTEM, 1], 20))
        driven.add(sequence_of(2, [*SYSTEM, *[4] * 40, 1], 20))
        third = driven.add(sequence_of(3, [*SYSTEM, *[4] * 40, 2], 2))
        driven.run()
        assert driven.forked == [Fork(1, 2, 60), Fork(2, 3, 100)]
        assert third.num_cached_tokens == 100

    def test_who_waits_lets_others_go_first(self) -> None:
        driven = driven_of()
        driven.add(sequence_of(1, [*SYSTEM, 1], 2))
        driven.add(sequence_of(2, [*SYSTEM, 2], 2))
        other = driven.add(sequence_of(3, 5, 2))
        driven.step()
        driven.step()
        assert other.num_computed > 0

    @pytest.mark.parametrize("how", ["cancelled", "failed", "paused"])
    def test_the_next_one_computes_it_when_the_first_one_does_not(self, how: str) -> None:
        driven = driven_of(num_retired_tokens=0)
        driven.add(sequence_of(1, [*SYSTEM, 1], 2))
        second, third = (driven.add(sequence_of(i, [*SYSTEM, 2 + i], 2)) for i in (2, 3))
        driven.step()
        if how == "paused":
            driven.pause(1)
        else:
            driven.end(1, is_failed=how == "failed")
        plan = driven.step()
        num_ready = 50 if how == "paused" else 0
        assert plan.chunks == (Chunk(second, num_ready, 61 - num_ready if num_ready else 50),)
        driven.run()
        assert third.num_cached_tokens == 60

    def test_a_refused_fork_is_computed_from_its_beginning_and_not_tried_again(self) -> None:
        driven = driven_of()
        driven.add(sequence_of(1, [*SYSTEM, 1], 30))
        second = driven.add(sequence_of(2, [*SYSTEM, 2], 2))
        for _ in range(3):
            driven.step(can_fork=lambda: False)
        assert driven.forked == []
        assert (second.num_cached_tokens, second.num_computed) == (0, min(second.num_computed, 61))
        driven.run()
        assert driven.forked == []

    def test_memory_that_cannot_be_cut_waits_for_nobody(self) -> None:
        driven = driven_of(can_cut_cache=False)
        for i in (1, 2):
            driven.add(sequence_of(i, [*SYSTEM, i], 2))
        driven.run()
        assert driven.forked == []


class TestRetired:
    def test_the_next_turn_computes_only_what_is_new(self) -> None:
        driven = driven_of()
        history = finished(driven, 1, SYSTEM)
        num_before = driven.engine.num_evaluated
        turn = driven.add(sequence_of(2, [*history, 7, 7, 7], 2))
        driven.run()
        assert turn.num_cached_tokens == len(history)
        assert driven.engine.num_evaluated - num_before == 3 + 1

    def test_the_same_prompt_again_computes_its_last_token(self) -> None:
        driven = driven_of()
        finished(driven, 1, SYSTEM)
        again = driven.add(sequence_of(2, SYSTEM, 4))
        driven.run()
        assert again.num_cached_tokens == len(SYSTEM) - 1

    def test_a_cancelled_prefill_goes_on_where_it_was(self) -> None:
        driven = driven_of()
        driven.add(sequence_of(1, [4] * 300, 4))
        for _ in range(3):
            driven.step()
        driven.end(1)
        again = driven.add(sequence_of(2, [4] * 300, 4))
        driven.run()
        assert again.num_cached_tokens == 150

    def test_a_failed_one_leaves_nothing(self) -> None:
        driven = driven_of()
        driven.add(sequence_of(1, SYSTEM, 4))
        driven.step()
        driven.end(1, is_failed=True)
        assert driven.batcher.retired_ids == []
        assert driven.engine.caches == {}

    def test_memory_that_cannot_be_cut_goes_on_from_a_whole_cache_only(self) -> None:
        driven = driven_of(can_cut_cache=False)
        history = finished(driven, 1, SYSTEM)
        same = driven.add(sequence_of(2, SYSTEM, 4))
        turn = driven.add(sequence_of(3, [*history, 7], 4))
        driven.run()
        assert (same.num_cached_tokens, turn.num_cached_tokens) == (0, len(history))

    def test_a_turn_takes_the_place_of_the_one_before(self) -> None:
        driven = driven_of()
        history = finished(driven, 1, SYSTEM)
        driven.add(sequence_of(2, [*history, 7], 4))
        driven.step()
        assert driven.batcher.retired_ids == [], "the running one has all of it"
        driven.run()
        assert driven.batcher.retired_ids == [2]

    def test_an_answer_that_is_the_beginning_of_a_kept_one_is_not_kept(self) -> None:
        driven = driven_of()
        finished(driven, 1, SYSTEM)
        driven.add(sequence_of(2, SYSTEM, 1))
        driven.run()
        assert driven.batcher.retired_ids == [1]

    def test_a_sessions_cache_is_not_given_up_for_a_stranger(self) -> None:
        """The stranger's prompt has all of it, but is of no session: the session's pin would be lost with it."""
        driven = driven_of()
        history = finished(driven, 1, SYSTEM, "chat")
        driven.add(sequence_of(2, [*history, 7], 4))
        driven.step()
        assert driven.batcher.retired_ids == [1]
        driven.run()
        retired = driven.batcher._retired.get(2)
        assert driven.batcher.retired_ids == [2]
        assert retired is not None
        assert retired.is_pinned(driven.now), "what takes its place is kept as long"

    def test_slots_are_given_up_by_least_recent_use_and_sessions_last(self) -> None:
        driven = driven_of(num_slots=4)
        finished(driven, 1, [1] * 9, "chat")
        for i in (2, 3, 4):
            finished(driven, i, [i] * 9)
        assert driven.batcher.retired_ids == [1, 2, 3, 4]
        driven.add(sequence_of(5, [2] * 9, 4))
        driven.add(sequence_of(6, [6] * 9, 4))
        driven.run()
        assert driven.dropped[:2] == [3, 4], "the second was used again, the first is of a session"

    def test_a_session_is_like_others_when_its_time_is_up(self) -> None:
        driven = driven_of(num_slots=4, session_ttl_s=100)
        finished(driven, 1, [1] * 9, "chat")
        for i in (2, 3, 4):
            finished(driven, i, [i] * 9)
        driven.now += 100
        finished(driven, 5, [5] * 9)
        assert driven.dropped == [1]

    def test_their_tokens_are_limited(self) -> None:
        driven = driven_of(num_retired_tokens=100)
        finished(driven, 1, [1] * 60)
        finished(driven, 2, [2] * 40)
        assert driven.batcher.retired_ids == [2], "63 and 43 are more than 100"
        finished(driven, 3, [3] * 110)
        assert driven.batcher.retired_ids == []

    def test_a_cache_from_elsewhere_is_a_beginning_like_others(self) -> None:
        driven = driven_of(num_slots=4)
        for i in (1, 2, 3, 4):
            finished(driven, i, [10 + i] * 9)
        assert driven.batcher.num_ready(sequence_of(0, [*SYSTEM, 1], 1)) == 0
        assert driven.batcher.free_slot(driven.now) == (1,)
        driven.engine.remove(1)
        driven.engine.caches[9] = Cache(list(range(-60, 0)), list(SYSTEM))
        driven.engine.retired.add(9)
        assert driven.batcher.adopt(9, SYSTEM, driven.now, is_pinned=True) == ()
        assert driven.batcher.num_ready(sequence_of(0, [*SYSTEM, 1], 1)) == len(SYSTEM)
        assert driven.batcher.num_ready(sequence_of(0, SYSTEM, 1)) == len(SYSTEM) - 1
        turn = driven.add(sequence_of(10, [*SYSTEM, 1], 4, session_id="chat"))
        driven.run()
        assert turn.num_cached_tokens == len(SYSTEM)
        assert driven.batcher.retired_ids[-1] == 10

    def test_live_sequences_leave_no_slot_for_a_cache_from_elsewhere(self) -> None:
        driven = driven_of(max_sequences=1, num_slots=1)
        assert driven.batcher.free_slot(0) == ()
        driven.add(sequence_of(1, SYSTEM, 4))
        driven.step()
        assert driven.batcher.free_slot(1) is None
        assert driven_of(num_retired_tokens=0).batcher.free_slot(0) is None

    def test_the_last_slot_is_taken_from_the_beginning_itself(self) -> None:
        driven = driven_of(max_sequences=1, num_slots=1)
        finished(driven, 1, SYSTEM)
        second = driven.add(sequence_of(2, [*SYSTEM, 1], 4))
        driven.run()
        assert second.num_cached_tokens == 0
        assert driven.dropped == [1]


class TestCells:
    def test_shared_cells_count_once_until_the_last_holder_is_gone(self) -> None:
        driven = driven_of(num_retired_tokens=0)
        for i in (1, 2, 3):
            driven.add(sequence_of(i, [*SYSTEM, i], 9))
        driven.step()
        driven.step()
        driven.step()
        assert [fork.num_tokens for fork in driven.forked] == [60, 60]
        lengths = {i: len(sequence.token_ids) - 60 for i, sequence in driven.live.items()}
        assert driven.batcher.num_free_cells == 1000 - 60 - sum(lengths.values())
        driven.end(1)
        assert driven.batcher.num_free_cells == 1000 - 60 - lengths[2] - lengths[3]
        driven.end(2)
        assert driven.batcher.num_free_cells == 1000 - 60 - lengths[3]
        driven.end(3)
        assert driven.batcher.num_free_cells == 1000

    @pytest.mark.parametrize(("shares", "num_running"), [(True, 3), (False, 2)])
    def test_forks_fit_where_cells_are_shared(self, *, shares: bool, num_running: int) -> None:
        driven = driven_of(forks_share_cells=shares, num_cells=180)
        for i in (1, 2, 3):
            driven.add(sequence_of(i, [*SYSTEM, i], 9))
        for _ in range(3):
            driven.step()
        assert driven.batcher.num_running == num_running

    def test_a_fork_of_a_retired_one_has_cells_of_its_own_and_the_next_shares_them(self) -> None:
        driven = driven_of()
        finished(driven, 1, SYSTEM)
        assert driven.batcher.num_free_cells == 1000
        for i in (2, 3):
            driven.add(sequence_of(i, [*SYSTEM, 90 + i], 4))
        driven.admit()
        assert driven.forked == [Fork(1, 2, 60), Fork(2, 3, 60)]
        assert driven.batcher.num_free_cells == 1000 - 60 - 1 - 1

    def test_where_copies_are_made_the_retired_one_is_the_better_source(self) -> None:
        driven = driven_of(forks_share_cells=False)
        finished(driven, 1, SYSTEM)
        for i in (2, 3):
            driven.add(sequence_of(i, [*SYSTEM, 90 + i], 4))
        driven.admit()
        assert driven.forked == [Fork(1, 2, 60), Fork(1, 3, 60)]

    def test_a_fork_that_loses_its_beginning_shares_it_no_more(self) -> None:
        """An engine may keep less of a sequence that it holds; what is computed anew has cells of its own."""
        driven = driven_of()
        for i in (1, 2):
            driven.add(sequence_of(i, [*SYSTEM, i], 9))
        for _ in range(3):
            driven.step()
        fork = driven.live[2]
        num_free = driven.batcher.num_free_cells
        driven.engine.cut(2, 20)
        driven.batcher.on_step(StepResult(num_computed={2: 20}))
        assert driven.batcher.num_free_cells == num_free - 40
        assert fork.num_cached_tokens == 20

    def test_of_an_evicted_answer_only_the_prompt_counts_as_cached(self) -> None:
        """Both give the same answer; the evicted one begins with the other one's, answer included."""
        driven = driven_of(num_cells=75)
        for i in (1, 2):
            driven.add(sequence_of(i, SYSTEM, 14))
        second = driven.live[2]
        while 2 not in driven.evicted:
            driven.step()
        num_drawn = second.num_output_tokens
        assert num_drawn > 1
        driven.run()
        assert driven.forked[-1].num_tokens == len(SYSTEM) + num_drawn - 1
        assert second.num_cached_tokens == len(SYSTEM)
