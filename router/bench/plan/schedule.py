"""When what is measured: turns, rounds, and what the time box still allows. Pure.

Models are resident one at a time, so another contestant's turn costs a load. A **cycle** gives each contestant one
block, in the order A B, then B A, so that two blocks of one contestant follow each other at the seam of two cycles and
need no load, and a machine that gets slower is no contestant's disadvantage. A block is one or more **rounds** of all
scenarios that are still open.
"""

import math
from collections.abc import Iterable
from typing import Final

import msgspec

MIN_ROUNDS: Final = 3
"""Fewer give no interval."""

TIGHT_SHARE: Final = 0.05
"""An interval that is narrower than this share of the ratio is tight."""

LOAD_SHARE: Final = 0.33
"""Loads may cost this share of the measured time before blocks get more rounds."""

FIRST_BLOCK_SHARE: Final = 0.45
"""Of the time box, for the first round; what does not begin in it is left out, so that the rest is measured often."""

SAFETY: Final = 1.15
"""What is expected to take a time may take so much longer."""


class ScenarioState(msgspec.Struct, frozen=True, kw_only=True):
    """How far a scenario is.

    Attributes:
        cost_s: What one round takes of all contestants together.
    """

    name: str
    num_rounds: int
    cost_s: float
    is_settled: bool = False


def turns_of(cycle: int, num_contestants: int) -> tuple[int, ...]:
    """Return in which order the contestants have their blocks.

    Args:
        cycle: Its number, from 0.
        num_contestants: At least 1.
    """
    forwards = tuple(range(num_contestants))
    return forwards if cycle % 2 == 0 else forwards[::-1]


def num_rounds_of_cycle(*, round_s: float, loads_s: float, num_left: int) -> int:
    """Return how many rounds a block gets, so that loads do not eat the time.

    Args:
        round_s: One round of all contestants, all scenarios.
        num_left: Rounds that are still wanted, at least 1.
    """
    if round_s <= 0:
        return 1
    return max(1, min(num_left, math.ceil(loads_s / (LOAD_SHARE * round_s))))


def open_scenarios(
    states: Iterable[ScenarioState], *, repeats: int, remaining_s: float, loads_s: float
) -> tuple[str, ...]:
    """Return which scenarios the next cycle measures: those that need it most and that the time allows.

    Args:
        states: All scenarios, in their order.

    Returns:
        Names, in their order; () = it is over.
    """
    states = tuple(states)
    wanted = [state for state in states if state.num_rounds < repeats and not state.is_settled]
    wanted.sort(key=lambda state: (max(state.num_rounds, MIN_ROUNDS - 1), state.num_rounds, state.cost_s))
    left_s = remaining_s / SAFETY - loads_s
    chosen: set[str] = set()
    for state in wanted:
        if state.cost_s <= left_s:
            chosen.add(state.name)
            left_s -= state.cost_s
    return tuple(state.name for state in states if state.name in chosen)


def first_block_s(box_s: float, num_contestants: int) -> float:
    """Return how long one contestant's first block may go on beginning scenarios.

    Args:
        num_contestants: At least 1.
    """
    return FIRST_BLOCK_SHARE * box_s / num_contestants


def is_tight(low: float, mid: float, high: float) -> bool:
    """Tell whether an interval of a ratio needs no more rounds."""
    return mid > 0 and (high - low) / mid <= TIGHT_SHARE
