"""Where the library has the places of a sequence: its position is what it cuts and shares caches by.

A text's are its indices. Where a row's position is one in time, height and width (M-RoPE), a picture takes fewer than
it has rows, and all of its rows are found at its first one.
"""

from backends.sequence import EmbeddingSpan


class Positions:
    """Positions that are indices."""

    def before(self, _spans: tuple[EmbeddingSpan, ...], num_places: int) -> int:
        """Return how many positions a sequence's first places take: where the next one is."""
        return num_places

    def num_places(self, _spans: tuple[EmbeddingSpan, ...], num_positions: int) -> int:
        """Return how many of a sequence's places are wholly within its first positions."""
        return num_positions


class MropePositions(Positions):
    """Positions of sequences with pictures in models with M-RoPE."""

    def before(self, spans: tuple[EmbeddingSpan, ...], num_places: int) -> int:
        """Return where the next place is; inside a picture, where that begins."""
        num_fewer = 0
        for span in spans:
            if num_places < span.end:
                return min(num_places, span.start) - num_fewer
            num_fewer += span.tile.size - span.tile.grid.mrope_extent
        return num_places - num_fewer

    def num_places(self, spans: tuple[EmbeddingSpan, ...], num_positions: int) -> int:
        """Return how many places lie before a position; a picture that is not wholly before it does not count."""
        num_fewer = 0
        for span in spans:
            first = span.start - num_fewer
            if num_positions < first + span.tile.grid.mrope_extent:
                return min(num_positions, first) + num_fewer
            num_fewer += span.tile.size - span.tile.grid.mrope_extent
        return num_positions + num_fewer
