"""What fits: the slots and KV cells of one engine, and who has claimed them. Pure accounting.

A live sequence with a slot claims a cell for each of its tokens, computed or not; cells that several hold are claimed
once. Retired sequences have slots too, but no cells: the engine keeps their caches beside them.
"""

import dataclasses
from collections.abc import Collection, Iterable

from backends.batch_limits import BatchLimits
from backends.batching.live import LiveSequence, LiveSequences
from backends.batching.prefix_reuse import CachedPrefix
from backends.batching.retired import RetiredCaches

GROWTH_TOKENS = 8
"""Cells left free for each running sequence when another one is admitted, so that it is not evicted at once again."""


@dataclasses.dataclass(slots=True, eq=False)
class _Span:
    """Consecutive cells that the same sequences hold."""

    num_tokens: int
    num_holders: int


class SharedCells:
    """How many cells sequences have in common: those of their shared beginnings.

    What is said here must be what the engine's memory does (llama.cpp's unified cache keeps one cell for all sequences
    that share it, until the last of them is gone). A sequence's beginning is a list of spans; whoever forks it holds
    the same spans, and what comes after them is its own.

    Attributes:
        num_saved: Cells that are counted more than once when the lengths of all sequences are added up.
    """

    def __init__(self) -> None:
        self._spans: dict[int, list[_Span]] = {}
        self.num_saved = 0

    def share(self, source_id: int, target_id: int, num_tokens: int) -> None:
        """Let a sequence that holds nothing hold the first cells of another one.

        Args:
            source_id: Holds at least `num_tokens` cells.
            target_id: Holds none yet.
            num_tokens: How many, >= 1.
        """
        assert target_id not in self._spans, "a sequence can begin only once"
        num_spans = self._cut(source_id, num_tokens)
        spans = self._spans[source_id][:num_spans]
        for span in spans:
            span.num_holders += 1
        self.num_saved += num_tokens
        self._spans[target_id] = spans

    def release(self, sequence_id: int) -> None:
        """Forget a sequence; what it shared stays with the others. Unknown ids are ignored."""
        self.truncate(sequence_id, 0)
        self._spans.pop(sequence_id, None)

    def truncate(self, sequence_id: int, num_tokens: int) -> None:
        """Forget what a sequence shares beyond its first `num_tokens`, >= 0; unknown ids are ignored."""
        spans = self._spans.get(sequence_id)
        if spans is None or sum(span.num_tokens for span in spans) <= num_tokens:
            return
        num_kept = self._cut(sequence_id, num_tokens)
        for span in spans[num_kept:]:
            span.num_holders -= 1
            if span.num_holders:
                self.num_saved -= span.num_tokens
        del spans[num_kept:]

    def num_saved_among(self, sequence_ids: Iterable[int]) -> int:
        """Return what `num_saved` would be if only these sequences were there."""
        seen: set[int] = set()
        num_saved = 0
        for sequence_id in sequence_ids:
            for span in self._spans.get(sequence_id, ()):
                if id(span) in seen:
                    num_saved += span.num_tokens
                seen.add(id(span))
        return num_saved

    def num_held_by(self, sequence_ids: Collection[int], source_id: int, num_tokens: int) -> int:
        """Return how many of the first `num_tokens` cells of a sequence these sequences hold."""
        if source_id in sequence_ids:
            return num_tokens
        held = {id(span) for sequence_id in sequence_ids for span in self._spans.get(sequence_id, ())}
        num_held = start = 0
        for span in self._spans.get(source_id, ()):
            if start >= num_tokens or id(span) not in held:
                break
            num_held += min(span.num_tokens, num_tokens - start)
            start += span.num_tokens
        return num_held

    def _cut(self, sequence_id: int, num_tokens: int) -> int:
        """Let a span of the sequence end after `num_tokens`; return how many spans come before that point."""
        spans = self._spans.setdefault(sequence_id, [])
        start = 0
        for index, span in enumerate(spans):
            if start == num_tokens:
                return index
            if start + span.num_tokens > num_tokens:
                self._split(span, num_tokens - start)
            start += span.num_tokens
        if start < num_tokens:
            spans.append(_Span(num_tokens - start, 1))
        return len(spans)

    def _split(self, span: _Span, num_tokens: int) -> None:
        tail = _Span(span.num_tokens - num_tokens, span.num_holders)
        span.num_tokens = num_tokens
        for spans in self._spans.values():
            if span in spans:
                spans.insert(spans.index(span) + 1, tail)


class Capacity:
    """The books of slots and cells.

    Args:
        shared: Which cells the live ones have in common.
    """

    def __init__(self, limits: BatchLimits, live: LiveSequences, retired: RetiredCaches, shared: SharedCells) -> None:
        assert limits.num_slots >= limits.max_sequences >= 1, "an engine has a slot for everybody who computes"
        self._limits = limits
        self._live = live
        self._retired = retired
        self._shared = shared

    @property
    def has_free_slot(self) -> bool:
        """Whether one more sequence, for which there is room, can have a slot without a retired one giving its up."""
        return len(self._live.residents) + len(self._retired) < self._limits.num_slots

    @property
    def num_free(self) -> int:
        """Cells that no live sequence has claimed; negative when the running ones have grown beyond them."""
        claimed = sum(len(member.sequence.token_ids) for member in self._live.residents)
        return self._limits.num_cells - claimed + self._shared.num_saved

    def has_room(self, member: LiveSequence, beginning: CachedPrefix, others: list[LiveSequence]) -> bool:
        """Tell whether a waiting sequence fits beside these live ones; retired ones give it their slot."""
        if len(others) >= self._limits.num_live_slots:
            return False
        other_ids = {other.sequence.sequence_id for other in others}
        num_tokens = len(member.sequence.token_ids)
        if self._limits.forks_share_cells and beginning.source_id is not None:
            num_tokens -= self._shared.num_held_by(other_ids, beginning.source_id, beginning.num_tokens)
        num_growing = sum(not other.is_paused for other in others)
        num_claimed = sum(len(other.sequence.token_ids) for other in others) - self._shared.num_saved_among(other_ids)
        return num_tokens + GROWTH_TOKENS * num_growing <= self._limits.num_cells - num_claimed
