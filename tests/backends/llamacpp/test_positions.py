"""Positions of sequences with pictures: as the families' own code counts them, and back."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from backends.llamacpp.positions import MropePositions, Positions
from backends.sequence import EmbeddingSpan, Grid, Tile

Spans = tuple[EmbeddingSpan, ...]
GAPS_AND_GRIDS = st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5), st.integers(1, 5)), max_size=4)


def spans_of(layout: list[tuple[int, int, int]]) -> Spans:
    """Return pictures of (rows, columns), each behind so many tokens."""
    spans: list[EmbeddingSpan] = []
    end = 0
    for gap, rows, columns in layout:
        tile = Tile(b"", np.empty((0, 0, 3), np.uint8), Grid(rows, columns))
        spans.append(EmbeddingSpan(end + gap, tile))
        end += gap + tile.size
    return tuple(spans)


def counted(spans: Spans, num_places: int) -> list[int]:
    """Return where each place is, one after the other; all of a picture's at its first."""
    positions: list[int] = []
    now = 0
    for span in spans:
        num_text = min(span.start, num_places) - len(positions)
        positions += range(now, now + num_text)
        now += num_text
        positions += [now] * span.tile.size
        now += span.tile.grid.mrope_extent
    return [*positions, *range(now, now + num_places - len(positions))]


@given(GAPS_AND_GRIDS, st.integers(1, 5))
def test_positions_are_those_that_the_families_count(layout: list[tuple[int, int, int]], num_after: int) -> None:
    spans = spans_of(layout)
    num_places = (spans[-1].end if spans else 0) + num_after
    expected = counted(spans, num_places)
    assert [MropePositions().before(spans, place) for place in range(num_places)] == expected


@given(GAPS_AND_GRIDS, st.integers(0, 60))
def test_places_are_found_by_positions_without_the_picture_that_is_cut(
    layout: list[tuple[int, int, int]], place: int
) -> None:
    spans, positions = spans_of(layout), MropePositions()
    inside = next((span for span in spans if span.start < place < span.end), None)
    whole = place if inside is None else inside.start
    assert positions.num_places(spans, positions.before(spans, place)) == whole


@given(st.integers(0, 1000))
def test_positions_of_texts_are_indices(place: int) -> None:
    for positions in (Positions(), MropePositions()):
        assert positions.before((), place) == positions.num_places((), place) == place
