"""Pixels and rows of every family equal those of transformers' image processors, bit by bit."""

import importlib
from typing import Any

import numpy as np
import pytest

from backends.errors import ImageError
from backends.images.decoding import Picture, Size, original_size
from backends.images.folder import tower_of_folder
from backends.images.preparing import Prepared, fitted, patch_grid, planned, prepare, tower_input
from backends.images.tower import Fit, Tower
from tests.backends.images.families import PUBLISHED, folder_tower, noise, sizes
from tests.support import image_files


def processor_of(family: str, **options: Any) -> Any:
    module, name = PUBLISHED[family].processor
    processors = importlib.import_module(f"transformers.models.{module}.image_processing_pil_{module}")
    return getattr(processors, name)(**PUBLISHED[family].preprocessor | options)


def reference(processor: Any, picture: Picture, family: str) -> np.ndarray[Any, Any]:
    """Return what transformers makes of a picture, in the shape that towers of mlx-vlm take."""
    out = processor([picture.rgb], return_tensors="np", input_data_format="channels_last")
    pixels: np.ndarray[Any, Any] = np.asarray(out["pixel_values"])
    if family == "idefics3":
        return np.asarray(pixels[0])
    if family != "gemma4":
        return pixels
    # Flat patches, padded; mlx-vlm cuts the picture into patches itself.
    num_patches = int(out["num_soft_tokens_per_image"][0]) * processor.pooling_kernel_size**2
    columns, rows = out["image_position_ids"][0][:num_patches].max(axis=0) + 1
    side = processor.patch_size
    patches = pixels[0][:num_patches].reshape(rows, columns, side, side, 3)
    return np.asarray(patches.transpose(4, 0, 2, 1, 3).reshape(1, 3, rows * side, columns * side))


def inputs_of(prepared: Prepared, tower: Tower) -> np.ndarray[Any, Any]:
    return np.concatenate([tower_input(tile, tower) for tile in prepared.tiles])


# SmolVLM's tiles at a quarter of their size: transformers takes a second and more for each picture at the full one.
SMALLER = {"idefics3": {"size": {"longest_edge": 512}, "max_image_size": {"longest_edge": 128}}}


@pytest.mark.slow
@pytest.mark.parametrize("family", PUBLISHED)
def test_pixels_equal_those_of_transformers_at_fifty_sizes(family: str) -> None:
    published, options = PUBLISHED[family], SMALLER.get(family, {})
    tower = tower_of_folder(family, published.config, published.preprocessor | options)
    processor = processor_of(family, **options)
    different = []
    for size in sizes():
        picture = noise(size)
        prepared = fitted(picture, tower)
        wanted = reference(processor, picture, family)
        seen = inputs_of(prepared, tower)
        if seen.shape != wanted.shape or not np.array_equal(seen, wanted):
            different.append((size, seen.shape, wanted.shape))
    assert different == []


@pytest.mark.slow
def test_pixels_of_full_tiles_equal_those_of_transformers() -> None:
    tower, processor = folder_tower("idefics3"), processor_of("idefics3")
    for size in (Size(640, 480), Size(70, 71), Size(300, 2)):
        picture = noise(size)
        wanted = reference(processor, picture, "idefics3")
        assert np.array_equal(inputs_of(fitted(picture, tower), tower), wanted)


@pytest.mark.parametrize("family", [name for name in PUBLISHED if name.startswith("qwen")])
@pytest.mark.slow
def test_the_grid_of_patches_is_the_one_that_transformers_tells_the_tower(family: str) -> None:
    tower, processor = folder_tower(family), processor_of(family)
    for size in sizes(20, longest=400):
        picture = noise(size)
        out = processor([picture.rgb], return_tensors="np", input_data_format="channels_last")
        layout = fitted(picture, tower).layout
        assert patch_grid(layout.tile_grid, tower) == tuple(out["image_grid_thw"][0])
        assert layout.num_rows == len(out["pixel_values"]) // tower.merge**2


def test_the_rows_of_gemma_4_are_those_that_transformers_counts() -> None:
    tower, processor = folder_tower("gemma4"), processor_of("gemma4")
    for size in sizes(20, longest=400):
        picture = noise(size)
        out = processor([picture.rgb], return_tensors="np", input_data_format="channels_last")
        assert fitted(picture, tower).layout.num_rows == out["num_soft_tokens_per_image"][0]


def test_without_splitting_a_tiled_tower_sees_one_tile() -> None:
    published = PUBLISHED["idefics3"]
    options = {"do_image_splitting": False}
    processor = processor_of("idefics3", **options)
    tower = tower_of_folder("idefics3", published.config, published.preprocessor | options)
    picture = noise(Size(300, 200))
    prepared = fitted(picture, tower)
    assert np.array_equal(inputs_of(prepared, tower), reference(processor, picture, "idefics3"))
    assert prepared.layout.num_tiles == 1


def test_a_picture_is_padded_as_transformers_pads_it() -> None:
    from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil

    published = PUBLISHED["llava"]
    options = published.preprocessor | {"do_pad": True, "do_center_crop": False}
    tower = tower_of_folder("llava", published.config, options)
    assert tower.fit is Fit.PAD
    processor = LlavaImageProcessorPil(**options)
    for size in (Size(300, 201), Size(7, 150), Size(64, 64)):
        picture = noise(size)
        wanted = reference(processor, picture, "llava")
        assert np.array_equal(inputs_of(fitted(picture, tower), tower), wanted)


@pytest.mark.parametrize(
    ("family", "side", "seen", "num_rows"),
    [
        ("qwen2_vl", 448, (448, 336), 192),
        ("qwen2_vl", 192, (196, 140), 35),
        ("qwen3_vl", 448, (448, 320), 140),
        ("idefics3", 448, (512, 512), 64),
        ("idefics3", 512, (512, 512), 64),
        ("idefics3", 1100, (1024, 1024), 320),
        ("idefics3", 5000, (2048, 1536), 832),
        ("qwen2_vl", None, (1204, 896), 1376),
        ("gemma3", 192, (896, 896), 256),
        ("llava", 192, (384, 384), 729),
        ("gemma4", 384, (432, 336), 63),
        ("gemma4", 448, (624, 480), 130),
        ("gemma4", 5000, (912, 672), 266),
    ],
)
def test_a_longest_side_bounds_what_is_seen(
    family: str, side: int | None, seen: tuple[int, int], num_rows: int
) -> None:
    data = image_files.encoded(image_files.picture(1200, 900), "JPEG")
    prepared = prepare(data, folder_tower(family), side)
    assert (prepared.layout.seen, prepared.layout.num_rows) == (seen, num_rows)
    assert prepared.original == (1200, 900)


@pytest.mark.parametrize("family", PUBLISHED)
@pytest.mark.parametrize("side", [None, 61, 100])
@pytest.mark.slow
def test_what_is_planned_from_the_header_is_what_is_made(family: str, side: int | None) -> None:
    """So that tokens are counted, and the context is checked, before anything is decoded."""
    tower = folder_tower(family)
    for size in sizes(60, longest=300)[-20:]:
        data = image_files.encoded(image_files.picture(*size), "JPEG", exif=image_files.exif(6))
        made = prepare(data, tower, side)
        assert original_size(data) == made.original == (size.height, size.width)
        assert planned(original_size(data), tower, side) == made.layout


def test_a_file_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(ImageError, match="empty"):
        prepare(b"", folder_tower("llava"))


def test_tiles_are_what_they_were_cut_from() -> None:
    tower = folder_tower("idefics3")
    prepared = fitted(noise(Size(900, 500)), tower)
    rows, columns = prepared.layout.tiles
    assert len(prepared.tiles) == rows * columns + 1
    assert {tile.shape for tile in prepared.tiles} == {(512, 512, 3)}
    assert prepared.layout.num_rows == len(prepared.tiles) * 64
