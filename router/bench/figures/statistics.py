"""Medians, percentiles, ratios and how sure they are. Pure arithmetic: the same values and seed give the same result.

The intervals are percentile bootstrap intervals of the median on the logarithmic scale, widened for small samples. Of
five values a plain percentile bootstrap holds less than it promises, because it never reaches past what was seen; so
its distance from the middle is multiplied by Student's quantile over the normal one, and by sqrt(n / (n - 2)). From
about 30 values on the factor is nearly 1. docs/bench-statistics.md has what this holds, measured.

Source: T. Hesterberg, What Teachers Should Know About the Bootstrap (2015): the expanded percentile interval has both
factors. Its second one is sqrt(n / (n - 1)); the larger one here pays for runs that stop once their interval is narrow.

Not here: which figures are computed from which samples (`summary.py`).
"""

import math
import random
from collections.abc import Sequence
from statistics import NormalDist, median
from typing import Final, Literal

import msgspec

NUM_RESAMPLES: Final = 2000
"""Draws of the bootstrap; the ends of an interval move by about a hundredth of its width with the seed."""

MIN_VALUES: Final = 3
"""Fewer values have no interval: nothing can be said about how far they scatter."""

Verdict = Literal["faster", "slower", "no difference"]


class Interval(msgspec.Struct, frozen=True):
    """A figure and how sure it is."""

    low: float
    mid: float
    high: float

    def holds(self, value: float) -> bool:
        """Tell whether a value is in it, the ends included."""
        return self.low <= value <= self.high

    def inverted(self) -> "Interval":
        """Return that of one over the figure, e.g. of a time as a rate."""
        return Interval(1 / self.high, 1 / self.mid, 1 / self.low)


def percentile(values: Sequence[float], share: float) -> float | None:
    """Give a percentile by linear interpolation between the two nearest values.

    Source: R. Hyndman and Y. Fan, Sample Quantiles in Statistical Packages (1996), definition 7.

    Args:
        values: In any order.
        share: 0 to 1, e.g. 0.95.

    Returns:
        The percentile, or None when there are no values.
    """
    if not values:
        return None
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def median_interval(values: Sequence[float], *, seed: int, level: float = 0.95) -> Interval | None:
    """Give the median of independent values, and an interval for the median of where they come from.

    Args:
        values: At least three, all above 0.
        level: How often the interval is to hold the truth, 0 to 1.

    Returns:
        The interval; None for fewer than three values, or one that is not above 0.
    """
    if len(values) < MIN_VALUES or min(values) <= 0:
        return None
    logs = [math.log(value) for value in values]
    rng = random.Random(seed)  # noqa: S311 - statistics, no secrets
    medians = [_quick_median(rng.choices(logs, k=len(logs))) for _ in range(NUM_RESAMPLES)]
    num = len(logs)
    factor = _student_over_normal(num - 1, level) * math.sqrt(num / (num - 2))
    return _interval(median(logs), medians, factor, level)


def share_interval(num: int, of: int, *, level: float = 0.95) -> Interval | None:
    """Give a share, and Wilson's interval for it.

    Returns:
        0 to 1; None where there is nothing that it is a share of.

    Source: E. B. Wilson, Probable Inference, the Law of Succession, and Statistical Inference (1927).
    """
    if not of:
        return None
    share, z = num / of, NormalDist().inv_cdf((1 + level) / 2)
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    return Interval(max(0.0, min(share, middle - half)), share, min(1.0, max(share, middle + half)))


def ratio_interval(
    a: Sequence[float], b: Sequence[float], *, seed: int, level: float = 0.95, is_paired: bool = True
) -> Interval | None:
    """Give how many times `a` `b` is, and an interval for it.

    Args:
        a: Figures of the first, at least three, all above 0.
        b: Figures of the second, likewise.
        level: How often the interval is to hold the truth, 0 to 1.
        is_paired: Whether `a[i]` and `b[i]` were measured side by side, as in one round. The median of the ratios
            within the pairs is taken then, in which a machine that gets slower cancels out; else the ratio of the
            medians.

    Returns:
        The interval; None for fewer than three values, or one that is not above 0.

    Raises:
        ValueError: Pairs were asked for, and there are not as many of both.
    """
    if is_paired:
        if len(a) != len(b):
            raise ValueError(f"{len(a)} and {len(b)} values are no pairs")
        if any(value <= 0 for value in (*a, *b)):
            return None
        return median_interval([second / first for first, second in zip(a, b, strict=True)], seed=seed, level=level)
    if min(len(a), len(b)) < MIN_VALUES or min(*a, *b) <= 0:
        return None
    first = [math.log(value) for value in a]
    second = [math.log(value) for value in b]
    rng = random.Random(seed)  # noqa: S311 - statistics, no secrets
    differences = [
        _quick_median(rng.choices(second, k=len(second))) - _quick_median(rng.choices(first, k=len(first)))
        for _ in range(NUM_RESAMPLES)
    ]
    factor = _student_over_normal(len(a) + len(b) - 2, level)
    return _interval(median(second) - median(first), differences, factor, level)


def verdict(ratio: Interval | None, *, is_higher_better: bool) -> Verdict | None:
    """Say what a ratio means for the one above its line.

    Args:
        ratio: Of a figure, second over first.

    Returns:
        What the second is; `no difference` when the interval holds 1, None without an interval.
    """
    if ratio is None:
        return None
    if ratio.holds(1.0):
        return "no difference"
    return "faster" if (ratio.low > 1.0) == is_higher_better else "slower"


def _interval(middle: float, draws: list[float], factor: float, level: float) -> Interval:
    """Take the percentiles of the draws, move them away from the middle, and leave the logarithmic scale."""
    low = percentile(draws, (1 - level) / 2)
    high = percentile(draws, (1 + level) / 2)
    assert low is not None
    assert high is not None
    # The draws may all lie on one side of the middle when values are tied.
    below = factor * min(0.0, low - middle)
    above = factor * max(0.0, high - middle)
    return Interval(math.exp(middle + below), math.exp(middle), math.exp(middle + above))


def _quick_median(values: list[float]) -> float:
    values.sort()
    half = len(values) // 2
    return values[half] if len(values) % 2 else (values[half - 1] + values[half]) / 2


def _student_over_normal(num_degrees: int, level: float) -> float:
    return student_quantile((1 + level) / 2, num_degrees) / NormalDist().inv_cdf((1 + level) / 2)


def student_quantile(share: float, num_degrees: int) -> float:
    """Give a quantile of Student's t distribution.

    Args:
        share: Above 0.5 and below 1, e.g. 0.975.
        num_degrees: Degrees of freedom, at least 1.
    """
    low, high = 0.0, 1.0
    while _student_share(high, num_degrees) < share:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        if _student_share(middle, num_degrees) < share:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _student_share(t: float, num_degrees: int) -> float:
    """Give the share of Student's distribution below `t` >= 0.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 (odd degrees) and 26.7.4 (even ones).
    """
    angle = math.atan(t / math.sqrt(num_degrees))
    cos_squared = math.cos(angle) ** 2
    is_odd = num_degrees % 2 == 1
    term = math.cos(angle) if is_odd else 1.0
    total = 0.0
    for k in range(1 if is_odd else 0, num_degrees - 1, 2):
        total += term
        term *= cos_squared * (k + 1) / (k + 2)
    inside = math.sin(angle) * total
    return 0.5 + ((angle + inside) / math.pi if is_odd else inside / 2)
