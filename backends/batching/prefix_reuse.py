"""With whose cache a waiting sequence begins, now or after a short wait: a pure choice, noted in the sequence's member.

No beginning ends inside a span: whoever has one would have to go on in the middle of a picture.
A longer beginning that somebody before it is about to compute is worth waiting for: it would stand behind that one for
the step's prefill tokens anyway.
"""

from collections.abc import Collection
from typing import NamedTuple

from backends.batch_limits import BatchLimits
from backends.batching.checkpoints.book import CheckpointBook
from backends.batching.live import LiveSequence, LiveSequences
from backends.batching.prefix_index import PrefixIndex
from backends.batching.retired import RetiredCaches
from backends.sequence import Sequence

MIN_GAIN_TOKENS = 32
"""A wait must save at least so many tokens: fewer (a template's first words) are computed in no time. Who has begun to
wait goes on until all of it is there."""


class CachedPrefix(NamedTuple):
    """The first tokens that a sequence need not compute.

    Attributes:
        source_id: Whose cache has them; None = nobody's.
        num_tokens: How many; 0 without a source.
        is_coming: A much longer one is being computed, and worth waiting for.
    """

    source_id: int | None = None
    num_tokens: int = 0
    is_coming: bool = False


class PrefixReuse:
    """Asks the index and the books of who holds what.

    Caches that cannot be cut are beginnings as a whole, and at their checkpoints. Where two have as much, a live one is
    the better source if its cells can be shared.
    """

    def __init__(
        self,
        limits: BatchLimits,
        index: PrefixIndex,
        live: LiveSequences,
        retired: RetiredCaches,
        checkpoints: CheckpointBook,
    ) -> None:
        self._index = index
        self._live = live
        self._retired = retired
        self._checkpoints = checkpoints
        self._limits = limits
        self._prefers_live = limits.forks_share_cells

    def best_for(self, member: LiveSequence, ahead_ids: Collection[int]) -> CachedPrefix:
        """Return the longest beginning.

        Args:
            ahead_ids: Waiting sequences that will compute before it.
        """
        if member.sequence.is_scored:
            return CachedPrefix()  # a cache does not tell how likely its tokens were
        if member.matches_version != self._index.version:
            member.matches = self._index.lookup(member.sequence.token_ids, member.sequence.owner)
            member.matches_version = self._index.version
        most = len(member.sequence.token_ids) - 1  # the last one has to be computed, to draw after it
        best, num_coming = CachedPrefix(), 0
        for match in member.matches:
            limit = member.sequence.num_separable(min(match.num_tokens, most))
            if limit < best.num_tokens:
                break
            if match.sequence_id == member.sequence.sequence_id or match.sequence_id in member.refused_ids:
                continue
            num_ready = self._num_ready(match.sequence_id, member.sequence, limit)
            if self._is_better(match.sequence_id, num_ready, best):
                best = CachedPrefix(match.sequence_id, num_ready)
            if limit > num_coming:
                num_coming = max(num_coming, self._num_coming(match.sequence_id, limit, member, ahead_ids))
        gain = num_coming - best.num_tokens
        is_enough = gain >= MIN_GAIN_TOKENS or member.is_awaiting or num_coming == most
        member.is_awaiting = gain > 0 and is_enough
        return best._replace(is_coming=member.is_awaiting)

    def num_ready(self, sequence: Sequence) -> int:
        """Return how many first tokens of a prompt caches hold now, leaving at least one to be computed."""
        most = len(sequence.token_ids) - 1
        matches = self._index.lookup(sequence.token_ids, sequence.owner)
        ready = (self._num_ready(match.sequence_id, sequence, min(match.num_tokens, most)) for match in matches)
        return max(ready, default=0)

    def _is_better(self, sequence_id: int, num_ready: int, best: CachedPrefix) -> bool:
        if num_ready != best.num_tokens or best.source_id is None:
            return num_ready > best.num_tokens
        is_live = sequence_id not in self._retired
        return is_live == self._prefers_live and (best.source_id in self._retired) == self._prefers_live

    def _num_ready(self, source_id: int, sequence: Sequence, limit: int) -> int:
        """Return how many of the common tokens, at most `limit`, are in a source's cache and can be taken from it."""
        retired = self._retired.get(source_id)
        if retired is not None:
            num_ready = sequence.num_separable(min(limit, retired.num_tokens))
            is_free = num_ready == retired.num_tokens or self._limits.can_cut(retired.num_tokens)
            return num_ready if is_free else self._checkpoints.best(source_id, num_ready)
        other = self._live.get(source_id)
        if other is None or not other.is_resident:
            return 0
        num_computed = other.sequence.num_computed
        num_ready = sequence.num_separable(min(limit, num_computed))
        is_free = num_ready == num_computed or self._limits.can_cut_live(num_computed)
        return num_ready if is_free else self._checkpoints.best(source_id, num_ready)

    def _num_coming(self, sequence_id: int, limit: int, member: LiveSequence, ahead_ids: Collection[int]) -> int:
        """Return how many of the common tokens another one's cache will hold, and give, before `member` computes."""
        other = self._live.get(sequence_id)
        if other is None or not self._is_coming(other, member, ahead_ids):
            return 0
        if self._limits.can_cut_live(limit):
            return limit
        num_computed, places = other.sequence.num_computed, other.sequence.checkpoint_places
        return max((place for place in places if num_computed < place <= limit), default=0)

    def _is_coming(self, other: LiveSequence, member: LiveSequence, ahead_ids: Collection[int]) -> bool:
        """Tell whether another one's tokens, as far as they are not ready, will be computed before `member`'s."""
        if other.is_paused:
            return False
        if not other.is_resident:
            return other.sequence.sequence_id in ahead_ids
        return other.is_urgent or not member.is_urgent
