"""A decoded picture as a tower sees it: scaled, cut into tiles, and as the arrays that towers take."""

from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from backends.images.decoding import RGB, Picture, Size, decode
from backends.images.families import FAMILIES, Piece
from backends.images.geometry import Layout
from backends.images.tower import Fit, Tower
from backends.sequence import Grid

Pixels = np.ndarray[Any, np.dtype[np.float32]]

_TEMPORAL_PATCH = 2
"""A still picture is shown as two equal frames. Source: transformers 5.23, image_processing_pil_qwen2_vl.py."""


class Prepared(NamedTuple):
    """A picture in the tower's size, before its colours become floats.

    Attributes:
        tiles: In the layout's order, all of one size.
        around: What stands for the picture in a prompt: texts, and numbers of tiles for their rows.
        original: The size of the file's picture, upright.
    """

    tiles: tuple[RGB, ...]
    layout: Layout
    around: tuple[Piece, ...]
    original: Size


def prepare(data: bytes, tower: Tower, max_side: int | None = None) -> Prepared:
    """Decode a file and make of it what a tower sees.

    A longest side bounds what towers of any size see, and how many tiles or rows others make; those that see one square
    have it whatever the bound: there a smaller picture would only be a blurred one.

    Raises:
        ImageError: The file cannot be used.
    """
    is_of_any_size = tower.max_pixels is not None
    return fitted(decode(data, max_side if is_of_any_size else None), tower, max_side)


def planned(size: Size, tower: Tower, max_side: int | None = None) -> Layout:
    """Return how a picture of a size would be laid out; what `prepare` makes of it has that many rows."""
    return FAMILIES[tower.family].layout(size, tower, max_side)


def num_whole_rows(tower: Tower) -> int:
    """Return how many rows of a tile one step must be able to evaluate at once; 0 = any number will do."""
    if not tower.is_bidirectional:
        return 0
    if tower.max_rows is not None:
        return tower.max_rows
    assert tower.image_size is not None
    return planned(Size(tower.image_size, tower.image_size), tower).tile_grid.num_cells


def fitted(picture: Picture, tower: Tower, max_side: int | None = None) -> Prepared:
    """Scale and cut a picture for a tower."""
    layout = planned(picture.size, tower, max_side)
    image = Image.fromarray(picture.rgb)
    if tower.fit is Fit.PAD:
        image = _padded(image, tower)
    for size in layout.resizes:
        image = image.resize(size, tower.resampling)
    around = FAMILIES[tower.family].around(layout)
    return Prepared(_tiles_of(image, layout, tower), layout, around, picture.original)


def _padded(image: Image.Image, tower: Tower) -> Image.Image:
    """Source: transformers 5.23, image_processing_pil_llava.py, pad_to_square."""
    side = max(image.size)
    red, green, blue = (int(value * 255) for value in tower.mean)
    square = Image.new("RGB", (side, side), (red, green, blue))
    square.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return square


def _tiles_of(image: Image.Image, layout: Layout, tower: Tower) -> tuple[RGB, ...]:
    width, height = layout.tile_size
    tiles = [
        np.asarray(image.crop((left, top, left + width, top + height)))
        for top in range(0, image.height, height)
        for left in range(0, image.width, width)
    ]
    if layout.has_overview:
        tiles.append(np.asarray(image.resize(layout.tile_size, tower.resampling)))
    return tuple(tiles)


def tower_input(tile: RGB, tower: Tower) -> Pixels:
    """Return one tile as the tower takes it.

    Returns:
        (1, 3, height, width); for towers that take patches (patches, 3 * 2 * patch * patch), those of one row together.
    """
    normalized = _normalized(tile, tower).transpose(2, 0, 1)
    if not FAMILIES[tower.family].takes_patches:
        return np.ascontiguousarray(normalized)[None]
    patch, merge = tower.patch_size, tower.merge
    down, across = tile.shape[0] // tower.step, tile.shape[1] // tower.step
    blocks = normalized.reshape(3, down, merge, patch, across, merge, patch).transpose(1, 4, 2, 5, 0, 3, 6)
    frames = np.broadcast_to(blocks[..., None, :, :], (*blocks.shape[:5], _TEMPORAL_PATCH, patch, patch))
    return frames.reshape(down * across * merge**2, -1)


def patch_grid(grid: Grid, tower: Tower) -> tuple[int, int, int]:
    """Return the (time, height, width) of a tile in patches, which towers that take patches are told with them.

    Args:
        grid: Of the tile's rows.
    """
    return (1, grid.rows * tower.merge, grid.columns * tower.merge)


def _normalized(tile: RGB, tower: Tower) -> Pixels:
    """Look up what each of the 256 values becomes, rounded as transformers' `rescale` and `normalize` round."""
    scaled = (np.arange(256) * (1 / 255)).astype(np.float32)
    mean, std = np.array(tower.mean, np.float32), np.array(tower.std, np.float32)
    table = (scaled[:, None] - mean) / std
    return table[tile, np.arange(3)]
