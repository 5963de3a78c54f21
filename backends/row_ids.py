"""The ids that stand for an image's rows among a sequence's tokens, made of what the tower sees.

Equal tiles have equal ids, in all workers and after a restart, so that whatever compares tokens (the radix index,
forks, saved caches) compares pictures as well. Each row carries other bits of the tile's digest: six rows carry all of
them, and a cache serves no part of a tile. Clients cannot forge one: ids beyond the vocabulary are refused where they
come in.
"""

import hashlib
from typing import Any, Final

import numpy as np

NUM_ROWS_LIMIT: Final = 1 << 16
"""No tile has more rows: their number is 16 bits of an id."""

_MARK: Final = 1 << 62
"""Above any vocabulary, and below the sign bit of the 64 that frames and saved caches have."""
_ROW_BITS: Final = 16
_HASH_BITS: Final = 46
_DIGEST_BITS: Final = 256
_NUM_PARTS: Final = 128
"""Rows after which the bits come again: 46 * 128 is a multiple of 256."""


def tile_digest(
    rgb: np.ndarray[Any, np.dtype[np.uint8]], grid: tuple[int, int], *, family: str, fingerprint: str
) -> bytes:
    """Hash all that a tile's rows depend on (SHA-256); who keeps rows compares the whole of it, not the ids' part.

    Args:
        rgb: Pixels, shape (height, width, 3).
        grid: Lines and columns of the tile's rows.
        fingerprint: Of the projector's and the tower's weights, as files have one.
    """
    height, width, _ = rgb.shape
    head = f"{family}\0{fingerprint}\0{width}x{height}\0{grid[0]}x{grid[1]}\0"
    digest = hashlib.sha256(head.encode())
    digest.update(np.ascontiguousarray(rgb).data)  # no copy of megabytes, and without the interpreter's lock
    return digest.digest()


def row_ids(digest: bytes, grid: tuple[int, int]) -> list[int]:
    """Return the ids of a tile's rows, in order; 63 bits each."""
    num_rows = grid[0] * grid[1]
    assert 0 < num_rows <= NUM_ROWS_LIMIT
    parts = [_part(digest, number) << _ROW_BITS | _MARK for number in range(min(num_rows, _NUM_PARTS))]
    return [parts[row % _NUM_PARTS] | row for row in range(num_rows)]


def tile_key(digest: bytes) -> int:
    """Return the part of a digest that the first row's id carries."""
    return _part(digest, 0)


def _part(digest: bytes, number: int) -> int:
    """Return the next bits of a digest that is written again and again."""
    start = number * _HASH_BITS % _DIGEST_BITS
    return int.from_bytes(digest + digest) >> (2 * _DIGEST_BITS - _HASH_BITS - start) & ((1 << _HASH_BITS) - 1)


def key_of_first(token_id: int) -> int:
    """Return the `tile_key` that an id carries, if it is that of a tile's first row."""
    return (token_id ^ _MARK) >> _ROW_BITS


def is_row(token_id: int) -> bool:
    """Tell whether an id stands for a row; it is a token's otherwise."""
    return bool(token_id & _MARK)
