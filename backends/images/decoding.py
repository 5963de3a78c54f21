"""A file's bytes to upright RGB pixels of bounded size.

What is hostile is refused from the header: Pillow reads sizes in `open()` and allocates pixels in `load()`.
"""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from backends.errors import FOREIGN_ERRORS, ImageError
from backends.images.container import READ_FORMATS, check_parts, check_scans, other_format
from backends.images.limits import MAX_ASPECT, MAX_IMAGE_PIXELS
from backends.wire.prompts import MAX_IMAGE_BYTES, image_too_large

RGB = np.ndarray[Any, np.dtype[np.uint8]]
"""Pixels, shape (height, width, 3), contiguous."""

_BAND_PIXELS: Final = 1 << 20
_ORIENTATION_TAG: Final = 0x0112
# Exif 2.32, 4.6.4, "Orientation": which turn makes the picture upright.
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_TURNED_ASIDE: Final = (5, 6, 7, 8)
_PNG_ORIENTATIONS: Final = (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")
"""Names of what can say a PNG's orientation. Source: Pillow 13, PngImagePlugin.py, getexif."""


class Size(NamedTuple):
    """Pixels."""

    width: int
    height: int


class Picture(NamedTuple):
    """A decoded image.

    Attributes:
        original: Size of the file's picture, upright, before it was shrunk.
    """

    rgb: RGB
    original: Size

    @property
    def size(self) -> Size:
        """The size of `rgb`."""
        return Size(self.rgb.shape[1], self.rgb.shape[0])


def decode(data: bytes, max_side: int | None = None) -> Picture:
    """Decode the first frame, turn it upright, lay what is transparent on white, and shrink it to `max_side`.

    Raises:
        ImageError: The file is none of the formats that are read, is damaged, or is too large; says what to do.
    """
    with _foreign_errors(data):
        image = _opened(data)
        stored = Size(*image.size)
        wanted = bounded(stored, max_side)
        if wanted != stored:
            # JPEG: the decoder itself gives 1/2, 1/4 or 1/8 of the sides, where twice what is wanted is left.
            image.draft(None, (2 * wanted.width, 2 * wanted.height))
        orientation = _orientation_of(image)
        image.load()
        image = _on_white(image)
        if image.size != wanted:
            image = image.resize(wanted, Image.Resampling.LANCZOS, reducing_gap=3.0)
        if orientation in _TURNS:
            image = image.transpose(_TURNS[orientation])
    return Picture(np.asarray(image), _upright(stored, orientation))


def original_size(data: bytes) -> Size:
    """Read a picture's upright size from the file's header, which says nothing of whether the rest is sound.

    Raises:
        ImageError: As `decode`, as far as the header goes.
    """
    with _foreign_errors(data):
        image = _opened(data)
        # Pillow looks for a PNG's behind its pixels, and decodes them on the way.
        is_stored_upright = image.format == "PNG" and not any(name in data for name in _PNG_ORIENTATIONS)
        return _upright(Size(*image.size), None if is_stored_upright else _orientation_of(image))


def bounded(size: Size, max_side: int | None) -> Size:
    """Return a size whose longer side is at most so long, in the same proportions, at least a pixel wide."""
    longest = max(size)
    if max_side is None or longest <= max_side:
        return size
    return Size(*(max(1, round(side * max_side / longest)) for side in size))


def _upright(stored: Size, orientation: int | None) -> Size:
    return Size(stored.height, stored.width) if orientation in _TURNED_ASIDE else stored


def _opened(data: bytes) -> Image.Image:
    """Read a file's header, and refuse what its pixels would cost too much."""
    if not data:
        raise ImageError("the image is empty; send the file's content")
    if len(data) > MAX_IMAGE_BYTES:
        raise image_too_large()
    check_parts(data)
    image = Image.open(io.BytesIO(data), formats=READ_FORMATS)
    size = Size(*image.size)
    _check_size(size)
    check_scans(data, size.width * size.height)
    return image


@contextmanager
def _foreign_errors(data: bytes) -> Iterator[None]:
    """Turn what Pillow and its decoders raise into an ImageError that says what to do."""
    try:
        yield
    except UnidentifiedImageError as exc:
        raise _unread(data) from exc
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:  # Pillow's own limit is a higher one
        raise ImageError(f"the image has more than {MAX_IMAGE_PIXELS} pixels; shrink it") from exc
    except MemoryError as exc:
        raise ImageError("there is not enough memory to decode the image; shrink it") from exc
    except (*FOREIGN_ERRORS, EOFError, SyntaxError, struct.error) as exc:
        words = " ".join(str(exc).split()) or type(exc).__name__
        raise ImageError(f"the image is damaged ({words}); send it again, or save it anew as PNG or JPEG") from exc


def _unread(data: bytes) -> ImageError:
    name = other_format(data)
    if name is None:
        known = ", ".join(READ_FORMATS[:-1])
        return ImageError(f"the image is in no known format or damaged; send {known} or {READ_FORMATS[-1]}")
    return ImageError(f"the image is {name}, which is not read; convert it to JPEG or PNG")


def _check_size(size: Size) -> None:
    width, height = size
    if min(size) < 1:
        raise ImageError(f"the image has no pixels ({width} x {height}); send another one")
    if width * height > MAX_IMAGE_PIXELS:
        raise ImageError(f"the image has {width} x {height} pixels, more than {MAX_IMAGE_PIXELS}; shrink it")
    if max(size) > MAX_ASPECT * min(size):
        raise ImageError(
            f"the image is {width} x {height}, more than {MAX_ASPECT} times as long as it is wide; cut it into pieces"
        )


def _orientation_of(image: Image.Image) -> int | None:
    """Read how the picture was turned when it was taken; broken metadata says nothing of it."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG)
    except (*FOREIGN_ERRORS, SyntaxError, struct.error):
        return None
    return value if isinstance(value, int) else None


def _on_white(image: Image.Image) -> Image.Image:
    """Return an image of any mode as RGB, what is transparent laid on white.

    In bands, as each conversion of a whole one takes 4 bytes a pixel more.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    canvas = Image.new("RGB", image.size)
    rows = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        canvas.paste(_band_on_white(band), (0, top))
    return canvas


def _band_on_white(band: Image.Image) -> Image.Image:
    if band.mode.startswith("I"):
        return _of_16_bits(band)
    if not band.has_transparency_data:
        return band.convert("RGB")
    with_alpha = band.convert("RGBA")
    white = Image.new("RGB", band.size, "white")
    white.paste(with_alpha, mask=with_alpha.getchannel("A"))
    return white


def _of_16_bits(band: Image.Image) -> Image.Image:
    """Keep the upper eight bits of each grey; Pillow itself would cut off at 255."""
    values = np.asarray(band).astype(np.int32)
    grey = np.clip(values >> 8, 0, 255).astype(np.uint8)
    transparent = band.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return Image.fromarray(grey).convert("RGB")
