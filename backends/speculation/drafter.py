"""What guesses by a model of its own what sequences draw next, as the engines offer it; the Structs of its work."""

import abc
from collections.abc import Sequence as Many
from typing import NamedTuple

from backends.sequence import Sequence


class Wish(NamedTuple):
    """A sequence that is to get a draft.

    Attributes:
        num_tokens: Of the draft, at most, >= 1.
        max_missing: Tokens of the sequence that may be evaluated for it, >= 1. Where more are missing, only the last
            ones are, as if the text began with them.
        is_investment: Whether those are paid from what is expected of later drafts; no matter to the drafter.
    """

    sequence: Sequence
    num_tokens: int
    max_missing: int
    is_investment: bool = False


class Drafts(NamedTuple):
    """What came of wishes.

    Attributes:
        tokens: One draft for each wish, () for none.
        num_rounds: Evaluations one after the other.
        num_rows: Tokens that were evaluated, in all of them.
        cpu_s: What they took of the processors.
    """

    tokens: list[tuple[int, ...]]
    num_rounds: int
    num_rows: int
    cpu_s: float


class Drafter(abc.ABC):
    """A second model with the vocabulary of the main one.

    Attributes:
        share: What its steps are expected to cost before any was seen, as a share of the main model's, 0..1.
    """

    share: float

    @abc.abstractmethod
    def num_missing(self, sequence: Sequence) -> int | None:
        """Return how many tokens of a sequence it has not evaluated, >= 1; None = it has no place for it now."""

    @abc.abstractmethod
    def draft(self, wishes: Many[Wish], least_chance: float) -> Drafts:
        """Return what may follow, the likeliest token each time.

        Args:
            least_chance: A draft ends before the token with which it is less likely right as a whole, by the drafter's
                own account.
        """

    @abc.abstractmethod
    def forget(self, sequence_id: int) -> None:
        """Take note that a sequence has ended; its cache may serve one that begins alike. Unknown ids are ignored."""
