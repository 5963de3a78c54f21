"""The tiles that a worker knows, and the rows that its tower has made of them.

Not here: what makes rows, and in which order. No pixel is decoded here, so that workers of text models need no Pillow.
"""

import weakref
from typing import Any, Final

import numpy as np

from backends.errors import ImageError
from backends.row_ids import is_row, key_of_first, tile_key
from backends.sequence import Tile

MAX_BYTES: Final = 128 * 2**20
"""Rows of a hundred pictures and more of most models; one of 1024 rows of 8192 values has 32 MiB."""

_NO_PIXELS: Final[np.ndarray[Any, np.dtype[np.uint8]]] = np.empty((0, 0, 3), np.uint8)


class TileCache:
    """Owns one object for each different tile: as long as anybody else holds it, and as long as there is room for it.

    A tile has its pixels until it has rows. The least recently used ones go first; those that sequences hold stay
    theirs, with their rows.

    Args:
        max_bytes: Room for pixels and rows, all tiles together.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._known: weakref.WeakValueDictionary[int, Tile] = weakref.WeakValueDictionary()
        self._kept: dict[int, tuple[Tile, int]] = {}  # with their bytes; by use, the latest last
        self._num_bytes = 0

    @property
    def num_bytes(self) -> int:
        """Pixels and rows that are kept whether anybody holds them or not."""
        return self._num_bytes

    def intern(self, tile: Tile) -> Tile:
        """Return the tile that is known of this digest, perhaps with its rows; this one if it is new.

        Raises:
            ImageError: Another tile has the same ids, and would be taken for this one.
        """
        key = tile_key(tile.digest)
        known = self._known.setdefault(key, tile)
        if known.digest != tile.digest:
            raise ImageError(
                "the picture cannot be told from another one that was sent before; change its size a little"
            )
        self._use(key, known)
        return known

    def find(self, token_id: int) -> Tile | None:
        """Return the tile whose first row an id stands for; None for others, and for what is not known any more.

        Clients whose numbers are doubles give ids back rounded, which loses the number of the row only.
        """
        key = key_of_first(int(float(token_id)))
        tile = self._known.get(key) if is_row(token_id) else None
        if tile is not None:
            self._use(key, tile)
        return tile

    def on_encoded(self, tile: Tile) -> None:
        """Note that a tile has got its rows, which its pixels are not needed beside."""
        assert tile.rows is not None, "the tower has made them"
        tile.pixels = _NO_PIXELS
        self._use(tile_key(tile.digest), tile)

    def clear(self) -> None:
        """Keep none but those that sequences hold."""
        self._kept.clear()
        self._num_bytes = 0

    def _use(self, key: int, tile: Tile) -> None:
        """Keep a tile as the last used one, and no more than there is room for."""
        _, num_before = self._kept.pop(key, (tile, 0))
        num_now = _num_bytes(tile)
        self._kept[key] = tile, num_now
        self._num_bytes += num_now - num_before
        while self._num_bytes > self._max_bytes:
            _, num_gone = self._kept.pop(next(iter(self._kept)))
            self._num_bytes -= num_gone


def _num_bytes(tile: Tile) -> int:
    return tile.pixels.nbytes + (0 if tile.rows is None else tile.rows.nbytes)
