"""From figures to places on a drawing: linear and logarithmic axes with readable marks. Pure."""

import math
from typing import Final, NamedTuple

_STEPS: Final = (1.0, 2.0, 5.0, 10.0)

_RATIOS: Final = (
    0.01, 0.02, 0.05, 0.1, 0.2, 0.33, 0.5, 0.67, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0,
)  # fmt: skip
"""Marks of a ratio's axis; those below 1 are those above it turned around."""

MIN_REACH: Final = 1.25
"""A ratio's axis reaches at least from 1/1.25 to 1.25, so that small differences look small."""


class LinearAxis(NamedTuple):
    """From 0 to somewhat beyond the largest figure.

    Attributes:
        end: Figure at the right end, above 0.
        left: Where 0 is.
    """

    end: float
    left: float
    right: float

    def place(self, value: float) -> float:
        """Give the place of a figure; beyond the ends it is the end."""
        return self.left + (self.right - self.left) * min(max(value / self.end, 0.0), 1.0)

    def marks(self) -> list[float]:
        """List three to six round figures, 0 first."""
        raw = self.end / 5
        scale = 10.0 ** math.floor(math.log10(raw))
        step = next(factor * scale for factor in _STEPS if factor * scale >= raw * 0.999)
        return [step * number for number in range(int(self.end / step * 1.001) + 1)]


class RatioAxis(NamedTuple):
    """Logarithmic, 1 in the middle.

    Attributes:
        reach: Ratio at the right end, above 1.
        left: Where 1/reach is.
    """

    reach: float
    left: float
    right: float

    def place(self, ratio: float) -> float:
        """Give the place of a ratio; beyond the ends it is the end."""
        share = 0.5 + math.log(ratio) / math.log(self.reach) / 2
        return self.left + (self.right - self.left) * min(max(share, 0.0), 1.0)

    def marks(self) -> list[float]:
        """List the round ratios that have room: no two nearer than a tenth of the axis."""
        found: list[float] = []
        inside = [ratio for ratio in _RATIOS if 1 / self.reach <= ratio <= self.reach]
        for ratio in sorted(inside, key=lambda ratio: (ratio != 1.0, -abs(math.log(ratio)))):
            if all(abs(self.place(ratio) - self.place(other)) > 0.1 * (self.right - self.left) for other in found):
                found.append(ratio)
        return sorted(found)


def reach_of(ratios: list[float]) -> float:
    """Give the reach that holds all ratios."""
    far = max((abs(math.log(ratio)) for ratio in ratios), default=0.0)
    return max(MIN_REACH, math.exp(far * 1.08))
