"""Pictures for benchmarks are what any decoder reads, follow from their seed, and have something to see."""

import io

import pytest
from PIL import Image

from router.bench.plan.pictures import picture_png
from router.bench.plan.texts import generator


def decoded(*seed: str | int, width: int = 448, height: int = 336) -> Image.Image:
    image = Image.open(io.BytesIO(picture_png(generator(*seed), width, height)), formats=["PNG"])
    image.load()
    return image


@pytest.mark.parametrize(("width", "height"), [(448, 336), (112, 84), (8, 8), (9, 200), (301, 17)])
def test_a_decoder_reads_it_in_its_size(width: int, height: int) -> None:
    for seed in range(20):
        image = decoded(seed, width=width, height=height)
        assert (image.size, image.mode) == ((width, height), "RGB")


def test_equal_seeds_give_equal_pictures_and_others_others() -> None:
    assert decoded("a", 1).tobytes() == decoded("a", 1).tobytes()
    assert len({decoded("a", number).tobytes() for number in range(20)}) == 20


def test_it_has_several_colours_and_edges_across_and_down() -> None:
    for seed in range(20):
        image = decoded(seed)
        colours = image.getcolors()
        assert colours is not None
        assert len(colours) >= 3
        middle = [image.getpixel((x, 168)) for x in range(448)], [image.getpixel((224, y)) for y in range(336)]
        assert all(len(set(line)) > 1 for line in middle)
