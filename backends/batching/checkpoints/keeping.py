"""Which checkpoints are made, found and given up: pure decisions over the sequences of a worker.

The engine makes, restores and drops them. They are made only where caches cannot be cut at any place: by that
capability, not by what a model is.
"""

from collections.abc import Iterable
from typing import Final

from backends.batch_limits import BatchLimits
from backends.batching.checkpoints.book import CheckpointBook, Dropped, Worth
from backends.batching.checkpoints.places import checkpoint_places
from backends.batching.counts import BatchCounts
from backends.batching.live import LiveSequences
from backends.batching.prefix_index import Match
from backends.batching.retired import RetiredCache, RetiredCaches
from backends.sequence import Sequence

_LIVE_WEIGHT: Final = 1.0


class Checkpoints:
    """Owns the checkpoints of one worker, as far as they are decided about.

    Attributes:
        book: What there is.
    """

    def __init__(self, limits: BatchLimits, live: LiveSequences, retired: RetiredCaches, counts: BatchCounts) -> None:
        self._counts = counts
        self.book = CheckpointBook()
        self._limits = limits
        self._live = live
        self._retired = retired
        self._is_hopeless = False

    def plan(self, sequence: Sequence, begin: int, matches: Iterable[Match]) -> None:
        """Set after which of a sequence's tokens one is to be made; nothing of it is evaluated yet.

        Args:
            begin: First tokens that it takes from a cache.
            matches: What is known to begin like it.
        """
        if not self._limits.keeps_checkpoints or self._limits.can_cut(sequence.num_prompt_tokens):
            return
        border_ids = self._limits.border_ids
        borders = [place for place, token in enumerate(sequence.token_ids) if token in border_ids and place > begin]
        own_id, most = sequence.sequence_id, sequence.num_prompt_tokens - 1
        shared = {min(match.num_tokens, most) for match in matches if match.sequence_id != own_id}
        places = checkpoint_places(
            begin,
            sequence.num_prompt_tokens,
            borders=borders,
            shared=shared,
            num_affordable=self._num_affordable,
        )
        # What it begins with may be a whole cache, which is no checkpoint yet.
        whole = () if not begin or self.book.has(own_id, begin) else (begin,)
        separable = {sequence.num_separable(place) for place in places} - {0, begin}
        sequence.checkpoint_places = (*whole, *sorted(separable))

    def is_wanted(self, sequence: Sequence) -> bool:
        """Tell whether the state that a live sequence's cache has now is to be kept."""
        place = sequence.num_computed
        if self._is_hopeless:
            return False
        return place in sequence.checkpoint_places and not self.book.has(sequence.sequence_id, place)

    def on_kept(self, sequence: Sequence, num_bytes: int) -> list[Dropped]:
        """Note that the engine has kept a state that was wanted; return what it is to drop for it, perhaps the same."""
        self._is_hopeless = num_bytes > self._limits.checkpoint_bytes
        self.book.add(sequence.sequence_id, sequence.num_computed, num_bytes)
        self._counts.num_checkpoints_made += 1
        return self.over_budget()

    def worth_saving(self, sequence_id: int, num_most: int) -> list[int]:
        """Return after which tokens the checkpoints of a retired sequence are that would be missed most, ascending."""
        retired = self._retired.get(sequence_id)
        return [] if retired is None else self.book.most_missed(sequence_id, retired.num_tokens, num_most)

    def covers(self, longer: RetiredCache, shorter: RetiredCache) -> bool:
        """Tell whether a kept cache that begins with another one's tokens is as good a beginning wherever that is."""
        needed = {*self.book.places(shorter.sequence_id), shorter.num_tokens}
        return needed <= {*self.book.places(longer.sequence_id), longer.num_tokens}

    def over_budget(self) -> list[Dropped]:
        """Give up what is missed least until the rest takes no more than it may; return it."""
        dropped: list[Dropped] = []
        max_bytes = self._limits.checkpoint_bytes
        if self.book.num_bytes <= max_bytes:
            return dropped
        weights = self._weights()
        while len(self.book) and self.book.num_bytes > max_bytes:
            dropped.append(self.book.drop_least(lambda sequence_id: weights[sequence_id]))
        self._counts.num_checkpoints_dropped += len(dropped)
        return dropped

    @property
    def has_too_many_ends(self) -> bool:
        """Whether the states at the ends of retired sequences, as large as checkpoints, take more than those may."""
        ends_bytes = len(self._retired) * (self.book.mean_bytes or 0)
        return self._limits.keeps_checkpoints and ends_bytes > self._limits.checkpoint_bytes

    @property
    def _num_affordable(self) -> int | None:
        """How many one sequence should hold: half of what there is room for."""
        mean_bytes = self.book.mean_bytes
        return None if not mean_bytes else max(1, self._limits.checkpoint_bytes // mean_bytes // 2)

    def _weights(self) -> dict[int, Worth]:
        """Weigh live sequences most, retired ones by most recent use."""
        worths = {
            member.sequence.sequence_id: Worth(len(member.sequence.token_ids), _LIVE_WEIGHT) for member in self._live
        }
        for age, sequence_id in enumerate(reversed(self._retired.sequence_ids)):
            retired = self._retired.get(sequence_id)
            assert retired is not None, "just listed"
            worths[sequence_id] = Worth(retired.num_tokens, _LIVE_WEIGHT / (1 + age))
        return worths
