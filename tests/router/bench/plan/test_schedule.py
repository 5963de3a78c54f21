import itertools

from hypothesis import given
from hypothesis import strategies as st

from router.bench.plan.schedule import (
    LOAD_SHARE,
    ScenarioState,
    is_tight,
    num_rounds_of_cycle,
    open_scenarios,
    turns_of,
)


def state(name: str, num_rounds: int, cost_s: float, *, is_settled: bool = False) -> ScenarioState:
    return ScenarioState(name=name, num_rounds=num_rounds, cost_s=cost_s, is_settled=is_settled)


def test_turns_are_a_b_b_a_so_that_one_load_serves_two_blocks() -> None:
    order = [index for cycle in range(4) for index in turns_of(cycle, 2)]
    assert order == [0, 1, 1, 0, 0, 1, 1, 0]
    assert sum(a != b for a, b in itertools.pairwise(order)) == 4
    assert [turns_of(cycle, 3) for cycle in (0, 1)] == [(0, 1, 2), (2, 1, 0)]


def test_slow_loads_get_more_rounds_into_a_block() -> None:
    assert num_rounds_of_cycle(round_s=100, loads_s=5, num_left=4) == 1
    assert num_rounds_of_cycle(round_s=10, loads_s=9, num_left=4) == 3
    assert num_rounds_of_cycle(round_s=1, loads_s=60, num_left=4) == 4
    assert num_rounds_of_cycle(round_s=0, loads_s=60, num_left=4) == 1


@given(st.floats(0.1, 1e3), st.floats(0, 1e3), st.integers(1, 100))
def test_loads_take_no_more_than_their_share_while_rounds_are_left(round_s: float, loads_s: float, left: int) -> None:
    number = num_rounds_of_cycle(round_s=round_s, loads_s=loads_s, num_left=left)
    assert 1 <= number <= left
    assert number == left or loads_s <= LOAD_SHARE * round_s * number * (1 + 1e-9)


def test_what_has_too_few_rounds_for_an_interval_goes_first_then_what_is_cheap() -> None:
    states = [state("rich", 4, 10), state("poor", 1, 40), state("cheap", 3, 5)]
    assert open_scenarios(states, repeats=5, remaining_s=52, loads_s=0) == ("poor", "cheap")
    assert open_scenarios(states, repeats=5, remaining_s=1000, loads_s=0) == ("rich", "poor", "cheap")


def test_nothing_is_begun_that_the_time_does_not_hold() -> None:
    states = [state("a", 1, 10), state("b", 1, 10)]
    assert open_scenarios(states, repeats=5, remaining_s=12, loads_s=0) == ("a",)
    assert open_scenarios(states, repeats=5, remaining_s=12, loads_s=5) == ()
    assert open_scenarios(states, repeats=5, remaining_s=-3, loads_s=0) == ()


def test_what_is_done_or_settled_is_not_measured_again() -> None:
    states = [state("done", 5, 1), state("settled", 3, 1, is_settled=True), state("open", 4, 1)]
    assert open_scenarios(states, repeats=5, remaining_s=100, loads_s=0) == ("open",)


def test_an_interval_is_tight_by_its_width() -> None:
    assert is_tight(0.98, 1.0, 1.02)
    assert not is_tight(0.9, 1.0, 1.1)
    assert is_tight(3.95, 4.0, 4.1)
