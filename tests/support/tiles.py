"""Pictures for tests of what is above the engines: tiles of one colour, and prompts of tokens and tiles."""

import numpy as np

from backends.row_ids import row_ids, tile_digest
from backends.sequence import EmbeddingSpan, Grid, Tile

SIDE = 8
"""Pixels of a tile's side."""
Colour = tuple[int, int, int]


def tile_of(colour: Colour, num_rows: int = 2, num_columns: int = 3) -> Tile:
    """Return a new tile of one colour, without rows."""
    pixels = np.full((SIDE, SIDE, 3), colour, np.uint8)
    grid = Grid(num_rows, num_columns)
    return Tile(tile_digest(pixels, grid, family="llava", fingerprint="test"), pixels, grid)


def ids_of(tile: Tile) -> list[int]:
    return row_ids(tile.digest, tile.grid)


def spliced(*pieces: list[int] | Tile, is_whole: bool = False) -> tuple[list[int], tuple[EmbeddingSpan, ...]]:
    """Put a prompt together of tokens and tiles; return its ids and its spans."""
    token_ids: list[int] = []
    spans: list[EmbeddingSpan] = []
    for piece in pieces:
        if isinstance(piece, Tile):
            spans.append(EmbeddingSpan(len(token_ids), piece, is_whole))
            token_ids += ids_of(piece)
        else:
            token_ids += piece
    return token_ids, tuple(spans)
