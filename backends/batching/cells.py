"""How many KV cells sequences have in common: pure accounting of shared beginnings.

No engine in here: what is said here must be what the engine's memory does (llama.cpp's unified cache keeps one cell for
all sequences that share it, until the last of them is gone).
"""

import dataclasses
from collections.abc import Collection, Iterable


@dataclasses.dataclass(slots=True, eq=False)
class _Span:
    """Consecutive cells that the same sequences hold."""

    num_tokens: int
    num_holders: int


class SharedCells:
    """The shared beginnings of all sequences in a batch.

    A sequence's beginning is a list of spans; whoever forks it holds the same spans, and what comes after them is its
    own.

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
        for span in self._spans.pop(sequence_id, []):
            span.num_holders -= 1
            if span.num_holders:
                self.num_saved -= span.num_tokens

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
