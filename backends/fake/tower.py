"""The fake engine's tower: rows that tell which tile they are of and its mean colour, and words for colours.

Enough for tests to assert that a model was shown the right pictures, without one.
"""

from typing import Any, Final

import numpy as np

from backends.errors import EngineError
from backends.sequence import Sequence, Tile
from backends.step import Chunk

ROW_WIDTH: Final = 8
_NUM_CHANNELS: Final = 3
COLOURS: Final = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "purple": (255, 0, 255),
}
"""Corners of the cube of colours."""
_Values = np.ndarray[Any, np.dtype[np.float32]]


def rows_of(tile: Tile) -> _Values:
    """Return a tile's rows, shape (size, ROW_WIDTH): its mean colour, 0 to 255, then numbers that are its own."""
    own = _marks(tile)
    return np.hstack([np.broadcast_to(_mean_colour(tile), (tile.size, _NUM_CHANNELS)), own]).astype(np.float32)


def colours_seen(sequence: Sequence) -> str:
    """Return the word for the mean colour of each picture in a prompt, in order."""
    pictures = [image.tiles for image in sequence.images] or [(span.tile,) for span in sequence.spans]
    return ", ".join(_word(np.mean([_mean_colour(tile) for tile in tiles], axis=0)) for tiles in pictures)


def check_rows(chunk: Chunk) -> None:
    """Refuse a chunk that mixes rows and tokens, has rows of another tile, or a part of what has to be whole.

    Raises:
        EngineError: It is such a chunk.
    """
    touched = [s for s in chunk.sequence.spans if s.start < chunk.end and chunk.start < s.end]
    if not touched:
        return
    span = touched[0]
    is_inside = span.start <= chunk.start and chunk.end <= span.end
    if len(touched) > 1 or not is_inside:
        raise EngineError("fake: a chunk has both tokens and rows, or rows of two tiles")
    if span.is_whole and chunk.num_tokens != span.tile.size:
        raise EngineError("fake: a part of a picture that has to be whole")
    if span.tile.rows is None:
        raise EngineError("fake: rows of a tile that the tower has not seen")
    marks = _marks(span.tile)[chunk.start - span.start : chunk.end - span.start]
    if chunk.rows is None or not np.array_equal(chunk.rows[:, _NUM_CHANNELS:], marks):
        raise EngineError("fake: rows of another tile, or not in their order")


def _marks(tile: Tile) -> _Values:
    seed = np.random.default_rng(list(tile.digest))
    return seed.random((tile.size, ROW_WIDTH - _NUM_CHANNELS), np.float32)


def _mean_colour(tile: Tile) -> _Values:
    """Return the mean of each channel; of the rows where the pixels are gone."""
    values = tile.pixels if tile.rows is None else tile.rows[:, :_NUM_CHANNELS]
    return np.asarray(values.reshape(-1, _NUM_CHANNELS).mean(axis=0), np.float32)


def _word(colour: _Values) -> str:
    return min(COLOURS, key=lambda name: float(np.square(colour - np.array(COLOURS[name])).sum()))
