"""Places of rows: never moved while somebody holds them, used again afterwards, and no memory without a tile."""

import hashlib

import hypothesis
import mlx.core as mx
import numpy as np
import pytest
from hypothesis import strategies as st

from backends.mlx.vision.rows import RowTable
from backends.sequence import Grid, Tile

WIDTH = 3
FIRST_ID = 1000


def tile_of(number: int, size: int) -> Tile:
    rows = (np.full((size, WIDTH), number) + np.arange(size)[:, None] / 1000).astype(np.float32)
    digest = hashlib.sha256(f"{number} {size}".encode()).digest()
    return Tile(digest, np.empty((0, 0, 3), np.uint8), Grid(1, size), rows)


@pytest.mark.slow
@hypothesis.given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), max_size=40))
def test_held_rows_keep_their_ids_and_values(steps: list[tuple[int, bool]]) -> None:
    tiles = [tile_of(number, 1 + 5 * number % 7) for number in range(10)]
    table = RowTable(FIRST_ID, mx.float32)
    held: dict[int, list[range]] = {}
    for number, is_taken in steps:
        if is_taken:
            ids = table.hold(tiles[number])
            table.write(tiles[number])
            held.setdefault(number, []).append(ids)
        elif held.get(number):
            held[number].pop()
            table.release(tiles[number])
        in_use = {number: ids for number, ids in held.items() if ids}
        assert table.is_empty == (not in_use)
        for other, given in in_use.items():
            assert len(set(given)) == 1
            np.testing.assert_array_equal(np.array(table.take(mx.array(list(given[0])))), tiles[other].rows)
        places = [i for given in in_use.values() for i in given[0]]
        assert len(places) == len(set(places))


def test_places_are_used_again() -> None:
    table = RowTable(FIRST_ID, mx.float32)
    first, second, third = tile_of(1, 4), tile_of(2, 4), tile_of(3, 3)
    ids = table.hold(first)
    table.hold(second)
    table.release(first)
    assert table.hold(third) == range(ids.start, ids.start + 3)


def test_ids_of_one_tile_have_one_owner_and_tokens_none() -> None:
    table = RowTable(FIRST_ID, mx.float32)
    first, second = (table.hold(tile) for tile in (tile_of(1, 2), tile_of(2, 2)))
    table.write(tile_of(1, 2))
    table.write(tile_of(2, 2))
    owners = np.array(table.owners(mx.array([7, *first, 8, *second]))).tolist()
    assert owners[0] == owners[3] == -1
    assert owners[1] == owners[2] != owners[4] == owners[5] >= 0


def test_rows_have_the_type_of_the_models_embeddings() -> None:
    table = RowTable(FIRST_ID, mx.float16)
    ids = table.hold(tile_of(1, 2))
    table.write(tile_of(1, 2))
    assert table.take(mx.array(list(ids))).dtype == mx.float16
