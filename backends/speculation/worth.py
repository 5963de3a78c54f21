"""How long the drafts of a step may be, so that they pay: pure arithmetic over observed steps. No clock in here.

A draft of k tokens, of which each is right with probability a, draws 1 + a + ... + a^k tokens in the mean, in a step of
k more rows. What rows cost differs by machine, model and quantization from a few percent of a step to nearly all of
it, so it is measured, in time of the processors: by the last steps of as many rows and threads, of which the slow ones
do not count.

What drafts may lose is bounded by accounts, one of each sequence that is in the steps, with a draft or without, and one
of all of them. Into these each step without drafts pays a small share of itself, and one with drafts what it gained, or
takes what it lost. A draft is made where no account would be overdrawn if all of it were wrong. Accounts, costs and
gains are in steps without drafts.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

SIZES: Final = (4, 8, 16)
"""Rows of a step with drafts. Kernels take rows by fours; few sizes are known sooner."""
MARGIN: Final = 1.1
"""Drafts must be expected to bring so many times what a step without them does."""
SHARE: Final = 0.02
"""What may be lost by drafts where they never pay, as a share of all steps."""
FIRST_CREDIT: Final = 2.0
"""What may be lost beyond that share, by each sequence."""
MAX_CREDIT: Final = 12.0
PLAIN_INTERVAL: Final = 64
"""After so many steps with drafts, fewer as long as few went without, one does: a machine that became slower must not
look as if drafts had."""
MAX_AGE: Final = 512
"""Costs not seen for so many steps are taken as unknown."""
_LEAST_S: Final = 1e-9
_NUM_SAMPLES: Final = 9
_ROW_COST: Final = 0.75
"""What further rows are taken to cost before that is seen, as a share of the rows before them."""
_NUM_SURE: Final = 3
"""Fewer may all have been hiccups of the machine, so that it is tried again."""


class Offer(NamedTuple):
    """A sequence of a step, and the draft that it may have.

    Attributes:
        num_tokens: Its longest, >= 0.
        acceptance: How likely each of its tokens is right where the ones before it are, 0..1.
        credit: What the sequence may lose.
    """

    num_tokens: int
    acceptance: float
    credit: float = FIRST_CREDIT


class DraftWorth:
    """Learns from the steps of one engine with one model.

    Attributes:
        credit: What all sequences together may lose.
    """

    def __init__(self) -> None:
        self._times_s: dict[tuple[int | None, int], deque[float]] = {}
        self._seen_at: dict[tuple[int | None, int], int] = {}
        self._num_steps = 0
        self._num_since_plain = 0
        self._num_threads: int | None = None
        self.credit = MAX_CREDIT

    def observe(
        self, num_sequences: int, num_drafted: int, num_tokens: int, cpu_s: float, num_threads: int | None = None
    ) -> float:
        """Learn from a step in which all sequences decoded.

        Args:
            num_sequences: >= 1.
            num_drafted: Tokens of all drafts, >= 0.
            num_tokens: What was drawn, with the first of each sequence.
            cpu_s: What the step took of the processors.
            num_threads: That computed it, where that is known.

        Returns:
            What a step with so many drafts costs, 1 without any.
        """
        self._num_steps += 1
        self._num_threads = num_threads
        num_rows = _size(num_sequences + num_drafted) if num_drafted else num_sequences
        self._times_s.setdefault((num_threads, num_rows), deque(maxlen=_NUM_SAMPLES)).append(max(cpu_s, _LEAST_S))
        self._seen_at[num_threads, num_rows] = self._num_steps
        if not num_drafted:
            self._num_since_plain = 0
            self.credit = credited(self.credit, SHARE)
            return 1.0
        self._num_since_plain += 1
        in_proportion = num_rows / num_sequences
        cost = min(self._cost(num_rows, num_sequences) or in_proportion, in_proportion)
        self.credit = credited(self.credit, num_tokens / num_sequences - cost)
        return cost

    def lengths(self, offers: Sequence[Offer], max_rows: int) -> list[int]:
        """Return how long each draft is to be, 0 for none.

        Args:
            offers: Of all sequences of the step, at least one.
            max_rows: The most that the step may have, with one for each sequence.
        """
        num = len(offers)
        best, best_gain = [0] * num, MARGIN
        num_plain = len(self._fresh(num))
        is_due = self._num_since_plain * _NUM_SAMPLES >= PLAIN_INTERVAL * num_plain
        if is_due or num_plain < _NUM_SURE:
            return best
        most_cost = 1 + min(self.credit, *(offer.credit for offer in offers))
        known, known_cost = num, 1.0
        for size in SIZES:
            lengths, expected = _shared_out(offers, min(size, max_rows) - num)
            if size <= num or sum(lengths) <= sum(best):
                continue
            gain, cost, times_s = expected / num, self._cost(size, num), self._fresh(size)
            if cost is not None and len(times_s) >= _NUM_SURE:
                known, known_cost = size, cost
                if gain / cost >= best_gain and cost <= most_cost:
                    best, best_gain = lengths, gain / cost
                continue
            # A try: it costs what it did the last time, or about that.
            least = known_cost if cost is None else cost * min(times_s) / _usual(times_s)
            most = known_cost * (1 + _ROW_COST * (size - known) / known) if cost is None else least
            if gain / least >= best_gain and most <= most_cost:
                return lengths
        return best

    def _cost(self, num_rows: int, num_sequences: int) -> float | None:
        """Return what a step of so many rows takes, in steps without drafts; None = that is not known."""
        times_s, plain_s = self._fresh(num_rows), self._fresh(num_sequences)
        return max(1.0, _usual(times_s) / _usual(plain_s)) if times_s and plain_s else None

    def _fresh(self, num_rows: int) -> Sequence[float]:
        """Return what the last steps of so many rows took, where that is not too long ago."""
        key = self._num_threads, num_rows
        if self._num_steps - self._seen_at.get(key, -MAX_AGE) >= MAX_AGE:
            self._times_s.pop(key, None)
        return self._times_s.get(key, ())


def credited(credit: float, gain: float) -> float:
    """Return what an account comes to by a gain, or a loss."""
    return min(MAX_CREDIT, credit + gain)


def _usual(times_s: Sequence[float]) -> float:
    """Return one of the shortest: what disturbs a step makes it longer, and on a busy machine those are many."""
    return sorted(times_s)[len(times_s) // 5]


def _size(num_rows: int) -> int:
    """Return the size that a step with drafts counts as."""
    return next((size for size in SIZES if num_rows <= size), num_rows)


def _shared_out(offers: Sequence[Offer], num_rows: int) -> tuple[list[int], float]:
    """Give rows to those drafts first whose next token is likeliest; return the lengths and the tokens to expect."""
    lengths = [0] * len(offers)
    chances = [offer.acceptance for offer in offers]
    expected = float(len(offers))
    for _ in range(num_rows):
        open_ones = [index for index, offer in enumerate(offers) if lengths[index] < offer.num_tokens]
        if not open_ones:
            break
        index = max(open_ones, key=chances.__getitem__)
        lengths[index] += 1
        expected += chances[index]
        chances[index] *= offers[index].acceptance
    return lengths, expected
