"""Rows, positions and pixels are those of llama.cpp's own library for vision towers, which is given prepared tiles."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from backends.images.decoding import RGB, Size
from backends.images.families import FAMILIES
from backends.images.geometry import mrope_positions
from backends.images.preparing import fitted, planned, tower_input
from backends.images.tower import Tower
from tests.backends.images.families import gguf_tower, noise, sizes
from tests.support import mtmd_oracle, tiny_projector
from tests.support.mtmd_oracle import Projector

pytestmark = pytest.mark.slow

Load = Callable[[str, tuple[int, int] | None], AbstractContextManager[Projector]]


@pytest.fixture(scope="session")
def projectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("projectors")
    for family in tiny_projector.PROJECTORS:
        tiny_projector.write_text_model(folder / f"{family}-text.gguf", family)
        tiny_projector.write_projector(folder / f"{family}.gguf", family)
    return folder


@pytest.fixture
def load(projectors: Path) -> Load:
    @contextmanager
    def loaded(family: str, limits: tuple[int, int] | None) -> Iterator[Projector]:
        text, vision = projectors / f"{family}-text.gguf", projectors / f"{family}.gguf"
        with mtmd_oracle.loaded(text, vision, limits) as projector:
            yield projector

    return loaded


@pytest.mark.parametrize("family", FAMILIES)
def test_libmtmd_takes_a_prepared_tile_as_it_is(family: str, load: Load) -> None:
    """It counts the same rows and positions for the size that it is given, at all sizes that a tile may have."""
    tower, row = gguf_tower(family), FAMILIES[family]
    layouts = [planned(size, tower) for size in sizes()]
    limits = row.token_limits(layouts[0].tile_grid) if row.token_limits is not None else None
    with load(family, limits) as projector:
        assert projector.uses_mrope == row.uses_mrope
        assert projector.is_non_causal(*layouts[0].tile_size) == tower.is_bidirectional
        for layout in layouts:
            grid = layout.tile_grid
            chunks = projector.chunks_of(*layout.tile_size)
            # A tiled tower's one tile comes as such and once more as the overview.
            assert len(chunks) == (2 if row.layout.__name__ == "tiled" else 1)
            assert chunks[0].num_rows == grid.num_cells
            assert chunks[0].num_positions == (grid.mrope_extent if row.uses_mrope else grid.num_cells)
            if row.uses_mrope:
                assert np.array_equal(mrope_positions(grid), chunks[0].places)


@pytest.mark.parametrize("family", ["idefics3", "gemma3", "llava"])
def test_libmtmd_cuts_pictures_into_as_many_tiles(family: str, load: Load) -> None:
    tower = gguf_tower(family)
    with load(family, None) as projector:
        for size in sizes():
            layout = planned(size, tower)
            chunks = projector.chunks_of(*size)
            assert (len(chunks), sum(chunk.num_rows for chunk in chunks)) == (layout.num_tiles, layout.num_rows)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_libmtmd_rounds_sizes_alike_but_for_halves(family: str, load: Load) -> None:
    """Where a side lies between two steps, libmtmd rounds up and the model's own processor to an even number."""
    tower = gguf_tower(family)
    assert tower.min_pixels is not None
    num_compared = 0
    with load(family, (1, 1 << 15)) as projector:
        for size in sizes(80):
            seen = planned(size, tower).seen
            is_halfway = any(side % tower.step * 2 == tower.step for side in size)
            rounded = [max(tower.step, round(side / tower.step) * tower.step) for side in size]
            if is_halfway or seen != tuple(rounded):
                continue
            num_compared += 1
            (chunk,) = projector.chunks_of(*size)
            assert chunk.num_rows == planned(size, tower).num_rows
    assert num_compared >= 50


def test_the_bounds_of_the_pixels_are_kept(load: Load) -> None:
    """Where a picture is scaled up or down to them, libmtmd agrees as well, told the same bounds."""
    limits = (64, 256)
    area = gguf_tower("qwen2_vl").step ** 2
    tower = msgspec.structs.replace(gguf_tower("qwen2_vl"), min_pixels=limits[0] * area, max_pixels=limits[1] * area)
    with load("qwen2_vl", limits) as projector:
        for size in sizes():
            if any(side % tower.step * 2 == tower.step for side in size):
                continue
            (chunk,) = projector.chunks_of(*size)
            assert chunk.num_rows == planned(size, tower).num_rows


def pixels_of(tile: RGB, tower: Tower) -> np.ndarray[Any, Any]:
    """Return what the tower is given of a tile, shape (3, height, width)."""
    if not FAMILIES[tower.family].takes_patches:
        return np.asarray(tower_input(tile, tower)[0])
    # Blocks of merged patches, in each two equal frames.
    patch, merge = tower.patch_size, tower.merge
    down, across = tile.shape[0] // tower.step, tile.shape[1] // tower.step
    blocks = tower_input(tile, tower).reshape(down, across, merge, merge, 3, 2, patch, patch)[:, :, :, :, :, 1]
    return np.asarray(blocks.transpose(4, 0, 2, 5, 1, 3, 6).reshape(3, *tile.shape[:2]))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tower_is_given_the_pixels_that_were_prepared(family: str, load: Load) -> None:
    """Bit by bit: libmtmd changes nothing but the colours, and those as we do for MLX."""
    tower, row = gguf_tower(family), FAMILIES[family]
    prepared = [fitted(noise(size), tower) for size in (Size(300, 200), Size(97, 301), Size(40, 40))]
    limits = row.token_limits(prepared[0].layout.tile_grid) if row.token_limits is not None else None
    with load(family, limits) as projector:
        for tile in (tile for one in prepared for tile in one.tiles[-2:]):
            (given,) = projector.inputs_of(tile, 1)
            assert np.array_equal(given, pixels_of(tile, tower))


def test_libmtmd_cuts_the_same_tiles(load: Load) -> None:
    """Its own tiles of Idefics3 are ours, in our order; its own filter differs by a few shades."""
    tower = gguf_tower("idefics3")
    with load("idefics3", None) as projector:
        for size in (Size(300, 200), Size(97, 301)):
            picture = noise(size)
            given = projector.inputs_of(picture.rgb)
            tiles = fitted(picture, tower).tiles
            assert len(given) == len(tiles)
            for one, tile in zip(given, tiles, strict=True):
                difference = np.abs(one - pixels_of(tile, tower))
                assert difference.max() < 6 / 127.5
                assert difference.mean() < 0.5 / 127.5
