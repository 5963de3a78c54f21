"""Which checkpoints are made, begun with, waited for and given up, over a simulated engine that knows every token."""

import dataclasses
from typing import Any

import pytest

from backends.batch_limits import BatchLimits
from backends.batching.checkpoints.places import GAP_TOKENS
from tests.support.cell_engine import CHECKPOINT_BYTES, Driven, sequence_of

BORDER = 2
LIMITS = BatchLimits(
    max_sequences=4,
    num_slots=8,
    num_cells=20_000,
    step_tokens=512,
    num_retired_tokens=40_000,
    can_cut_cache=False,
    num_cuttable_tokens=0,
    checkpoint_bytes=100 * CHECKPOINT_BYTES,
    border_ids=frozenset({BORDER}),
    forks_share_cells=False,
)
WINDOWS = {"can_cut_cache": True, "num_cuttable_tokens": 100, "forks_share_cells": True}
SYSTEM = [BORDER, *[5] * 999]


def driven_of(**limits: Any) -> Driven:
    return Driven(dataclasses.replace(LIMITS, **limits))


def message(token: int, num: int) -> list[int]:
    """Return a message of tokens that differ from others', with its border."""
    return [BORDER, *[token] * num]


HEAD = [BORDER, 6]
"""What begins an answer."""


def answered(driven: Driven, sequence_id: int, prompt: list[int], num_output: int = 40) -> int:
    """Run a prompt to its end; return how many of its tokens were computed."""
    before = driven.engine.num_evaluated
    driven.add(sequence_of(sequence_id, prompt, num_output))
    driven.run()
    return driven.engine.num_evaluated - before - (num_output - 1)


class TestHistories:
    @pytest.mark.parametrize("kind", [{}, WINDOWS], ids=["states", "windows"])
    def test_an_answer_that_was_edited_costs_itself_and_what_follows(self, kind: dict[str, Any]) -> None:
        driven = driven_of(**kind)
        first = [*SYSTEM, *message(7, 300), *HEAD]
        assert answered(driven, 1, first) == len(first)
        assert answered(driven, 2, [*first, *[8] * 50, *message(9, 20), *HEAD]) <= 50 + 20 + 1 + 2 * len(HEAD)

    def test_the_same_prompt_again_costs_the_head_of_the_answer(self) -> None:
        driven = driven_of()
        answered(driven, 1, [*SYSTEM, *message(7, 300), *HEAD])
        assert answered(driven, 2, [*SYSTEM, *message(7, 300), *HEAD]) == len(HEAD)

    def test_another_conversation_begins_behind_the_system_prompt(self) -> None:
        driven = driven_of()
        answered(driven, 1, [*SYSTEM, *message(7, 300), *HEAD])
        assert answered(driven, 2, [*SYSTEM, *message(8, 300), *HEAD]) == 301 + len(HEAD)

    def test_where_two_have_parted_without_a_border_the_third_begins(self) -> None:
        driven = driven_of(border_ids=frozenset())
        answered(driven, 1, [*SYSTEM, *[7] * 300])
        answered(driven, 2, [*SYSTEM, *[8] * 300])
        assert answered(driven, 3, [*SYSTEM, *[9] * 300]) == 300

    def test_a_message_of_the_middle_begins_near_it(self) -> None:
        driven = driven_of()
        prompt = list(SYSTEM)
        for turn in range(10):
            prompt += [*message(20 + turn, 200), *HEAD]
            answered(driven, turn, prompt)
            prompt += [40 + turn] * 100
        edited = [*prompt[: 1000 + 5 * 303], *message(77, 200), *HEAD]
        assert answered(driven, 50, edited) <= 201 + len(HEAD) + GAP_TOKENS

    def test_a_turn_takes_the_place_of_the_one_before(self) -> None:
        driven = driven_of()
        prompt = [*SYSTEM, *message(7, 300), *HEAD]
        for turn in range(5):
            answered(driven, turn, prompt)
            prompt = [*driven.done[turn].token_ids, *message(30 + turn, 100), *HEAD]
        assert driven.batcher.retired_ids == [4]
        assert len(driven.batcher.checkpoints.book) >= 10, "all that they had"

    def test_a_prefill_that_was_given_up_leaves_its_checkpoints(self) -> None:
        driven = driven_of()
        driven.add(sequence_of(1, [*SYSTEM, *message(7, 3000), *HEAD], 4))
        for _ in range(5):
            driven.step()
        driven.end(1)
        assert answered(driven, 2, [*SYSTEM, *message(8, 300), *HEAD]) == 301 + len(HEAD)

    def test_what_is_made_and_begun_with_is_counted(self) -> None:
        driven = driven_of(checkpoint_bytes=2 * CHECKPOINT_BYTES)
        answered(driven, 1, [*SYSTEM, *message(7, 600), *HEAD])
        answered(driven, 2, [*SYSTEM, *message(7, 600), *HEAD])
        counts, book = driven.batcher.counts, driven.batcher.checkpoints.book
        assert counts.num_checkpoints_made - counts.num_checkpoints_dropped == len(book) == 2
        assert counts.num_checkpoint_forks == counts.num_forks == 1


class TestBursts:
    @pytest.mark.parametrize("kind", [{}, WINDOWS], ids=["states", "windows"])
    def test_a_common_beginning_is_computed_once(self, kind: dict[str, Any]) -> None:
        driven = driven_of(**kind)
        for i in range(4):
            driven.add(sequence_of(i, [*SYSTEM, *message(10 + i, 100), *HEAD], 4))
        driven.run()
        assert driven.engine.num_evaluated <= len(SYSTEM) + 4 * (101 + len(HEAD) + 4 + 2)

    def test_choices_of_a_prompt_share_it(self) -> None:
        driven = driven_of()
        for i in range(4):
            driven.add(sequence_of(i, [*SYSTEM, *message(7, 100), *HEAD], 4))
        driven.run()
        assert driven.engine.num_evaluated <= len(SYSTEM) + 101 + 4 * (len(HEAD) + 4)

    def test_nobody_waits_for_a_place_that_has_been_passed(self) -> None:
        """The engine may have gone over it, or have had no memory for it."""
        driven = driven_of(checkpoint_bytes=1)
        driven.add(sequence_of(1, [*SYSTEM, *message(7, 3000), *HEAD], 500))
        for _ in range(12):
            driven.step()
        assert not driven.batcher.checkpoints.book.places(1)
        second = driven.add(sequence_of(2, [*SYSTEM, *message(8, 30), *HEAD], 4))
        driven.step()
        assert second.num_computed > 0


class TestBudget:
    def test_the_bytes_are_kept_and_the_last_place_stays(self) -> None:
        driven = driven_of(checkpoint_bytes=3 * CHECKPOINT_BYTES)
        answered(driven, 1, [*SYSTEM, *[token for turn in range(9) for token in message(20 + turn, 700)], *HEAD])
        book = driven.batcher.checkpoints.book
        assert 1 <= len(book) <= 3
        assert book.places(1)[-1] == len(SYSTEM) + 9 * 701

    def test_states_that_are_too_large_are_tried_once(self) -> None:
        driven = driven_of(checkpoint_bytes=CHECKPOINT_BYTES - 1)
        answered(driven, 1, [*SYSTEM, *message(7, 3000), *HEAD])
        assert not driven.batcher.checkpoints.is_wanted(driven.done[1])
        assert len(driven.batcher.checkpoints.book) == 0

    def test_without_a_budget_none_are_planned(self) -> None:
        driven = driven_of(checkpoint_bytes=0)
        sequence = driven.add(sequence_of(1, [*SYSTEM, *message(7, 3000), *HEAD], 4))
        driven.run()
        assert sequence.checkpoint_places == ()

    def test_caches_that_can_be_cut_need_none(self) -> None:
        driven = driven_of(can_cut_cache=True, num_cuttable_tokens=None)
        sequence = driven.add(sequence_of(1, [*SYSTEM, *message(7, 3000), *HEAD], 4))
        driven.run()
        assert sequence.checkpoint_places == ()

    def test_the_oldest_conversation_loses_its_own_first(self) -> None:
        driven = driven_of(checkpoint_bytes=6 * CHECKPOINT_BYTES)
        for i in (1, 2, 3):
            answered(driven, i, [BORDER, *[90 + i] * 999, *message(10 + i, 600), *HEAD])
        places = driven.batcher.checkpoints.book.places
        assert len(places(1)) <= len(places(2)) <= len(places(3))


def test_live_sequences_are_no_more_than_have_slots() -> None:
    driven = driven_of(num_slots=8, num_live=4)
    for i in range(12):
        driven.add(sequence_of(i, [*[100 + i] * 300, *HEAD], 4))
    driven.run()
    assert len(driven.done) == 12
    assert len(driven.batcher.retired_ids) == 8, "with nobody live"
