"""Which sequences hold which checkpoints, what they take, and which is missed least: pure bookkeeping.

A checkpoint belongs to a text, not to a sequence: whoever begins with a beginning of another one holds its checkpoints
too. The bytes of each are counted once.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import NamedTuple

_NEAR_TOKENS = 64
"""Prompts part near the end more often than far from it, but how near within so many tokens makes no difference."""
_ANSWER_TOKENS = 256
"""Behind a sequence's end comes what is different, an answer that was edited or is to come: as if it had so many."""


@dataclasses.dataclass(slots=True, eq=False)
class _Checkpoint:
    """A state.

    Attributes:
        num_tokens: First tokens of its holders that it is the state after, >= 1.
        num_uses: Sequences that began with it.
    """

    num_tokens: int
    num_bytes: int
    holder_ids: set[int]
    num_uses: int = 0


class Worth(NamedTuple):
    """What a sequence's checkpoints are worth keeping.

    Attributes:
        num_tokens: Of the sequence.
        weight: How likely the sequence is a beginning for others, compared with others; > 0.
    """

    num_tokens: int
    weight: float


class Dropped(NamedTuple):
    """A checkpoint that nobody holds any more."""

    holder_ids: tuple[int, ...]
    num_tokens: int


class CheckpointBook:
    """Owns what is known of all checkpoints of one worker.

    Attributes:
        num_bytes: What they take, all together.
    """

    def __init__(self) -> None:
        self._held: dict[int, dict[int, _Checkpoint]] = {}
        self._all: list[_Checkpoint] = []
        self.num_bytes = 0

    def __len__(self) -> int:
        return len(self._all)

    @property
    def mean_bytes(self) -> int | None:
        """What one takes; None without any."""
        return math.ceil(self.num_bytes / len(self._all)) if self._all else None

    def places(self, sequence_id: int) -> list[int]:
        """Return after which of a sequence's tokens it holds one, ascending."""
        return sorted(self._held.get(sequence_id, ()))

    def has(self, sequence_id: int, num_tokens: int) -> bool:
        """Tell whether a sequence holds one after so many tokens."""
        return num_tokens in self._held.get(sequence_id, ())

    def best(self, sequence_id: int, limit: int) -> int:
        """Return the last of a sequence's places that is not behind `limit`; 0 without one."""
        return max((place for place in self._held.get(sequence_id, ()) if place <= limit), default=0)

    def add(self, sequence_id: int, num_tokens: int, num_bytes: int) -> None:
        """Note a new checkpoint of a sequence that has none after so many tokens."""
        assert not self.has(sequence_id, num_tokens), "it is there already"
        checkpoint = _Checkpoint(num_tokens, num_bytes, {sequence_id})
        self._held.setdefault(sequence_id, {})[num_tokens] = checkpoint
        self._all.append(checkpoint)
        self.num_bytes += num_bytes

    def share(self, source_id: int, target_id: int, num_tokens: int) -> None:
        """Let a sequence without checkpoints that begins with another one's tokens hold those of that beginning."""
        assert not self._held.get(target_id), "a sequence begins only once"
        shared = {place: each for place, each in self._held.get(source_id, {}).items() if place <= num_tokens}
        for place, checkpoint in shared.items():
            checkpoint.holder_ids.add(target_id)
            checkpoint.num_uses += place == num_tokens
        self._held[target_id] = shared

    def truncate(self, sequence_id: int, num_tokens: int) -> None:
        """Forget what a sequence holds behind its first tokens, >= 0; unknown ids are ignored."""
        held = self._held.get(sequence_id, {})
        for place in [place for place in held if place > num_tokens]:
            self._release(held.pop(place), sequence_id)

    def remove(self, sequence_id: int) -> None:
        """Forget a sequence; what others hold too stays. Unknown ids are ignored."""
        self.truncate(sequence_id, 0)
        self._held.pop(sequence_id, None)

    def drop_least(self, worth_of: Callable[[int], Worth]) -> Dropped:
        """Forget the checkpoint that is missed least for its bytes; there is one.

        Args:
            worth_of: Asked for the holders.
        """
        worths = {sequence_id: worth_of(sequence_id) for sequence_id, held in self._held.items() if held}
        values = dict.fromkeys(self._all, 0.0)
        for sequence_id, worth in worths.items():
            for checkpoint, saved in self._saved_tokens(sequence_id, worth.num_tokens):
                values[checkpoint] += worth.weight * saved
        least = min(self._all, key=lambda each: values[each] * (1 + each.num_uses) / max(1, each.num_bytes))
        dropped = Dropped(tuple(sorted(least.holder_ids)), least.num_tokens)
        for sequence_id in dropped.holder_ids:
            self._release(self._held[sequence_id].pop(least.num_tokens), sequence_id)
        return dropped

    def most_missed(self, sequence_id: int, num_tokens: int, num_most: int) -> list[int]:
        """Return the places of a sequence's checkpoints that are missed most, at most so many, ascending."""
        if not self._held.get(sequence_id):
            return []
        values = [
            (saved * (1 + checkpoint.num_uses), checkpoint.num_tokens)
            for checkpoint, saved in self._saved_tokens(sequence_id, num_tokens)
        ]
        return sorted(place for _, place in sorted(values, reverse=True)[:num_most])

    def _saved_tokens(self, sequence_id: int, num_tokens: int) -> list[tuple[_Checkpoint, float]]:
        """Return what each of a sequence's checkpoints is expected to save whoever shares a part of its tokens.

        It saves the tokens since the one before, to those whose text parts between it and the next one. That is taken
        to be as likely at half as at a quarter of the way back from the end: the logarithm of the distance is uniform.
        """
        places = self.places(sequence_id)
        num_tokens = max(num_tokens, places[-1]) + _ANSWER_TOKENS
        behind = [*places[1:], num_tokens]
        before = [0, *places[:-1]]
        saved = []
        for previous, place, following in zip(before, places, behind, strict=True):
            far, near = num_tokens - place + _NEAR_TOKENS, num_tokens - following + _NEAR_TOKENS
            saved.append((self._held[sequence_id][place], (place - previous) * math.log(far / near)))
        return saved

    def _release(self, checkpoint: _Checkpoint, sequence_id: int) -> None:
        checkpoint.holder_ids.remove(sequence_id)
        if not checkpoint.holder_ids:
            self._all.remove(checkpoint)
            self.num_bytes -= checkpoint.num_bytes
