"""The size in which a tower sees a picture, how it is cut, how many rows that gives: arithmetic on sizes only.

The reference is each family's own image processor in transformers, which the model was trained with. libmtmd rounds
otherwise at some sizes, so that it is only ever given tiles that have the tower's size already; it leaves those as they
are (`Family.token_limits`).
"""

import math
from typing import Any, Final

import msgspec
import numpy as np

from backends.images.decoding import Size, bounded
from backends.images.tower import Tower
from backends.sequence import Grid

Positions = np.ndarray[Any, np.dtype[np.int32]]

_BUDGETS: Final = (70, 140, 280, 560, 1120)
"""Source: transformers 5.23, image_processing_pil_gemma4.py, _SUPPORTED_SOFT_TOKENS."""


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """How one picture is shown to a tower.

    Attributes:
        resizes: Sizes it is scaled to, one after the other; the last one is what the tower sees.
        tiles: How the last size is cut into tiles, from left to right, then downwards.
        has_overview: Whether the whole, scaled to one tile, comes after the tiles.
        tile_grid: The embeddings ("rows" of hidden states) of one tile, as they lie in the picture.
    """

    resizes: tuple[Size, ...]
    tiles: Grid = Grid(1, 1)
    has_overview: bool = False
    tile_grid: Grid

    @property
    def seen(self) -> Size:
        """The picture's size as the tower sees it; boxes that a model names refer to it."""
        return self.resizes[-1]

    @property
    def tile_size(self) -> Size:
        """Pixels of one tile, and of the overview."""
        return Size(self.seen.width // self.tiles.columns, self.seen.height // self.tiles.rows)

    @property
    def num_tiles(self) -> int:
        """Pictures that the tower is given, the overview among them."""
        return self.tiles.num_cells + self.has_overview

    @property
    def num_rows(self) -> int:
        """Embeddings of the whole picture: its tokens, without those around it."""
        return self.num_tiles * self.tile_grid.num_cells


def fixed(size: Size, tower: Tower, max_side: int | None) -> Layout:  # noqa: ARG001 - the side is the tower's own
    """Lay out for a tower that sees one square.

    Source: transformers 5.23, image_processing_pil_gemma3.py and image_processing_pil_siglip.py.
    """
    side = tower.image_size
    assert side is not None
    return Layout(resizes=(Size(side, side),), tile_grid=_rows_of(Size(side, side), tower))


def tiled(size: Size, tower: Tower, max_side: int | None) -> Layout:
    """Lay out for a tower that sees squares, into which a scaled picture is cut, and then the whole.

    A bound below the family's own is kept in whole tiles.

    Source: transformers 5.23, image_processing_pil_idefics3.py: resize, resize_for_vision_encoder, split_images.
    """
    tile, longest = tower.image_size, tower.longest_edge
    assert tile is not None
    assert longest is not None
    if max_side is not None:
        longest = min(longest, max(1, max_side // tile) * tile)
    scaled = _scaled_to(size, longest)
    square = Size(tile, tile)
    whole = _in_whole_tiles(scaled, tile) if tower.is_split else square
    tiles = Grid(whole.height // tile, whole.width // tile)
    return Layout(
        resizes=(scaled, whole),
        tiles=tiles,
        has_overview=tiles.num_cells > 1,
        tile_grid=_rows_of(square, tower),
    )


def _scaled_to(size: Size, longest: int) -> Size:
    """Source: _resize_output_size_rescale_to_max_len: the shorter side is cut to an integer, then made even."""
    aspect = size.width / size.height
    if size.width >= size.height:
        height = int(longest / aspect)
        return Size(longest, max(1, height + height % 2))
    width = int(longest * aspect)
    return Size(max(1, width + width % 2), longest)


def _in_whole_tiles(size: Size, tile: int) -> Size:
    """Source: resize_for_vision_encoder: the shorter side follows the rounded longer one before it is rounded."""
    aspect = size.width / size.height
    if size.width >= size.height:
        width = _up(size.width, tile)
        return Size(width, _up(int(width / aspect), tile))
    height = _up(size.height, tile)
    return Size(_up(int(height * aspect), tile), height)


def _up(value: float, step: int) -> int:
    return math.ceil(value / step) * step


def _down(value: float, step: int) -> int:
    return math.floor(value / step) * step


def aligned(size: Size, tower: Tower, max_side: int | None) -> Layout:
    """Lay out for a tower that takes any size of whole steps, between two numbers of pixels.

    Source: transformers 5.23, image_processing_pil_qwen2_vl.py, smart_resize; Python's round, halves to even.
    """
    width, height = bounded(size, max_side)
    step, least, most = tower.step, tower.min_pixels, tower.max_pixels
    assert least is not None
    assert most is not None
    seen = Size(round(width / step) * step, round(height / step) * step)
    if seen.width * seen.height > most:
        beta = math.sqrt(height * width / most)
        seen = Size(max(step, _down(width / beta, step)), max(step, _down(height / beta, step)))
    elif seen.width * seen.height < least:
        beta = math.sqrt(least / (height * width))
        seen = Size(_up(width * beta, step), _up(height * beta, step))
    return Layout(resizes=(seen,), tile_grid=_rows_of(seen, tower))


def budgeted(size: Size, tower: Tower, max_side: int | None) -> Layout:
    """Lay out for a tower that scales every picture, up or down, to fill a budget of rows.

    A bound below the model's own becomes the least budget the family was trained with that can hold such a square.

    Source: transformers 5.23, image_processing_pil_gemma4.py, get_aspect_ratio_preserving_size.
    """
    step, budget = tower.step, tower.max_rows
    assert budget is not None
    if max_side is not None:
        wanted = (max_side // step) ** 2
        budget = next((least for least in _BUDGETS if wanted <= least <= budget), budget)
    factor = math.sqrt(budget * step**2 / (size.width * size.height))
    width, height = _down(factor * size.width, step), _down(factor * size.height, step)
    if height == 0:
        seen = Size(min(size.width // size.height, budget) * step, step)
    elif width == 0:
        seen = Size(step, min(size.height // size.width, budget) * step)
    else:
        seen = Size(width, height)
    return Layout(resizes=(seen,), tile_grid=_rows_of(seen, tower))


def _rows_of(tile: Size, tower: Tower) -> Grid:
    patch, merge = tower.patch_size, tower.merge
    return Grid(tile.height // patch // merge, tile.width // patch // merge)


def mrope_positions(grid: Grid) -> Positions:
    """Return each row's (time, height, width) from the tile's first position, shape (rows, 3).

    Source: transformers 5.23, modeling_qwen2_vl.py, get_vision_position_ids; libmtmd's decoder positions agree.
    """
    down, across = np.divmod(np.arange(grid.num_cells, dtype=np.int32), np.int32(grid.columns))
    return np.stack([np.zeros_like(down), down, across], axis=1)
