"""What a load says of a model's tower becomes pictures in prompts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.errors import ImageError, UnsupportedByModelError
from backends.images.families import FAMILIES
from backends.images.processor import ImageProcessor, tower_of
from backends.wire.load import VisionSpec
from backends.wire.prompts import ImagePart
from tests.backends.images.families import PUBLISHED, folder_tower, gguf_tower
from tests.support import image_files, tiny_projector

PHOTO = image_files.encoded(image_files.picture(1200, 900), "JPEG")


def part(data: bytes = PHOTO, max_side: int | None = 448) -> ImagePart:
    return ImagePart(data, "messages[0].content[1]", max_side)


def write_folder(folder: Path, family: str, name: str = "preprocessor_config.json") -> str:
    published = PUBLISHED[family]
    (folder / "config.json").write_text(json.dumps(published.config))
    (folder / name).write_text(json.dumps(published.preprocessor))
    return str(folder)


def projector_spec(family: str, **changes: Any) -> VisionSpec:
    metadata = tiny_projector.metadata_of(family)
    return VisionSpec(
        family=family, projector_metadata=metadata, text_width=tiny_projector.TEXT_WIDTH, fingerprint="f", **changes
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_a_tower_is_read_from_its_projector_or_its_folder(family: str, tmp_path: Path) -> None:
    assert tower_of(projector_spec(family), "/no/folder") == gguf_tower(family)
    folder = write_folder(tmp_path, family)
    assert tower_of(VisionSpec(family=family), folder) == folder_tower(family)


def test_a_processor_config_counts_where_there_is_no_other(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, "gemma4", "processor_config.json")
    assert tower_of(VisionSpec(family="gemma4"), folder) == folder_tower("gemma4")


def test_a_folder_without_what_is_needed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedByModelError, match=r"lacks preprocessor_config.json; pull"):
        tower_of(VisionSpec(family="gemma3"), str(tmp_path))
    folder = write_folder(tmp_path, "gemma3")
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(UnsupportedByModelError, match=r"config.json cannot be read"):
        tower_of(VisionSpec(family="gemma3"), folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_header_tells_how_many_rows_there_will_be(family: str) -> None:
    processor = ImageProcessor(gguf_tower(family), "f")
    image = processor.prepare(part())
    assert image.num_rows == processor.num_rows(part()) == sum(tile.size for tile in image.tiles) > 0
    assert image.original == (1200, 900)


def test_a_tile_is_known_by_what_is_seen_and_by_what_sees_it() -> None:
    def digest(processor: ImageProcessor, data: bytes = PHOTO, max_side: int = 448) -> bytes:
        return processor.prepare(part(data, max_side)).tiles[0].digest

    processor = ImageProcessor(gguf_tower("qwen2_vl"), "f")
    as_png = image_files.encoded(image_files.picture(64, 48), "PNG")
    as_bmp = image_files.encoded(image_files.picture(64, 48), "BMP")
    assert digest(processor, as_png) == digest(processor, as_bmp)
    others = [
        digest(processor, PHOTO, 392),
        digest(processor, as_png),
        digest(ImageProcessor(gguf_tower("qwen2_vl"), "g")),
        digest(ImageProcessor(gguf_tower("qwen2_5_vl"), "f")),
    ]
    assert len({digest(processor), *others}) == 5


def test_a_file_that_cannot_be_used_is_refused_by_the_field_that_carries_it() -> None:
    processor = ImageProcessor(gguf_tower("llava"), "f")
    for ask in (processor.prepare, processor.num_rows):
        with pytest.raises(ImageError, match=r"messages\[0\].content\[1\]: the image is empty; ") as caught:
            ask(part(b""))
        assert caught.value.param == "messages[0].content[1]"


def test_tiles_are_given_as_the_tower_sees_them() -> None:
    (tile,) = ImageProcessor(gguf_tower("gemma3"), "f").prepare(part()).tiles
    assert tile.pixels.shape == (896, 896, 3)
    assert tile.pixels.dtype == np.uint8
    assert tile.grid == (16, 16)


def test_another_use_of_a_picture_has_tiles_of_its_own() -> None:
    image = ImageProcessor(gguf_tower("qwen2_vl"), "f").prepare(part())
    again = image.with_tiles(lambda tile: tile)
    assert [tile.digest for tile in again.tiles] == [tile.digest for tile in image.tiles]
    assert not set(map(id, again.tiles)) & set(map(id, image.tiles))
    assert again.num_rows == image.num_rows
