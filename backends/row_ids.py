"""The ids that stand for an image's rows among a sequence's tokens, made of what the tower sees.

Equal tiles have equal ids, in all workers and after a restart, so that whatever compares tokens (the radix index,
forks, saved caches) compares pictures as well. Clients cannot forge one: ids beyond the vocabulary are refused where
they come in.
"""

import hashlib
from typing import Any, Final, NamedTuple

import numpy as np

NUM_ROWS_LIMIT: Final = 1 << 16
"""No tile has more rows: their number is 16 bits of an id."""

_MARK: Final = 1 << 62
"""Above any vocabulary, and below the sign bit of the 64 that frames and saved caches have."""
_ROW_BITS: Final = 16
_HASH_BITS: Final = 46


class RowId(NamedTuple):
    """What an id says.

    Attributes:
        tile: The upper bits of the tile's digest.
        row: Number of the row in the tile.
    """

    tile: int
    row: int


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
    first = _MARK | tile_key(digest) << _ROW_BITS
    return list(range(first, first + num_rows))


def tile_key(digest: bytes) -> int:
    """Return the part of a digest that ids carry."""
    return int.from_bytes(digest[:8]) >> (64 - _HASH_BITS)


def row_of(token_id: int) -> RowId | None:
    """Return which row an id stands for; None for a token."""
    if not token_id & _MARK:
        return None
    return RowId((token_id ^ _MARK) >> _ROW_BITS, token_id & (NUM_ROWS_LIMIT - 1))
