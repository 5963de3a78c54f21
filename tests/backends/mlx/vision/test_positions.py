"""Where the places of sequences with pictures are, by the published rule, and through mlx-lm's batches."""

import copy

import mlx.core as mx
import numpy as np

from backends.mlx.inputs import TEXT_POSITIONS, PositionLayer, PromptPositions
from backends.mlx.vision.inputs import positions_of
from backends.sequence import EmbeddingSpan, Grid, Tile


def span(start: int, num_rows: int, num_columns: int) -> EmbeddingSpan:
    return EmbeddingSpan(start, Tile(b"", np.empty((0, 0, 3), np.uint8), Grid(num_rows, num_columns)))


SPANS = (span(2, 2, 3), span(10, 1, 2))
KNOWN = [
    # 2 texts, a picture of 2 lines and 3 columns, 2 texts, one of 1 line and 2 columns
    [0, 1, 2, 2, 2, 2, 2, 2, 5, 6, 7, 7],
    [0, 1, 2, 2, 2, 3, 3, 3, 5, 6, 7, 7],
    [0, 1, 2, 3, 4, 2, 3, 4, 5, 6, 7, 8],
]
"""Source: transformers 5.23, modeling_qwen2_vl.py, get_rope_index."""


def layer(*spans: tuple[EmbeddingSpan, ...]) -> PositionLayer:
    return PositionLayer.merge([PositionLayer([positions_of(each)]) for each in spans])


def at(positions: PositionLayer, *starts: int, num: int = 4) -> list[list[list[int]]]:
    index = mx.array(starts)[:, None] + mx.arange(num)[None]
    found: list[list[list[int]]] = np.array(positions.at(index)).transpose(1, 0, 2).tolist()
    return found


def test_positions_follow_the_published_rule() -> None:
    known, delta = positions_of(SPANS)
    assert known.tolist() == KNOWN
    assert delta == -3  # 12 places, and the next position is 9


def test_behind_the_last_picture_all_three_are_alike() -> None:
    assert at(layer(SPANS), 11) == [[[7, 9, 10, 11], [7, 9, 10, 11], [8, 9, 10, 11]]]


def test_texts_have_the_index_alone_or_beside_pictures() -> None:
    plain = [[5, 6, 7, 8]] * 3
    assert positions_of(()) is TEXT_POSITIONS
    assert at(layer(()), 5) == [plain]
    assert at(layer((), SPANS), 5, 2) == [plain, [line[2:6] for line in KNOWN]]


def test_lines_go_with_their_sequences() -> None:
    """As mlx-lm's batches merge, copy, filter, extend and extract them."""
    batch = layer(SPANS, (), (span(0, 3, 3),))
    first = at(batch, 0, 0, 0)
    copied = copy.deepcopy(batch)
    batch.filter([2, 1])
    assert at(batch, 0, 0) == [first[2], first[1]]
    batch.extend(copied.extract(0))
    assert at(batch, 0, 0, 0) == [first[2], first[1], first[0]]
    assert at(copied, 0, 0, 0) == first


def test_one_place_longer_than_what_is_known_is_not_looked_up() -> None:
    only = PositionLayer([PromptPositions(np.zeros((3, 1), np.int32), 4)])
    assert at(only, 0, num=3) == [[[0, 5, 6]] * 3]
