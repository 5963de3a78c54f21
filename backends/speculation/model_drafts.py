"""Which sequences a second model drafts for, how much, and what is learned of it. Pure but for the drafter it asks.

Each sequence has an estimate of how often the drafter is right, which begins with that of all and goes back to it while
nothing is drafted, so that it is tried again. What a sequence's text costs before its first draft is paid from the
accounts of `worth`. Once the drafter is known to pay, as much as a quarter of what is expected of it is invested, which
drafts have to bring in before there is more; where they do not before the answer ends, less is invested in the next.
Where all of the text is dearer than that, the drafter sees only its end.
"""

from collections.abc import Sequence as Many
from typing import Final, NamedTuple

from backends.sequence import Sequence
from backends.speculation.drafter import Drafter, Drafts, Wish
from backends.speculation.drafting_cost import DraftingCost
from backends.speculation.worth import DraftWorth, Lengths, Offer

_FIRST_ACCEPTANCE: Final = 0.8
_WEIGHT: Final = 0.125
_WEIGHT_OF_ALL: Final = 1 / 32
_FADE: Final = 1 / 64
"""What is seen of a sequence goes by this share of itself in a step without drafts."""
_FADE_OF_ALL: Final = 1 / 1024
_NUM_KNOWN: Final = 64
"""So many tokens, right or wrong, make it known whether a drafter pays."""
_MOST_TOKENS_AHEAD: Final = 128
"""An answer is taken to go on for no longer."""
_INVESTED: Final = 0.25
_FEW_MISSING: Final = 16
"""As many may always be missing: drafts that were wrong and steps without one leave so many."""
_REST: Final = 7
"""So many steps nothing is asked after one in which no draft would have paid: to ask costs as much as a lookup."""
_LEAST_CHANCES: Final = (0.1, 0.9)


class Candidate(NamedTuple):
    """A sequence of a step.

    Attributes:
        num_tokens: Of its longest draft; 0 = the drafter is not to draft for it.
        credit: What it may lose.
    """

    sequence: Sequence
    num_tokens: int
    credit: float


class Planned(NamedTuple):
    """What the drafter would be asked, and what is expected of that.

    Attributes:
        wishes: One for each candidate, None for no draft.
    """

    lengths: Lengths
    wishes: list[Wish | None]


class ModelDrafts:
    """Owns what is known of a drafter.

    Args:
        worth: Of the steps of the same engine.
    """

    def __init__(self, drafter: Drafter, worth: DraftWorth) -> None:
        self._drafter = drafter
        self._worth = worth
        self._cost = DraftingCost(drafter.share)
        self._of_all = _FIRST_ACCEPTANCE
        self._num_compared = 0
        self._acceptance: dict[int, float] = {}
        self._trust = 1.0
        self._num_resting = 0
        self._debts: dict[int, float] = {}

    def start(self, sequence_id: int) -> None:
        """Take a sequence up."""
        self._acceptance[sequence_id] = self._of_all

    def forget(self, sequence_id: int) -> None:
        """Drop what is kept of a sequence that has ended; unknown ids are ignored."""
        self._acceptance.pop(sequence_id, None)
        debt = self._debts.pop(sequence_id, None)
        if debt is not None:
            self._trust = min(1.0, self._trust * (0.5 if debt > 0 else 2.0))
        self._drafter.forget(sequence_id)

    def rests(self) -> bool:
        """Tell whether nothing is to be asked in this step, because nothing would have paid just now."""
        is_resting = self._num_resting > 0
        self._num_resting -= is_resting
        return is_resting

    def planned(self, candidates: Many[Candidate], max_rows: int) -> Planned:
        """Return what pays.

        Args:
            candidates: All sequences of the step.
            max_rows: The most that the step may have, with one for each sequence.
        """
        num, worth = len(candidates), self._worth
        step_s = worth.step_s(num)
        offers = [
            Offer(each.num_tokens, self._acceptance[each.sequence.sequence_id] if each.num_tokens else 0.0, each.credit)
            for each in candidates
        ]
        lengths = worth.lengths(
            offers, max_rows, lambda rounds: self._cost.of_rounds(rounds, num, worth.num_threads, step_s)
        )
        wishes = [
            self._wish(each, num_tokens, lengths, step_s) if num_tokens else None
            for each, num_tokens in zip(candidates, lengths.tokens, strict=True)
        ]
        if not any(wishes):
            self._num_resting = _REST
        return Planned(lengths, wishes)

    def drafted(self, wishes: Many[Wish | None], least_chance: float) -> Drafts:
        """Have the drafter draft, and learn what that took.

        Returns:
            One draft for each wish or None; what they took, without what was invested.
        """
        asked = [wish for wish in wishes if wish is not None]
        drafts = self._drafter.draft(asked, min(max(least_chance, _LEAST_CHANCES[0]), _LEAST_CHANCES[1]))
        if drafts.num_rounds:
            self._cost.observe(len(asked), drafts, self._worth.num_threads)
        found = iter(drafts.tokens)
        tokens = [() if wish is None else next(found) for wish in wishes]
        invested_s = self._invest(drafts, len(wishes), asked)
        return drafts._replace(tokens=tokens, cpu_s=drafts.cpu_s - invested_s)

    def on_step(self, sequence_id: int, num_drafted: int, num_right: int, gain: float) -> None:
        """Learn of a draft; of its tokens all that are right and the first that is wrong tell something.

        Args:
            gain: What it brought beyond what it cost, in steps without drafts.
        """
        if sequence_id in self._debts:
            self._debts[sequence_id] -= gain
        acceptance = self._acceptance.get(sequence_id)
        if acceptance is None:
            return
        for is_right in [True] * num_right + [False] * (num_right < num_drafted):
            acceptance += (is_right - acceptance) * _WEIGHT
            self._of_all += (is_right - self._of_all) * _WEIGHT_OF_ALL
            self._num_compared += 1
        self._acceptance[sequence_id] = acceptance

    def on_idle_steps(self, num_steps: int) -> None:
        """Take note of steps in which nothing was drafted, for any sequence."""
        self._cost.on_idle_steps(num_steps)

    def on_plain_steps(self, sequence_id: int, num_steps: int) -> None:
        """Forget a little of what was seen, so that a drafter that was wrong is tried again."""
        acceptance = self._acceptance.get(sequence_id)
        if acceptance is not None:
            self._of_all += (_FIRST_ACCEPTANCE - self._of_all) * min(1.0, num_steps * _FADE_OF_ALL)
            self._acceptance[sequence_id] = acceptance + (self._of_all - acceptance) * min(1.0, num_steps * _FADE)

    def _wish(self, candidate: Candidate, num_tokens: int, lengths: Lengths, step_s: float | None) -> Wish | None:
        num_missing = self._drafter.num_missing(candidate.sequence)
        if num_missing is None:
            return None
        if num_missing <= _FEW_MISSING:
            return Wish(candidate.sequence, num_tokens, _FEW_MISSING)
        row_cost = max(1e-9, self._cost.of_row(step_s))
        at_risk = lengths.row_cost * sum(lengths.tokens)
        own, invested = min(candidate.credit, self._worth.credit) - at_risk, self._investment(candidate, lengths)
        is_investing = own < num_missing * row_cost and invested > own
        max_missing = int((invested if is_investing else own) / row_cost)
        if max_missing < min(num_missing, _FEW_MISSING):
            return None
        return Wish(candidate.sequence, num_tokens, max_missing, is_investing)

    def _investment(self, candidate: Candidate, lengths: Lengths) -> float:
        """Return what may be paid for what is missing of a sequence from what is expected of its drafts."""
        if self._num_compared < _NUM_KNOWN or not lengths.is_sure:
            return 0.0
        sequence = candidate.sequence
        num_ahead = min(_MOST_TOKENS_AHEAD, sequence.max_output_tokens - sequence.num_output_tokens)
        debt = max(0.0, self._debts.get(sequence.sequence_id, 0.0))
        return self._trust * _INVESTED * num_ahead * (1 - 1 / lengths.gain) - debt

    def _invest(self, drafts: Drafts, num_sequences: int, asked: list[Wish]) -> float:
        """Note what was invested in sequences by these drafts; return it in seconds of the processors."""
        investing = [wish.sequence.sequence_id for wish in asked if wish.is_investment]
        step_s = self._worth.step_s(num_sequences)
        if not investing or step_s is None:
            return 0.0
        rounds = self._cost.of_rounds(drafts.num_rounds, len(asked), self._worth.num_threads, step_s)
        invested_s = max(0.0, drafts.cpu_s - rounds * step_s)
        for sequence_id in investing:
            self._debts[sequence_id] = self._debts.get(sequence_id, 0.0) + invested_s / step_s / len(investing)
        return invested_s
