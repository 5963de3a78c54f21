"""Long beginnings that came more than once, and which kept cache has one of them: what is worth a file. Pure.

A conversation's next turn begins as the one before, a further one of the same agent with its instructions: either is a
repetition. What came once is not worth the disk.
"""

from typing import Final, NamedTuple

from backends.batch_limits import BatchLimits
from backends.batching.checkpoints.book import CheckpointBook
from backends.batching.prefix_index import PrefixIndex
from backends.batching.retired import RetiredCaches
from backends.sequence import Sequence

MIN_TOKENS: Final = 2_000
"""Shorter beginnings are computed soon enough."""
_MAX_NOTED: Final = 16
"""Further ones wait for their next repetition."""


class Repeat(NamedTuple):
    """A beginning that two sequences of one owner have had.

    Attributes:
        token_ids: At least MIN_TOKENS.
    """

    token_ids: list[int]
    owner: str | None


class Keeper(NamedTuple):
    """A retired sequence that a beginning can be taken from.

    Attributes:
        num_tokens: How many of the beginning's first tokens.
    """

    sequence_id: int
    num_tokens: int


class RepeatedBeginnings:
    """Owns the notes of them; asks the books of one batch."""

    def __init__(
        self, limits: BatchLimits, index: PrefixIndex, retired: RetiredCaches, checkpoints: CheckpointBook
    ) -> None:
        self._limits = limits
        self._index = index
        self._retired = retired
        self._checkpoints = checkpoints
        self._noted: list[Repeat] = []

    def __len__(self) -> int:
        return len(self._noted)

    def note(self, sequence: Sequence) -> None:
        """Compare a new sequence, which the index does not have yet, with those that it has."""
        matches = self._index.lookup(sequence.token_ids, sequence.owner)
        num_common = sequence.num_separable(max((match.num_tokens for match in matches), default=0))
        if num_common < MIN_TOKENS:
            return
        repeat = Repeat(sequence.token_ids[:num_common], sequence.owner)
        self._noted = [noted for noted in self._noted if noted != repeat][1 - _MAX_NOTED :]
        self._noted.append(repeat)

    def take(self) -> Repeat | None:
        """Return and forget the newest; None without any."""
        return self._noted.pop() if self._noted else None

    def keeper_of(self, repeat: Repeat) -> Keeper | None:
        """Return who holds the most of a beginning, and the least beside it; None where nobody holds MIN_TOKENS."""
        best, best_key = None, (MIN_TOKENS - 1, 0)
        for match in self._index.lookup(repeat.token_ids, repeat.owner):
            retired = self._retired.get(match.sequence_id)
            if retired is None:
                continue
            num_tokens = min(match.num_tokens, retired.num_tokens)
            if num_tokens < retired.num_tokens and not self._limits.can_cut(retired.num_tokens):
                num_tokens = self._checkpoints.best(match.sequence_id, num_tokens)
            key = num_tokens, -retired.num_tokens
            if key > best_key:
                best, best_key = Keeper(match.sequence_id, num_tokens), key
        return best
