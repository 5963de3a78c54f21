"""Which rows sequences need of the tower, and which tile is next: pure decisions."""

from collections.abc import Iterable

from backends.sequence import EmbeddingSpan, Sequence, Tile


def next_tile(sequences: Iterable[Sequence]) -> Tile | None:
    """Return the tile that the tower is to make rows of next; None = no rows are missing.

    The first in order whose next chunk is such rows has the tower; where nobody stands still for them, the first in
    order that will come to some: its next tile can be ready when its tokens and rows before it are computed.

    Args:
        sequences: Those that could compute, in order, with what they hold of caches taken over.
    """
    ahead = None
    for sequence in sequences:
        span = _next_without_rows(sequence)
        if span is None:
            continue
        if span.start <= sequence.num_computed:
            return span.tile
        ahead = span.tile if ahead is None else ahead
    return ahead


def is_needed(tile: Tile, sequence: Sequence) -> bool:
    """Tell whether some of a tile's rows are to be computed for a sequence."""
    return any(span.tile is tile and span.end > sequence.num_computed for span in sequence.spans)


def _next_without_rows(sequence: Sequence) -> EmbeddingSpan | None:
    spans = (span for span in sequence.spans if span.end > sequence.num_computed and span.tile.rows is None)
    return next(spans, None)
