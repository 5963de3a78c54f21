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
from collections.abc import Callable, Iterator, Sequence
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
_SLIGHT: Final = 1e-6
_SURE: Final = 1 - 1e-9
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


class Lengths(NamedTuple):
    """How long drafts are to be.

    Attributes:
        tokens: Of each; 0 for none.
        gain: What is expected of them: tokens by what they cost, 1 without any.
        row_cost: What each of their rows costs.
        is_sure: Whether what they cost was seen often enough.
    """

    tokens: list[int]
    gain: float = 1.0
    row_cost: float = 0.0
    is_sure: bool = False


_Key = tuple[int | None, int]
"""Threads and rows of a step."""


def _for_free(_num_rounds: int) -> float:
    return 0.0


class DraftWorth:
    """Learns from the steps of one engine with one model.

    Attributes:
        credit: What all sequences together may lose.
        num_threads: Of the last step that was seen, where that is known.
    """

    def __init__(self) -> None:
        self._times_s: dict[_Key, deque[float]] = {}
        self._usual_s: dict[_Key, float] = {}
        self._seen_at: dict[_Key, int] = {}
        self._num_steps = 0
        self._num_since_plain = 0
        self.credit = MAX_CREDIT
        self.num_threads: int | None = None

    def observe(
        self,
        num_sequences: int,
        num_drafted: int,
        num_tokens: int,
        cpu_s: float,
        num_threads: int | None = None,
        num_steps: int = 1,
        drafting_s: float = 0.0,
    ) -> float:
        """Learn from a step in which all sequences decoded.

        Args:
            num_sequences: >= 1.
            num_drafted: Tokens of all drafts, >= 0.
            num_tokens: What was drawn, with the first of each sequence.
            cpu_s: What the step took of the processors.
            num_threads: That computed it, where that is known.
            num_steps: For how many alike it stands, >= 1.
            drafting_s: What the drafts took of the processors before it.

        Returns:
            What a step with so many drafts costs, 1 without any.
        """
        self._num_steps += num_steps
        self.num_threads = num_threads
        num_rows = _size(num_sequences + num_drafted) if num_drafted else num_sequences
        self._note((num_threads, num_rows), max(cpu_s, _LEAST_S))
        if not num_drafted:
            self._num_since_plain = 0
            self.credit = credited(self.credit, SHARE * num_steps)
            return 1.0
        self._num_since_plain += 1
        in_proportion = num_rows / num_sequences
        cost = min(self._cost(num_rows, num_sequences) or in_proportion, in_proportion)
        cost += self.in_steps(drafting_s, num_sequences)
        self.credit = credited(self.credit, num_tokens / num_sequences - cost)
        return cost

    def in_steps(self, cpu_s: float, num_sequences: int) -> float:
        """Return what time of the processors is in steps without drafts, 0 where these are not known."""
        step_s = self.step_s(num_sequences)
        return 0.0 if step_s is None else cpu_s / step_s

    def step_s(self, num_sequences: int) -> float | None:
        """Return what a step without drafts takes; None = that is not known."""
        return self._usual_s[self.num_threads, num_sequences] if self._fresh(num_sequences) else None

    def charge(self, cpu_s: float, num_sequences: int) -> float:
        """Take what drafts took that came to nothing; return it in steps."""
        cost = self.in_steps(cpu_s, num_sequences)
        self.credit = credited(self.credit, -cost)
        return cost

    def lengths(self, offers: Sequence[Offer], max_rows: int, drafting: Callable[[int], float] = _for_free) -> Lengths:
        """Return how long each draft is to be.

        Args:
            offers: Of all sequences of the step, at least one.
            max_rows: The most that the step may have, with one for each sequence.
            drafting: What drafts cost that are so many tokens long, the longest of them, before the step.
        """
        num = len(offers)
        best = Lengths([0] * num)
        affordable = self._affordable(num, min(offer.credit for offer in offers), drafting)
        for size, cost, least in self._costs(num):
            if size > affordable:
                break
            tokens, expected = _shared_out(offers, min(size, max_rows) - num)
            if sum(tokens) <= sum(best.tokens):
                break
            drafting_cost, needed = drafting(max(tokens)), max(MARGIN, best.gain)
            gain_at_best = expected / num / (least + drafting_cost)
            row_cost = (cost + drafting_cost - 1) / sum(tokens)
            if least < cost and gain_at_best >= needed:
                return Lengths(tokens, gain_at_best, row_cost)  # a try
            gain = expected / num / (cost + drafting_cost)
            if gain >= needed:
                best = Lengths(tokens, gain, row_cost, is_sure=True)
        return best

    def _affordable(self, num_sequences: int, credit: float, drafting: Callable[[int], float]) -> int:
        """Return the most rows that a step may have with drafts that turn out wrong; 0 = it is to have none.

        Args:
            credit: The least of its sequences.
        """
        num_plain = len(self._fresh(num_sequences))
        is_due = self._num_since_plain * _NUM_SAMPLES >= PLAIN_INTERVAL * num_plain
        most_cost = 1 + min(self.credit, credit)
        if is_due or num_plain < _NUM_SURE:
            return 0
        costs = (
            (size, cost + drafting(-(-(size - num_sequences) // num_sequences)))
            for size, cost, _ in self._costs(num_sequences)
        )
        return max((size for size, cost in costs if cost <= most_cost), default=0)

    def _costs(self, num_sequences: int) -> Iterator[tuple[int, float, float]]:
        """Yield sizes with what a step of each costs, and what it costs at best where that is not sure."""
        known, known_cost = num_sequences, 1.0
        for size in SIZES:
            if size <= num_sequences:
                continue
            cost, times_s = self._cost(size, num_sequences), self._fresh(size)
            if cost is None:
                yield size, known_cost * (1 + _ROW_COST * (size - known) / known), known_cost
            elif len(times_s) < _NUM_SURE:
                yield size, cost, max(1.0, cost * min(times_s) / self._usual_s[self.num_threads, size]) - _SLIGHT
            else:
                known, known_cost = size, cost
                yield size, cost, cost

    def _cost(self, num_rows: int, num_sequences: int) -> float | None:
        """Return what a step of so many rows takes, in steps without drafts; None = that is not known."""
        if not (self._fresh(num_rows) and self._fresh(num_sequences)):
            return None
        usual_s, threads = self._usual_s, self.num_threads
        return max(1.0, usual_s[threads, num_rows] / usual_s[threads, num_sequences])

    def _note(self, key: _Key, cpu_s: float) -> None:
        """Take a step up; of the last ones one of the shortest counts.

        What disturbs a step makes it longer, and on a busy machine those are many.
        """
        times_s = self._times_s.setdefault(key, deque(maxlen=_NUM_SAMPLES))
        times_s.append(cpu_s)
        self._usual_s[key] = sorted(times_s)[len(times_s) // 5]
        self._seen_at[key] = self._num_steps

    def _fresh(self, num_rows: int) -> Sequence[float]:
        """Return what the last steps of so many rows took, where that is not too long ago."""
        key = self.num_threads, num_rows
        if self._num_steps - self._seen_at.get(key, -MAX_AGE) >= MAX_AGE:
            self._times_s.pop(key, None)
        return self._times_s.get(key, ())


def credited(credit: float, gain: float) -> float:
    """Return what an account comes to by a gain, or a loss."""
    return min(MAX_CREDIT, credit + gain)


def _size(num_rows: int) -> int:
    """Return the size that a step with drafts counts as."""
    return next((size for size in SIZES if num_rows <= size), num_rows)


def _shared_out(offers: Sequence[Offer], num_rows: int) -> tuple[list[int], float]:
    """Give rows to those drafts first whose next token is likeliest; return the lengths and the tokens to expect."""
    if len(offers) == 1:
        (offer,) = offers
        num_tokens, acceptance = max(0, min(num_rows, offer.num_tokens)), min(offer.acceptance, _SURE)
        return [num_tokens], (1 - acceptance ** (num_tokens + 1)) / (1 - acceptance)
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
