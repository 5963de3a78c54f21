"""What a second model's drafts take of the processors, by how many rounds they need and how much is missing before.

Pure arithmetic over observed drafts. Of the last rounds one of the shortest counts, as of steps in `worth`; of what is
missing the median, because a text may be long and dear.
"""

import statistics
from collections import deque
from typing import Final

from backends.speculation.drafter import Drafts

_NUM_SAMPLES: Final = 9
_MANY_ROWS: Final = 16
"""Rows that were missing, from which on they tell what one costs; fewer drown in their round."""
_FEW_ROWS: Final = 3
"""Rows of a sequence that are missing as a rule: what was drawn last, and where a draft was right the token before."""
_NUM_SURE: Final = 3
"""Fewer rounds may have been slow ones: the cheaper of what they took and what was expected counts."""
MAX_AGE: Final = 512
"""What was not seen for so many steps is taken as unknown."""
_ROW_SHARE: Final = 0.5
"""What a row among many is taken to cost before that is seen, as a share of a round."""

_Key = tuple[int | None, int]
"""Threads and sequences."""


class DraftingCost:
    """Learns from the drafts of one drafter.

    Args:
        share: What a round is taken to cost before one was seen, as a share of the main model's step.
    """

    def __init__(self, share: float) -> None:
        self._share = share
        self._rounds_s: dict[_Key, deque[float]] = {}
        self._rows_s: deque[float] = deque(maxlen=_NUM_SAMPLES)
        self._num_idle_steps = 0

    def observe(self, num_sequences: int, drafts: Drafts, num_threads: int | None) -> None:
        """Learn from drafts that took at least one round."""
        key = num_threads, num_sequences
        known = self._rounds_s.get(key)
        num_missing = drafts.num_rows - drafts.num_rounds * num_sequences
        self._num_idle_steps = 0
        if num_missing <= _FEW_ROWS * num_sequences:
            self._rounds_s.setdefault(key, deque(maxlen=_NUM_SAMPLES)).append(drafts.cpu_s / drafts.num_rounds)
        rows_s = drafts.cpu_s - drafts.num_rounds * _usual(known) if known else 0.0
        if num_missing >= _MANY_ROWS and rows_s > drafts.cpu_s / 2:  # less is not told from the rounds
            self._rows_s.append(rows_s / num_missing)

    def on_idle_steps(self, num_steps: int) -> None:
        """Forget what is old after steps in which nothing was drafted."""
        self._num_idle_steps += num_steps
        if self._num_idle_steps >= MAX_AGE:
            self._rounds_s.clear()
            self._num_idle_steps = 0

    def of_rounds(self, num_rounds: int, num_sequences: int, num_threads: int | None, step_s: float | None) -> float:
        """Return what so many rounds cost, in steps of the main model without drafts.

        Args:
            step_s: What such a step takes; None = that is not known.
        """
        known = self._rounds_s.get((num_threads, num_sequences))
        if not known or not step_s:
            return num_rounds * self._share
        seen = _usual(known) / step_s
        return num_rounds * (seen if len(known) >= _NUM_SURE else min(seen, self._share))

    def of_row(self, step_s: float | None) -> float:
        """Return what a token costs that is missing before a draft, in steps of the main model without drafts."""
        return statistics.median(self._rows_s) / step_s if self._rows_s and step_s else self._share * _ROW_SHARE


def _usual(times_s: deque[float]) -> float:
    return sorted(times_s)[len(times_s) // 5]
