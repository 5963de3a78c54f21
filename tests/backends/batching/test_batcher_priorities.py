"""Who computes when not everybody can, and who gives way: classes, ages, slots and cells."""

import dataclasses

import pytest

from backends.batch_limits import BatchLimits
from backends.batching.actions import Fork
from backends.batching.live import SLICE_TOKENS
from backends.batching.prefill_budget import SHORT_PREFILL_TOKENS
from backends.step import Chunk, StepPlan
from backends.wire.request import Priority, SamplingParams
from tests.support.cell_engine import Driven, sequence_of

LIMITS = BatchLimits(max_sequences=2, num_slots=8, num_cells=1000, step_tokens=50, background_max_wait_s=60)
BACKGROUND = Priority.BACKGROUND


def driven_of(**changed: float) -> Driven:
    return Driven(dataclasses.replace(LIMITS, **changed))  # type: ignore[arg-type]


def ids_of(plan: StepPlan) -> list[int]:
    return [chunk.sequence.sequence_id for chunk in plan.chunks]


class TestSteps:
    def test_an_idle_batcher_plans_nothing(self) -> None:
        driven = driven_of()
        assert not driven.batcher.has_work
        assert driven.batcher.admit(0) == []
        assert driven.batcher.plan(0) == StepPlan()

    def test_a_long_prompt_comes_in_chunks_of_the_budget(self) -> None:
        driven = driven_of()
        driven.add(sequence_of(1, 120, 4))
        assert [driven.step().chunks[0].num_tokens for _ in range(3)] == [50, 50, 20]

    def test_beside_a_stream_prefill_gets_what_the_budget_allows(self) -> None:
        driven = driven_of()
        stream = driven.add(sequence_of(1, 10, 100))
        for _ in range(8):
            driven.step()
            driven.batcher.prefill_budget.observe(1, 0, 0.020)
        prompt = driven.add(sequence_of(2, 200, 4))
        driven.batcher.prefill_budget.observe(0, 50, 50 * 0.005)
        assert driven.step().chunks == (Chunk(stream, 17, 1), Chunk(prompt, 0, 6))

    def test_short_prompts_pass_a_long_one_beside_a_stream(self) -> None:
        driven = driven_of(max_sequences=4)
        stream = driven.add(sequence_of(1, 10, 100))
        driven.step()
        driven.batcher.prefill_budget.observe(1, 0, 0.020)
        driven.batcher.prefill_budget.observe(0, 50, 50 * 0.005)
        long = driven.add(sequence_of(2, SHORT_PREFILL_TOKENS + 1, 4))
        short = driven.add(sequence_of(3, 30, 4))
        assert driven.step().chunks == (Chunk(stream, 10, 1), Chunk(long, 0, 6), Chunk(short, 0, 30))

    def test_prompts_whose_tokens_are_judged_share_their_bound_whatever_is_left_of_the_budget(self) -> None:
        driven = driven_of(max_sequences=4, scored_tokens=10)
        driven.add(sequence_of(1, 10, 100))
        driven.step()
        driven.batcher.prefill_budget.observe(1, 0, 0.020)
        driven.batcher.prefill_budget.observe(0, 50, 50 * 0.005)
        short = driven.add(sequence_of(2, 30, 4))
        for sequence_id, num_tokens in ((3, SHORT_PREFILL_TOKENS + 1), (4, 30)):
            sequence = sequence_of(sequence_id, num_tokens, 4)
            driven.add(dataclasses.replace(sequence, sampling=SamplingParams(num_prompt_logprobs=1)))
        _, *prefill = driven.step().chunks
        assert prefill[0] == Chunk(short, 0, 30)
        assert [(chunk.sequence.sequence_id, chunk.num_tokens) for chunk in prefill[1:]] == [(4, 10)]

    def test_no_more_than_the_places_compute_and_the_first_come_first(self) -> None:
        driven = driven_of()
        for i in (1, 2, 3):
            driven.add(sequence_of(i, 5, 4))
        assert ids_of(driven.step()) == [1, 2]
        driven.run()
        assert list(driven.done) == [1, 2, 3]

    def test_who_is_resumed_finds_its_old_place(self) -> None:
        driven = driven_of()
        for i in (1, 2):
            driven.add(sequence_of(i, 5, 20))
        driven.step()
        driven.pause(1)
        driven.add(sequence_of(3, 5, 20))
        assert ids_of(driven.step()) == [2, 3]
        driven.resume(1)
        assert ids_of(driven.step()) == [1, 2], "the third is held, and keeps its slot"
        assert driven.batcher.num_running == 3
        driven.run()
        assert not driven.evicted

    def test_more_streams_than_the_budget_are_served_by_age(self) -> None:
        driven = driven_of(max_sequences=4, step_tokens=2)
        for i in range(1, 5):
            driven.add(sequence_of(i, 1, 5))
        driven.run()
        assert list(driven.done) == [1, 2, 3, 4]


class TestClasses:
    def test_background_holds_still_while_interactive_computes_and_goes_on_where_it_was(self) -> None:
        driven = driven_of()
        background = driven.add(sequence_of(1, 10, 30, BACKGROUND))
        for _ in range(5):
            driven.step()
        driven.add(sequence_of(2, 10, 8))
        num_tokens = len(background.token_ids)
        while 2 in driven.live:
            assert ids_of(driven.step()) == [2]
        assert len(background.token_ids) == num_tokens
        driven.run()
        assert not driven.evicted
        assert driven.engine.num_evaluated == 10 + 29 + 10 + 7

    def test_interactive_overtakes_waiting_background(self) -> None:
        driven = driven_of()
        for i in range(1, 5):
            driven.add(sequence_of(i, 10, 10, BACKGROUND))
        driven.step()
        driven.add(sequence_of(9, 10, 3))
        driven.run()
        assert list(driven.done) == [9, 1, 2, 3, 4]

    def test_a_paused_interactive_one_holds_nobody(self) -> None:
        driven = driven_of()
        driven.add(sequence_of(1, 10, 3, BACKGROUND))
        driven.add(sequence_of(2, 10, 3))
        driven.pause(2)
        assert ids_of(driven.step()) == [1]

    def test_interactive_does_not_wait_for_what_held_background_would_compute(self) -> None:
        driven = driven_of()
        prompt = [4] * 150
        driven.add(sequence_of(1, [*prompt, 1], 4, BACKGROUND))
        driven.step()
        interactive = driven.add(sequence_of(2, [*prompt, 2], 4))
        plan = driven.step()
        assert ids_of(plan) == [2]
        assert interactive.num_cached_tokens == 50, "what it had computed is taken"


class TestAging:
    def steady(self, driven: Driven, num_steps: int) -> list[list[int]]:
        """Keep both places wanted by interactive sequences of 10 tokens; return who computed in each step."""
        plans = []
        for _ in range(num_steps):
            while sum(s.priority is Priority.INTERACTIVE for s in driven.live.values()) < 3:
                driven.add(sequence_of(1000 + len(driven.live) + len(driven.done), 5, 10))
            plans.append(ids_of(driven.step()))
        return plans

    def test_held_background_gets_a_slice_when_it_has_waited_too_long(self) -> None:
        driven = driven_of()
        background = driven.add(sequence_of(1, 10, 200, BACKGROUND))
        driven.step()
        before = background.num_output_tokens
        assert not any(1 in ids for ids in self.steady(driven, 59))
        plans = self.steady(driven, SLICE_TOKENS)
        assert all(1 in ids and len(ids) == 2 for ids in plans), "one place stays interactive"
        assert background.num_output_tokens - before == SLICE_TOKENS
        assert not any(1 in ids for ids in self.steady(driven, 58)), "and is held again"
        assert any(1 in ids for ids in self.steady(driven, 4))

    def test_every_background_sequence_ends_under_a_steady_load(self) -> None:
        driven = driven_of(background_max_wait_s=10)
        for i in range(1, 6):
            driven.add(sequence_of(i, 120, 70, BACKGROUND))
        for _ in range(3000):
            self.steady(driven, 1)
            if all(i in driven.done for i in range(1, 6)):
                return
        pytest.fail("background starved")

    def test_a_slice_that_had_to_wait_for_cells_is_progress_too(self) -> None:
        """Cells for one only: the background sequence is evicted again and again, and comes to its end."""
        driven = driven_of(background_max_wait_s=10, num_cells=130, num_slots=2)
        driven.add(sequence_of(1, 50, 70, BACKGROUND))
        for _ in range(3000):
            while sum(s.priority is Priority.INTERACTIVE for s in driven.live.values()) < 2:
                driven.add(sequence_of(1000 + len(driven.live) + len(driven.done), 90, 10))
            driven.step()
            if 1 in driven.done:
                break
        assert 1 in driven.done
        assert 1 in driven.evicted

    def test_interactive_sequences_end_beside_many_aged_ones(self) -> None:
        driven = driven_of(background_max_wait_s=1, max_sequences=4)
        for i in range(1, 30):
            driven.add(sequence_of(i, 10, 100, BACKGROUND))
        driven.step()
        driven.now += 100
        driven.add(sequence_of(99, 10, 10))
        for _ in range(12):
            driven.step()
        assert 99 in driven.done


class TestShortage:
    def test_the_newest_is_evicted_and_comes_back_at_its_place(self) -> None:
        driven = driven_of(num_cells=60)
        old, new = driven.add(sequence_of(1, 20, 30)), driven.add(sequence_of(2, 20, 20))
        while not driven.evicted:
            driven.step()
        assert driven.evicted == [2]
        assert (driven.batcher.num_waiting, new.num_computed) == (1, 0)
        driven.add(sequence_of(3, 5, 5))
        while 1 in driven.live:
            assert 3 not in ids_of(driven.step()), "it is behind the second"
        driven.run()
        assert list(driven.done) == [1, 2, 3] or list(driven.done) == [1, 3, 2]
        assert old.num_output_tokens == 30
        assert new.num_output_tokens == 20

    def test_background_gives_way_to_the_growth_of_interactive_ones(self) -> None:
        driven = driven_of(num_cells=80)
        driven.add(sequence_of(1, 20, 30, BACKGROUND))
        driven.step()
        driven.add(sequence_of(2, 20, 50))
        driven.run()
        assert driven.evicted == [1]
        assert list(driven.done) == [2, 1]

    def test_the_newest_background_gives_way_to_an_interactive_one_that_waits(self) -> None:
        driven = driven_of(num_cells=100)
        for i in (1, 2):
            driven.add(sequence_of(i, 30, 9, BACKGROUND))
        driven.step()
        driven.add(sequence_of(3, 40, 9))
        driven.step()
        assert driven.evicted == [2]
        assert ids_of(driven.step()) == [3]

    def test_nobody_is_evicted_where_it_would_not_help(self) -> None:
        driven = driven_of(num_cells=100)
        driven.add(sequence_of(1, 20, 9, BACKGROUND))
        driven.step()
        driven.add(sequence_of(2, 50, 9))
        driven.step()
        driven.add(sequence_of(3, 60, 9))
        driven.step()
        assert not driven.evicted
        driven.run()
        assert list(driven.done) == [2, 3, 1]

    def test_slots_of_background_ones_go_to_interactive_ones(self) -> None:
        driven = driven_of(num_slots=2)
        for i in (1, 2):
            driven.add(sequence_of(i, 5, 20, BACKGROUND))
        driven.step()
        driven.add(sequence_of(3, 5, 2))
        driven.run()
        assert driven.evicted == [2]
        assert next(iter(driven.done)) == 3

    @pytest.mark.parametrize("priority", Priority)
    def test_paused_ones_give_way_when_only_they_hold_what_is_needed(self, priority: Priority) -> None:
        driven = driven_of(num_cells=60)
        paused = driven.add(sequence_of(1, 40, 9))
        driven.step()
        driven.pause(1)
        driven.add(sequence_of(2, 50, 5, priority))
        driven.run()
        assert list(driven.done) == [2]
        assert driven.evicted == [1]
        driven.resume(1)
        driven.run()
        assert paused.num_output_tokens == 9

    def test_an_evicted_one_takes_up_what_caches_still_hold_of_it(self) -> None:
        """And says so: of its last computation, only the shared part of the prompt was not its own."""
        driven = driven_of(num_cells=100, num_retired_tokens=1000)
        driven.add(sequence_of(1, [*[3] * 40, 1], 50))
        second = driven.add(sequence_of(2, [*[3] * 40, 2], 40))
        while 2 not in driven.evicted:
            driven.step()
        assert driven.forked == [Fork(1, 2, 40)]
        assert second.num_cached_tokens == 0
        driven.run()
        assert driven.forked == [Fork(1, 2, 40)] * 2
        assert second.num_cached_tokens == 40

    def test_an_evicted_one_may_have_been_the_beginning_of_the_one_that_waits(self) -> None:
        """Others share its cells, so that the one that waits fits once it is gone, with their beginning."""
        driven = driven_of(max_sequences=3, num_slots=3, num_cells=130, num_retired_tokens=130)
        prompt = [5] * 100
        driven.add(sequence_of(1, prompt, 1))
        driven.run()
        driven.add(sequence_of(2, prompt, 1, BACKGROUND))
        driven.step(share=0)
        for number in (3, 4, 5):
            driven.add(sequence_of(number, prompt, 1))
        driven.run()
        assert 2 in driven.evicted
        assert set(driven.done) == {1, 2, 3, 4, 5}
