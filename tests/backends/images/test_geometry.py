"""Sizes, tiles, rows and positions as libmtmd counts them, and what may never happen at any size."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.images.decoding import Size
from backends.images.families import FAMILIES
from backends.images.geometry import Layout, mrope_positions, num_positions
from backends.images.limits import MAX_ASPECT, MAX_IMAGE_PIXELS
from backends.images.tower import Tower
from tests.backends.images.families import PUBLISHED, folder_tower, gguf_tower, sizes
from tests.support import mtmd_counting, tiny_projector
from tests.support.mtmd_counting import Counter

Load = Callable[[str, tuple[int, int] | None], AbstractContextManager[Counter]]


def layout_of(size: Size, tower: Tower, max_side: int | None = None) -> Layout:
    return FAMILIES[tower.family].layout(size, tower, max_side)


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
    def loaded(family: str, limits: tuple[int, int] | None) -> Iterator[Counter]:
        text, projector = projectors / f"{family}-text.gguf", projectors / f"{family}.gguf"
        with mtmd_counting.loaded(text, projector, limits) as counter:
            yield counter

    return loaded


def test_each_family_of_the_table_has_a_published_model_and_a_projector() -> None:
    assert set(FAMILIES) == set(PUBLISHED) == set(tiny_projector.PROJECTORS)


@pytest.mark.parametrize("family", FAMILIES)
def test_both_formats_say_the_same_of_a_tower(family: str) -> None:
    """The same picture has the same rows on both engines."""
    of_folder, of_gguf = folder_tower(family), gguf_tower(family)
    for size in sizes():
        assert layout_of(size, of_folder) == layout_of(size, of_gguf)
    assert of_folder.is_bidirectional == of_gguf.is_bidirectional
    assert of_folder.resampling == of_gguf.resampling


@pytest.mark.parametrize("family", FAMILIES)
def test_libmtmd_takes_a_prepared_tile_as_it_is(family: str, load: Load) -> None:
    """It counts the same rows and positions for the size that it is given, at all sizes that a tile may have."""
    tower, row = gguf_tower(family), FAMILIES[family]
    layouts = [layout_of(size, tower) for size in sizes()]
    limits = row.token_limits(layouts[0].tile_grid) if row.token_limits is not None else None
    with load(family, limits) as counter:
        assert counter.uses_mrope == row.uses_mrope
        assert counter.is_non_causal(*layouts[0].tile_size) == tower.is_bidirectional
        for layout in layouts:
            grid = layout.tile_grid
            chunks = counter.chunks_of(*layout.tile_size)
            # A tiled tower's one tile comes as the overview, first, and once more.
            assert len(chunks) == (2 if row.layout.__name__ == "tiled" else 1)
            assert chunks[0].num_rows == grid.num_cells
            assert chunks[0].num_positions == num_positions(grid, uses_mrope=row.uses_mrope)
            if row.uses_mrope:
                assert np.array_equal(mrope_positions(grid), chunks[0].places)


@pytest.mark.parametrize("family", ["idefics3", "gemma3", "llava"])
def test_libmtmd_cuts_pictures_into_as_many_tiles(family: str, load: Load) -> None:
    tower = gguf_tower(family)
    with load(family, None) as counter:
        for size in sizes():
            layout = layout_of(size, tower)
            chunks = counter.chunks_of(*size)
            assert (len(chunks), sum(chunk.num_rows for chunk in chunks)) == (layout.num_tiles, layout.num_rows)


@pytest.mark.parametrize("family", ["qwen2_vl", "qwen2_5_vl", "qwen3_vl"])
def test_libmtmd_rounds_sizes_alike_but_for_halves(family: str, load: Load) -> None:
    """Where a side lies between two steps, libmtmd rounds up and the model's own processor to an even number."""
    tower = gguf_tower(family)
    assert tower.min_pixels is not None
    num_compared = 0
    with load(family, (1, 1 << 15)) as counter:
        for size in sizes(80):
            seen = layout_of(size, tower).seen
            is_halfway = any(side % tower.step * 2 == tower.step for side in size)
            rounded = [max(tower.step, round(side / tower.step) * tower.step) for side in size]
            if is_halfway or seen != tuple(rounded):
                continue
            num_compared += 1
            (chunk,) = counter.chunks_of(*size)
            assert chunk.num_rows == layout_of(size, tower).num_rows
    assert num_compared >= 50


def test_the_bounds_of_the_pixels_are_kept(load: Load) -> None:
    """Where a picture is scaled up or down to them, libmtmd agrees as well, told the same bounds."""
    limits = (64, 256)
    area = gguf_tower("qwen2_vl").step ** 2
    tower = msgspec.structs.replace(gguf_tower("qwen2_vl"), min_pixels=limits[0] * area, max_pixels=limits[1] * area)
    with load("qwen2_vl", limits) as counter:
        for size in sizes():
            if any(side % tower.step * 2 == tower.step for side in size):
                continue
            (chunk,) = counter.chunks_of(*size)
            assert chunk.num_rows == layout_of(size, tower).num_rows


SIZES = st.tuples(st.integers(1, 12_000), st.integers(1, 12_000)).filter(
    lambda size: max(size) <= MAX_ASPECT * min(size) and size[0] * size[1] <= MAX_IMAGE_PIXELS
)


@pytest.mark.parametrize("family", FAMILIES)
@given(size=SIZES, max_side=st.none() | st.integers(1, 4096))
def test_no_size_breaks_a_family(family: str, size: tuple[int, int], max_side: int | None) -> None:
    tower = folder_tower(family)
    layout = layout_of(Size(*size), tower, max_side)
    assert all(min(step) >= 1 for step in layout.resizes)
    tile = layout.tile_size
    assert tile.width * layout.tiles.columns == layout.seen.width
    assert tile.height * layout.tiles.rows == layout.seen.height
    assert layout.tile_grid.rows * tower.step <= tile.height < (layout.tile_grid.rows + 1) * tower.step
    assert layout.tile_grid.columns * tower.step <= tile.width < (layout.tile_grid.columns + 1) * tower.step
    assert 1 <= layout.tile_grid.num_cells <= 1 << 16
    assert layout.num_rows <= 1 << 15


@given(SIZES)
def test_a_longer_side_never_gives_fewer_tiles(size: tuple[int, int]) -> None:
    tower = folder_tower("idefics3")
    rows = [layout_of(Size(*size), tower, side).num_rows for side in (256, 512, 1024, 2048)]
    assert rows == sorted(rows)
