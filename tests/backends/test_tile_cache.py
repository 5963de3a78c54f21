import gc
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import ImageError
from backends.row_ids import row_ids, tile_digest
from backends.sequence import Grid, Tile
from backends.tile_cache import TileCache
from tests.support.waiting import WITHIN_S

GRID, WIDTH = Grid(2, 3), 8
ROW_BYTES = GRID.num_cells * WIDTH * 4
PIXEL_BYTES = 4 * 4 * 3


def tile_of(colour: int) -> Tile:
    pixels = np.full((4, 4, 3), colour, np.uint8)
    return Tile(tile_digest(pixels, GRID, family="llava", fingerprint="f"), pixels, GRID)


def id_in(tile: Tile, row: int = 0) -> int:
    return row_ids(tile.digest, tile.grid)[row]


def encode(cache: TileCache, tile: Tile) -> None:
    tile.rows = np.zeros((tile.size, WIDTH), np.float32)
    cache.on_encoded(tile)


def is_known(cache: TileCache, token_id: int) -> bool:
    return cache.find(token_id) is not None


def test_equal_tiles_are_one_object_with_its_rows() -> None:
    cache = TileCache()
    first = cache.intern(tile_of(1))
    encode(cache, first)
    again = cache.intern(tile_of(1))
    assert again is first
    assert again.rows is not None
    assert cache.intern(tile_of(2)) is not first


def test_a_tile_is_found_by_the_id_of_its_first_row_and_by_no_other() -> None:
    cache = TileCache()
    tile = cache.intern(tile_of(1))
    assert cache.find(id_in(tile)) is tile
    assert not any(is_known(cache, id_in(tile, row)) for row in range(1, tile.size))
    assert not is_known(cache, id_in(tile_of(2)))
    assert not is_known(cache, 5)


@given(st.binary(min_size=32, max_size=32))
def test_ids_that_have_been_doubles_find_their_tile(digest: bytes) -> None:
    """As JavaScript reads and writes them: the shortest decimals that give the same double."""
    cache = TileCache()
    tile = cache.intern(Tile(digest, np.zeros((1, 1, 3), np.uint8), Grid(200, 201)))
    written = Decimal(repr(float(id_in(tile))))
    assert cache.find(int(written)) is tile


def test_another_digest_with_the_same_ids_is_refused() -> None:
    cache = TileCache()
    tile = cache.intern(tile_of(1))
    digest = tile.digest[:-1] + bytes([tile.digest[-1] ^ 1])
    with pytest.raises(ImageError, match="cannot be told from another"):
        cache.intern(Tile(digest, tile.pixels, GRID))
    assert cache.find(id_in(tile)) is tile


def test_pixels_go_when_there_are_rows() -> None:
    cache = TileCache()
    tile = cache.intern(tile_of(1))
    assert cache.num_bytes == PIXEL_BYTES
    encode(cache, tile)
    assert tile.pixels.size == 0
    assert cache.num_bytes == ROW_BYTES


def test_the_least_recently_used_go_first() -> None:
    cache = TileCache(3 * ROW_BYTES)
    ids = []
    for colour in range(3):
        tile = cache.intern(tile_of(colour))
        encode(cache, tile)
        ids.append(id_in(tile))
    assert is_known(cache, ids[0])  # and used by that
    encode(cache, cache.intern(tile_of(3)))
    del tile
    gc.collect()
    assert cache.num_bytes == 3 * ROW_BYTES
    assert [is_known(cache, token_id) for token_id in ids] == [True, False, True]


def test_what_a_sequence_holds_stays_its_own_and_is_the_one_that_others_get() -> None:
    """Rows that live sequences need are never made twice, however little room there is."""
    cache = TileCache(0)
    held = cache.intern(tile_of(1))
    encode(cache, held)
    cache.intern(tile_of(2))
    assert cache.num_bytes == 0
    assert held.rows is not None
    assert cache.intern(tile_of(1)) is held
    token_id = id_in(held)
    assert cache.find(token_id) is held
    del held
    gc.collect()
    assert not is_known(cache, token_id)


def test_workers_of_text_models_import_no_pillow() -> None:
    code = "import backends.process.worker, backends.fake.engine, backends.tile_cache, sys; print('PIL' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=WITHIN_S)
    assert done.stdout == "False\n"
