"""Files of every odd and hostile kind become the right picture or one sentence that says what to do."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backends.errors import ImageError
from backends.images.decoding import Picture, Size, decode, original_size
from backends.images.limits import MAX_IMAGE_PIXELS
from backends.wire.prompts import MAX_IMAGE_BYTES
from tests.support import image_files
from tests.support.image_files import HEIGHT, QUARTERS, WIDTH, Case, Colour

# What Pillow warns of (broken metadata, sizes that are refused anyway) goes to a worker's log.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
    pytest.mark.slow,
]
CASES = image_files.cases()
MAX_RISE_BYTES = 450 * 2**20
"""8 bytes for each of 40 million pixels, 3 more for the array, and what was loaded meanwhile."""


def quarters_of(picture: Picture) -> list[Colour]:
    height, width, _ = picture.rgb.shape
    points = [(y, x) for y in (height // 4, height * 3 // 4) for x in (width // 4, width * 3 // 4)]
    return [tuple(int(value) for value in picture.rgb[point]) for point in points]  # type: ignore[misc]


def is_like(seen: list[Colour], wanted: tuple[Colour, ...], tolerance: int) -> bool:
    return int(np.abs(np.array(seen) - np.array(wanted)).max()) <= tolerance


def test_there_are_two_hundred_cases_with_names_of_their_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 200


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_file_is_the_right_picture_or_refused_with_the_reason(case: Case) -> None:
    picture = decoded(case.data)
    if isinstance(picture, str):
        assert case.refusal is not None or case.may_fail, picture
        assert (case.refusal or "") in picture
        check_sentence(picture)
        return
    assert case.refusal is None, picture.size
    assert picture.rgb.dtype == np.uint8
    assert picture.rgb.flags.c_contiguous
    assert picture.size == picture.original
    if case.size is not None:
        assert picture.size == case.size
    if case.corners is not None:
        assert is_like(quarters_of(picture), case.corners, case.tolerance), quarters_of(picture)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_header_alone_tells_the_size_of_what_is_read(case: Case) -> None:
    picture = decoded(case.data)
    if isinstance(picture, Picture):
        assert original_size(case.data) == picture.original
    else:
        try:
            size = original_size(case.data)
        except ImageError:
            return
        assert size.width * size.height <= MAX_IMAGE_PIXELS


def decoded(data: bytes) -> Picture | str:
    """Return the picture, or the words of its refusal."""
    try:
        return decode(data)
    except ImageError as exc:
        return str(exc)


def check_sentence(words: str) -> None:
    assert words.startswith(("the image ", "there is "))
    assert ";" in words, "what to do comes behind a semicolon"
    assert len(words) < 300
    assert words.isprintable()


@pytest.mark.parametrize("case", [case for case in CASES if case.corners is not None], ids=lambda case: case.name)
def test_a_smaller_side_is_kept_to_in_the_same_proportions(case: Case) -> None:
    picture = decode(case.data, max_side=24)
    assert picture.size == (24, 16)
    assert picture.original == (WIDTH, HEIGHT)
    assert case.corners is not None
    assert is_like(quarters_of(picture), case.corners, case.tolerance + 6), quarters_of(picture)


def test_what_is_small_enough_is_not_scaled() -> None:
    data = image_files.encoded(image_files.picture(), "PNG")
    assert decode(data, max_side=WIDTH).size == (WIDTH, HEIGHT)
    assert np.array_equal(decode(data, max_side=5000).rgb, np.asarray(image_files.picture()))


@pytest.mark.parametrize(("size", "side", "seen"), [((4000, 3000), 448, (448, 336)), ((1, 150), 50, (1, 50))])
def test_the_longest_side_bounds_a_picture(size: tuple[int, int], side: int, seen: tuple[int, int]) -> None:
    for kind in ("PNG", "JPEG"):
        picture = decode(image_files.encoded(image_files.picture(*size), kind), side)
        assert (picture.size, picture.original) == (seen, size)


def test_a_large_photo_is_much_the_same_whichever_way_it_is_shrunk() -> None:
    """A JPEG's decoder halves by itself; what comes out is as if the whole had been shrunk."""
    smooth = Image.effect_noise((60, 45), 90).resize((2400, 1800), Image.Resampling.BICUBIC).convert("RGB")
    data = image_files.encoded(smooth, "JPEG", quality=95)
    plain = Image.open(io.BytesIO(data)).resize((256, 192), Image.Resampling.LANCZOS)
    assert np.abs(decode(data, 256).rgb.astype(int) - np.asarray(plain)).max() <= 12


def test_turning_swaps_the_sides_that_are_told() -> None:
    stored = image_files.picture().transpose(Image.Transpose.ROTATE_90)
    picture = decode(image_files.encoded(stored, "PNG", exif=image_files.exif(6)), max_side=24)
    assert (picture.size, picture.original) == (Size(24, 16), Size(WIDTH, HEIGHT))
    assert is_like(quarters_of(picture), QUARTERS, 6)


def test_a_file_beyond_the_limit_is_refused() -> None:
    with pytest.raises(ImageError, match="larger than 20 MiB; shrink it"):
        decode(b"\0" * (MAX_IMAGE_BYTES + 1))


MEASURE = """
import os, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from backends.errors import ImageError
from backends.images.decoding import decode
from backends.machine.current import current_platform

def peak():
    return current_platform().peak_bytes_of(os.getpid())

before, read = peak(), 0
for path in sys.argv[1:]:
    for side in (None, 448):
        try:
            decode(Path(path).read_bytes(), side)
            read += 1
        except ImageError:
            pass
print(peak() - before, read)
"""


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "LA", "hostile"])
def test_memory_is_bounded(mode: str, tmp_path: Path) -> None:
    """The largest pictures that are allowed, of any mode, and all hostile files stay within what the limit says."""
    files = [case.data for case in CASES if mode == "hostile"]
    if mode != "hostile":
        image = Image.new(mode, (8000, 5000))
        if mode == "P":
            image.info["transparency"] = 0
        files = [image_files.encoded(image, "PNG", compress_level=1)]
    paths = [tmp_path / str(number) for number in range(len(files))]
    for path, data in zip(paths, files, strict=True):
        path.write_bytes(data)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *map(str, paths)], capture_output=True, text=True, check=True, timeout=600
    )
    rise, num_read = map(int, done.stdout.split())
    assert rise < MAX_RISE_BYTES
    if mode != "hostile":
        assert num_read == 2
        assert rise > MAX_IMAGE_PIXELS  # what is measured is the decoding
