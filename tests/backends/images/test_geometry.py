"""Both formats of a model say the same of its sizes, and no size breaks a family."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.images.decoding import Size
from backends.images.families import FAMILIES
from backends.images.limits import MAX_ASPECT, MAX_IMAGE_PIXELS
from backends.images.preparing import planned
from tests.backends.images.families import PUBLISHED, folder_tower, gguf_tower, sizes
from tests.support import tiny_projector

pytestmark = pytest.mark.slow


def test_each_family_of_the_table_has_a_published_model_and_a_projector() -> None:
    assert set(FAMILIES) == set(PUBLISHED) == set(tiny_projector.PROJECTORS)


@pytest.mark.parametrize("family", FAMILIES)
def test_both_formats_say_the_same_of_a_tower(family: str) -> None:
    """The same picture has the same rows on both engines."""
    of_folder, of_gguf = folder_tower(family), gguf_tower(family)
    for size in sizes():
        assert planned(size, of_folder) == planned(size, of_gguf)
    assert of_folder == of_gguf


SIZES = st.tuples(st.integers(1, 12_000), st.integers(1, 12_000)).filter(
    lambda size: max(size) <= MAX_ASPECT * min(size) and size[0] * size[1] <= MAX_IMAGE_PIXELS
)


@pytest.mark.parametrize("family", FAMILIES)
@given(size=SIZES, max_side=st.none() | st.integers(1, 4096))
def test_no_size_breaks_a_family(family: str, size: tuple[int, int], max_side: int | None) -> None:
    tower = folder_tower(family)
    layout = planned(Size(*size), tower, max_side)
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
    rows = [planned(Size(*size), tower, side).num_rows for side in (256, 512, 1024, 2048)]
    assert rows == sorted(rows)
