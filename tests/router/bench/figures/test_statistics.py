"""The intervals hold what they promise, measured on seeded noise that is worse than a quiet machine's."""

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.bench.figures.statistics import (
    Interval,
    median_interval,
    percentile,
    ratio_interval,
    student_quantile,
    verdict,
)

NUM_RUNS = 100
Noise = Callable[[random.Random], float]


def bell(rng: random.Random) -> float:
    return rng.gauss(0, 0.05)


def heavy_tails(rng: random.Random) -> float:
    """Student's t with 3 degrees of freedom."""
    return 0.05 * rng.gauss(0, 1) / math.sqrt(sum(rng.gauss(0, 1) ** 2 for _ in range(3)) / 3)


def hiccups(rng: random.Random) -> float:
    """Mostly quiet; every seventh value is slower by half and more."""
    return rng.gauss(0, 0.02) + (rng.expovariate(2) if rng.random() < 0.15 else 0)


def one_sided(rng: random.Random) -> float:
    return rng.expovariate(10)


NOISES = [bell, heavy_tails, hiccups, one_sided]


def runs(noise: Noise, ratio: float, *, drift: float = 0.1) -> list[tuple[list[float], list[float]]]:
    """Give the figures of A and B in five rounds that share the machine's drift."""
    found = []
    for seed in range(NUM_RUNS):
        rng = random.Random(seed)
        shared = [rng.gauss(0, drift) for _ in range(5)]
        a = [100 * math.exp(noise(rng) + common) for common in shared]
        b = [100 * ratio * math.exp(noise(rng) + common) for common in shared]
        found.append((a, b))
    return found


@pytest.mark.parametrize("is_paired", [True, False])
@pytest.mark.parametrize("ratio", [1.3])
@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.slow
def test_five_rounds_hold_a_known_ratio_at_least_93_times_of_100(
    noise: Noise, ratio: float, *, is_paired: bool
) -> None:
    measured = runs(noise, ratio, drift=0.1 if is_paired else 0.0)
    intervals = [ratio_interval(a, b, seed=seed, is_paired=is_paired) for seed, (a, b) in enumerate(measured)]
    held = sum(interval is not None and interval.holds(ratio) for interval in intervals)
    assert held >= 93


@pytest.mark.parametrize("noise", NOISES)
def test_equal_contestants_are_called_different_at_most_7_times_of_100(noise: Noise) -> None:
    verdicts = [
        verdict(ratio_interval(a, b, seed=seed), is_higher_better=False) for seed, (a, b) in enumerate(runs(noise, 1.0))
    ]
    assert sum(word != "no difference" for word in verdicts) <= 7


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.slow
def test_a_run_that_stops_when_its_interval_is_narrow_holds_the_ratio_as_often(noise: Noise) -> None:
    held = 0
    for seed, (a, b) in enumerate(runs(lambda rng: noise(rng) / 10, 1.3)):
        interval = None
        for num_rounds in (3, 4, 5):
            interval = ratio_interval(a[:num_rounds], b[:num_rounds], seed=seed)
            assert interval is not None
            if (interval.high - interval.low) / interval.mid <= 0.05:
                break
        held += interval is not None and interval.holds(1.3)
    assert held >= 93


@pytest.mark.parametrize("noise", [bell, heavy_tails, one_sided])
@pytest.mark.slow
def test_a_ratio_of_two_is_found_in_five_rounds(noise: Noise) -> None:
    verdicts = [
        verdict(ratio_interval(a, b, seed=seed), is_higher_better=True) for seed, (a, b) in enumerate(runs(noise, 2.0))
    ]
    assert "slower" not in verdicts
    assert verdicts.count("faster") >= 90


@pytest.mark.slow
def test_drift_that_both_share_does_not_blur_the_ratio() -> None:
    def width(drift: float) -> float:
        intervals = [ratio_interval(a, b, seed=1) for a, b in runs(bell, 1.2, drift=drift)]
        return sum(interval.high - interval.low for interval in intervals if interval is not None) / NUM_RUNS

    assert width(1.0) == pytest.approx(width(0.0), rel=0.3)


def test_the_median_of_five_values_is_held_at_least_93_times_of_100() -> None:
    held = 0
    for seed in range(NUM_RUNS):
        rng = random.Random(seed)
        interval = median_interval([100 * math.exp(heavy_tails(rng)) for _ in range(5)], seed=seed)
        held += interval is not None and interval.holds(100)
    assert held >= 93


def test_the_same_values_and_seed_give_the_same_interval() -> None:
    values = [3.0, 1.0, 2.0, 5.0, 4.0]
    assert median_interval(values, seed=4) == median_interval(values, seed=4)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.001, 1e6), min_size=3, max_size=12), st.integers(0, 5))
def test_an_interval_holds_its_own_median(values: list[float], seed: int) -> None:
    interval = median_interval(values, seed=seed)
    assert interval is not None
    assert interval.low <= interval.mid <= interval.high


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)), min_size=3, max_size=8))
def test_swapping_the_two_turns_the_ratio_around(pairs: list[tuple[float, float]]) -> None:
    a, b = [first for first, _ in pairs], [second for _, second in pairs]
    there, back = ratio_interval(a, b, seed=0), ratio_interval(b, a, seed=0)
    assert there is not None
    assert back is not None
    assert there.mid == pytest.approx(1 / back.mid)


@pytest.mark.parametrize(("values"), [[], [1.0], [1.0, 2.0], [1.0, 2.0, 0.0], [1.0, 2.0, -1.0]])
def test_too_few_values_and_values_that_are_not_above_zero_have_no_interval(values: list[float]) -> None:
    assert median_interval(values, seed=0) is None
    assert ratio_interval(values, values, seed=0) is None
    assert ratio_interval(values, values, seed=0, is_paired=False) is None


def test_rounds_that_do_not_match_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="3 and 4 values"):
        ratio_interval([1, 2, 3], [1, 2, 3, 4], seed=0)


@pytest.mark.parametrize(
    ("ratio", "is_higher_better", "word"),
    [
        (Interval(1.1, 1.2, 1.3), True, "faster"),
        (Interval(1.1, 1.2, 1.3), False, "slower"),
        (Interval(0.7, 0.8, 0.9), True, "slower"),
        (Interval(0.7, 0.8, 0.9), False, "faster"),
        (Interval(1.0, 1.2, 1.3), True, "no difference"),
        (Interval(0.7, 0.8, 1.0), True, "no difference"),
        (None, True, None),
    ],
)
def test_a_verdict_needs_an_interval_without_one(
    ratio: Interval | None, word: str | None, *, is_higher_better: bool
) -> None:
    assert verdict(ratio, is_higher_better=is_higher_better) == word


def test_percentiles_lie_between_the_nearest_values() -> None:
    assert percentile([4, 1, 3, 2], 0.5) == 2.5
    assert percentile([1, 2, 3, 4, 5], 0.95) == pytest.approx(4.8)
    assert percentile([7.0], 0.99) == 7.0
    assert percentile([], 0.5) is None


@pytest.mark.parametrize(
    ("num_degrees", "quantile"), [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (9, 2.2622), (30, 2.0423)]
)
def test_students_quantiles_are_those_of_the_tables(num_degrees: int, quantile: float) -> None:
    assert student_quantile(0.975, num_degrees) == pytest.approx(quantile, abs=1e-4)
