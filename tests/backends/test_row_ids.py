import hashlib
import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from backends.images.decoding import RGB
from backends.row_ids import is_row, key_of_first, row_ids, tile_digest, tile_key
from backends.sequence import Grid

GRID = Grid(2, 3)
RGB_OF_ONE: RGB = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)


def digest_of(rgb: RGB = RGB_OF_ONE, grid: Grid = GRID, family: str = "llava", fingerprint: str = "f") -> bytes:
    return tile_digest(rgb, grid, family=family, fingerprint=fingerprint)


def test_all_that_rows_depend_on_changes_the_ids() -> None:
    other = RGB_OF_ONE.copy()
    other[1, 2, 0] ^= 1
    digests = [
        digest_of(),
        digest_of(other),
        digest_of(RGB_OF_ONE.reshape(3, 2, 3)),
        digest_of(grid=Grid(3, 2)),
        digest_of(family="gemma3"),
        digest_of(fingerprint="g"),
    ]
    assert len(set(digests)) == len(digests)
    for one, another in itertools.combinations(digests, 2):
        assert not set(row_ids(one, GRID)) & set(row_ids(another, GRID))


def test_ids_stay_the_same_for_saved_caches() -> None:
    """What was computed in another process, on another day, is found again by these numbers."""
    data = b"llava\0f\x003x2\x002x3\0" + RGB_OF_ONE.tobytes()
    expected = hashlib.sha256(data).digest()
    assert digest_of() == expected
    bits = f"{int.from_bytes(expected):0256b}" * 2
    parts = [int(bits[46 * number :][:46], 2) for number in range(6)]
    assert row_ids(expected, GRID) == [(1 << 62) + (part << 16) + number for number, part in enumerate(parts)]


@given(st.binary(min_size=32, max_size=32), st.integers(0, 255))
def test_six_rows_carry_the_whole_digest(digest: bytes, flipped: int) -> None:
    """Who makes a picture with the ids of another one has found two texts of equal SHA-256."""
    other = (int.from_bytes(digest) ^ 1 << flipped).to_bytes(32)
    assert row_ids(digest, GRID) != row_ids(other, GRID)


def test_a_view_has_the_ids_of_its_copy() -> None:
    wide: RGB = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    view = wide[::2, 1:4]
    assert digest_of(view) == digest_of(view.copy())


@given(st.binary(min_size=32, max_size=32), st.integers(1, 256), st.integers(1, 256))
def test_ids_are_63_bits_and_tell_their_tile_and_row(digest: bytes, rows: int, columns: int) -> None:
    ids = row_ids(digest, Grid(rows, columns))
    assert len(set(ids)) == rows * columns
    assert all(1 << 62 <= number < 1 << 63 for number in ids)
    assert all(map(is_row, ids))
    assert key_of_first(ids[0]) == tile_key(digest)
    assert [number & 0xFFFF for number in ids] == list(range(rows * columns))


@given(st.integers(0, (1 << 62) - 1))
def test_tokens_are_no_rows(token_id: int) -> None:
    assert not is_row(token_id)
