"""The rows of tiles that sequences in mlx-lm's generator still have to evaluate, by ids beyond the vocabulary.

The ids of `Sequence.token_ids` have 63 bits and mean the same everywhere; those in here are dense, for a look-up on the
device, and belong to a place in a table as long as somebody holds them.
"""

from typing import NamedTuple

import mlx.core as mx

from backends.sequence import Tile


class _Place(NamedTuple):
    start: int
    size: int


class RowTable:
    """Places for rows; the array behind them exists while a tile is in use only, and grows without moving any.

    Args:
        first_id: Above any token's.
        dtype: Of the table; that of the model's own embeddings.
    """

    def __init__(self, first_id: int, dtype: mx.Dtype) -> None:
        self._first_id = first_id
        self._dtype = dtype
        self._places: dict[bytes, _Place] = {}
        self._num_holders: dict[bytes, int] = {}
        self._is_written: set[bytes] = set()
        self._rows: mx.array | None = None
        self._owners: mx.array | None = None

    @property
    def first_id(self) -> int:
        """The id of the first place; smaller ones are tokens."""
        return self._first_id

    @property
    def is_empty(self) -> bool:
        """Whether no tile has a place, and no memory is taken."""
        return not self._places and self._rows is None

    def hold(self, tile: Tile) -> range:
        """Give a tile's rows a place, or one holder more to the one that they have; return their ids, in order."""
        if tile.digest not in self._places:
            self._places[tile.digest] = _Place(self._free_start(tile.size), tile.size)
        self._num_holders[tile.digest] = self._num_holders.get(tile.digest, 0) + 1
        start = self._first_id + self._places[tile.digest].start
        return range(start, start + tile.size)

    def release(self, tile: Tile) -> None:
        """Take one holder away; the last one's place is free, and without any tile the array's memory, too."""
        self._num_holders[tile.digest] -= 1
        if self._num_holders[tile.digest] == 0:
            del self._num_holders[tile.digest], self._places[tile.digest]
            self._is_written.discard(tile.digest)
        if not self._places:
            self._rows = self._owners = None

    def write(self, tile: Tile) -> None:
        """Put a held tile's rows into their place, if they are not there yet."""
        if tile.digest in self._is_written:
            return
        assert tile.rows is not None, "its tile comes before its chunks"
        start, size = self._places[tile.digest]
        width = tile.rows.shape[1]
        rows, owners = self._grown(start + size, width)
        rows[start : start + size] = mx.array(tile.rows).astype(self._dtype)
        owners[start : start + size] = mx.full((size,), start, mx.int32)
        mx.eval(rows, owners)
        self._rows, self._owners = rows, owners
        self._is_written.add(tile.digest)

    def take(self, ids: mx.array) -> mx.array:
        """Look rows up, shape (*ids, width); where an id is a token's, some row or other."""
        assert self._rows is not None, "a tile was written"
        return self._rows[self._indices(ids)]

    def owners(self, ids: mx.array) -> mx.array:
        """Tell which ids are of one tile: they have one number, >= 0; those of tokens have -1."""
        assert self._owners is not None, "a tile was written"
        return mx.where(ids >= self._first_id, self._owners[self._indices(ids)], -1)

    def _indices(self, ids: mx.array) -> mx.array:
        return mx.maximum(ids - self._first_id, 0)

    def _free_start(self, size: int) -> int:
        """Return the start of the first gap that is large enough."""
        start = 0
        for place in sorted(self._places.values()):
            if place.start - start >= size:
                break
            start = place.start + place.size
        return start

    def _grown(self, num_rows: int, width: int) -> tuple[mx.array, mx.array]:
        """Return the arrays with room for so many rows; doubled, so that they are seldom copied."""
        if self._rows is None or self._owners is None:
            return mx.zeros((num_rows, width), self._dtype), mx.zeros((num_rows,), mx.int32)
        missing = num_rows - self._rows.shape[0]
        if missing <= 0:
            return self._rows, self._owners
        missing = max(missing, self._rows.shape[0])
        rows = mx.concatenate([self._rows, mx.zeros((missing, width), self._dtype)])
        return rows, mx.concatenate([self._owners, mx.zeros((missing,), mx.int32)])
