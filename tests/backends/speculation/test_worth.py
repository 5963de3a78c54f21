"""How long drafts become on simulated machines and recorded costs, and what is lost by them at most."""

import random
from collections.abc import Callable

import pytest

from backends.speculation.worth import (
    FIRST_CREDIT,
    MAX_AGE,
    MAX_CREDIT,
    PLAIN_INTERVAL,
    SHARE,
    DraftWorth,
    Offer,
    credited,
)

Machine = dict[int, float]
"""What steps take by their rows, as shares of a step of one row."""

# Recorded: one thread, SmolLM2-135M, 300 tokens of context (docs/performance.md).
Q4_1: Machine = {1: 1, 2: 1.83, 4: 3.16, 8: 5.90, 16: 10.9}
Q4_0: Machine = {1: 1, 2: 1.81, 4: 2.35, 8: 4.01, 16: 8.40}
Q8_0: Machine = {1: 1, 2: 1.84, 4: 2.42, 8: 3.90, 16: 6.82}
MEMORY_BOUND: Machine = {1: 1, 2: 1.03, 4: 1.09, 8: 1.21, 16: 1.45}
MACHINES = {"Q4_1": Q4_1, "Q4_0": Q4_0, "Q8_0": Q8_0, "bound by memory": MEMORY_BOUND}

Right = Callable[[int], bool]
"""Whether the token at a place is the one that is looked up."""


def cost_of(machine: Machine, num_rows: int) -> float:
    return machine[next(rows for rows in sorted(machine) if rows >= num_rows)]


def run(
    machine: Machine,
    is_right: Right,
    num_tokens: int,
    *,
    worth: DraftWorth | None = None,
    hiccups: random.Random | None = None,
    offered: Callable[[int], int] = lambda _place: 15,
) -> float:
    """Return what an answer takes, in steps without drafts."""
    worth = worth or DraftWorth()
    place, spent, acceptance, credit = 0, 0.0, 0.8, FIRST_CREDIT
    while place < num_tokens:
        offer = Offer(min(offered(place), num_tokens - place - 1), acceptance, credit)
        (length,) = worth.lengths([offer], 512).tokens
        num_right = 0
        while num_right < length and is_right(place + num_right):
            num_right += 1
        cost = cost_of(machine, 1 + length)
        spent += cost
        seen = cost * (hiccups.choice([1, 1, 1, 5]) if hiccups else 1)
        told = worth.observe(1, length, num_right + 1, seen * 0.007)
        credit = credited(credit, num_right + 1 - told if length else SHARE)
        for at in range(place, place + num_right + 1):
            acceptance += (is_right(at) - acceptance) / 8 if offered(at) else 0
        place += num_right + 1
    return spent


@pytest.mark.slow
@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.8])
@pytest.mark.parametrize("seed", range(2))
def test_what_is_lost_is_bounded_whatever_comes(machine: Machine, share: float, seed: int) -> None:
    rights = [random.Random(f"{seed} {at}").random() < share for at in range(3000)]
    assert run(machine, rights.__getitem__, 3000) <= 3000 * (1 + SHARE) + FIRST_CREDIT
    # On a machine that stumbles over every fourth step, what is seen of it is often wrong.
    assert run(machine, rights.__getitem__, 3000, hiccups=random.Random(seed)) <= 3000 * 1.04


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_nothing_is_lost_where_nothing_is_offered(machine: Machine) -> None:
    assert run(machine, lambda _: False, 500, offered=lambda _: 0) == 500


@pytest.mark.parametrize(("machine", "least"), [(Q4_1, 1.15), (Q4_0, 1.55), (Q8_0, 1.7), (MEMORY_BOUND, 6.0)])
def test_a_copy_is_quicker(machine: Machine, least: float) -> None:
    worth = DraftWorth()
    run(machine, lambda _: True, 300, worth=worth)
    assert 1000 / run(machine, lambda _: True, 1000, worth=worth) > least


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_a_story_in_which_a_guess_is_rarely_right_costs_no_more_than_three_percent(machine: Machine) -> None:
    worth = DraftWorth()
    rights = [random.Random(at).random() < 0.3 for at in range(400)]
    for _ in range(10):
        spent = run(machine, rights.__getitem__, 300, worth=worth, offered=lambda at: 15 if at % 7 == 0 else 0)
        assert spent <= 300 * 1.03


def test_nothing_is_drafted_before_the_cost_of_a_step_is_known() -> None:
    worth = DraftWorth()
    for _ in range(3):
        assert worth.lengths([Offer(15, 1.0, MAX_CREDIT)], 512).tokens == [0]
        worth.observe(1, 0, 1, 0.007)
    assert worth.lengths([Offer(15, 1.0, MAX_CREDIT)], 512).tokens == [3]


def test_a_step_goes_without_now_and_then() -> None:
    worth = DraftWorth()
    for _ in range(9):
        worth.observe(1, 0, 1, 0.007)
    lengths: list[int] = []
    for _ in range(PLAIN_INTERVAL + 1):
        lengths += worth.lengths([Offer(15, 1.0, MAX_CREDIT)], 512).tokens
        worth.observe(1, lengths[-1], lengths[-1] + 1, 0.008)
    assert lengths.count(0) == 1


def test_costs_that_are_old_are_tried_again() -> None:
    worth = DraftWorth()
    for _ in range(5):
        worth.observe(1, 0, 1, 0.007)
    for _ in range(5):
        worth.observe(1, 3, 4, 0.070)
    assert worth.lengths([Offer(15, 1.0, MAX_CREDIT)], 512).tokens == [0]
    for _ in range(MAX_AGE):
        worth.observe(1, 0, 1, 0.007)
    assert worth.lengths([Offer(15, 1.0, MAX_CREDIT)], 512).tokens == [3]


def test_costs_are_those_of_the_threads_that_compute() -> None:
    worth = DraftWorth()
    for _ in range(5):
        worth.observe(1, 0, 1, 0.004, 2)
    assert worth.lengths([Offer(15, 1.0, MAX_CREDIT)], 512).tokens == [3]
    for _ in range(3):
        worth.observe(1, 0, 1, 0.007, 1)
        worth.observe(1, 3, 4, 0.030, 1)
    assert worth.lengths([Offer(15, 0.8, MAX_CREDIT)], 512).tokens == [0]


def test_rows_go_to_the_sequence_whose_draft_is_likelier() -> None:
    worth = DraftWorth()
    for _ in range(5):
        worth.observe(2, 0, 2, 0.007)
        worth.observe(2, 6, 8, 0.008)
        worth.observe(2, 2, 4, 0.0078)
        worth.observe(2, 14, 16, 0.020)
    first, second = worth.lengths([Offer(15, 0.5, MAX_CREDIT), Offer(15, 0.95, MAX_CREDIT)], 512).tokens
    assert first < second
    assert first + second == 6


def test_no_draft_is_longer_than_what_is_offered_or_fits() -> None:
    worth = DraftWorth()
    for _ in range(5):
        for size in (1, 4, 8, 16):
            worth.observe(1, size - 1, size, 0.007)
    assert worth.lengths([Offer(5, 1.0, MAX_CREDIT)], 512).tokens == [5]
    assert worth.lengths([Offer(15, 1.0, MAX_CREDIT)], 3).tokens == [2]
    assert worth.lengths([Offer(15, 1.0, MAX_CREDIT)], 1).tokens == [0]


def test_a_sequence_without_a_draft_is_not_slowed_by_those_of_others() -> None:
    worth = DraftWorth()
    for _ in range(9):
        worth.observe(2, 0, 2, 0.007)
        worth.observe(2, 6, 8, 0.014)
        worth.observe(2, 2, 4, 0.0138)
    assert worth.lengths([Offer(15, 1.0, MAX_CREDIT), Offer(0, 0.0, 0.9)], 8).tokens == [0, 0]
    assert worth.lengths([Offer(15, 1.0, MAX_CREDIT), Offer(0, 0.0, 1.1)], 8).tokens == [6, 0]
