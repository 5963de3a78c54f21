"""Image files of every odd and hostile kind, made on the spot, each with what is to become of it."""

import io
import random
import struct
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

Colour = tuple[int, int, int]
RED, BLUE, YELLOW, GREEN = (220, 30, 30), (30, 30, 220), (220, 220, 30), (30, 160, 30)
QUARTERS = (RED, BLUE, YELLOW, GREEN)
"""Upper left, upper right, lower left, lower right."""
WIDTH, HEIGHT = 48, 32
GREY = tuple((value,) * 3 for value in (40, 110, 170, 230))


class Case(NamedTuple):
    """A file and what is to become of it.

    Attributes:
        corners: Colours of the quarters, as in QUARTERS; None = any picture of the size will do.
        size: Upright; None = any.
        refusal: Words of the error; None = it must be read. With `may_fail` either is right.
        tolerance: By how much a colour may differ.
    """

    name: str
    data: bytes
    corners: tuple[Colour, ...] | None = QUARTERS
    size: tuple[int, int] | None = (WIDTH, HEIGHT)
    refusal: str | None = None
    may_fail: bool = False
    tolerance: int = 3


def refused(name: str, data: bytes, words: str) -> Case:
    return Case(name, data, None, None, words)


def picture(width: int = WIDTH, height: int = HEIGHT, colours: Any = QUARTERS) -> Image.Image:
    """Return four quarters of different colours."""
    array = np.zeros((height, width, 3), np.uint8)
    middle, centre = height // 2, width // 2
    for index, colour in enumerate(colours):
        rows = slice(0, middle) if index < 2 else slice(middle, None)
        columns = slice(0, centre) if index % 2 == 0 else slice(centre, None)
        array[rows, columns] = colour
    return Image.fromarray(array)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int, colour_type: int, raw: bytes, *extra: bytes, interlace: int = 0) -> bytes:
    """Write a PNG from filtered rows, with further chunks before the pixels."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, interlace)
    parts = (chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(raw, 9)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _rows(array: np.ndarray[Any, Any]) -> bytes:
    return b"".join(b"\0" + row.tobytes() for row in array)


def _wide(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """16 bits a value, big endian, whose low bytes say nothing."""
    return (values.astype(np.uint16) * 256 + 77).astype(">u2")


def cases() -> list[Case]:
    """Return all of them, small in memory."""
    return [*_pngs(), *_jpegs(), *_webps(), *_gifs(), *_bmps(), *_turned(), *_others(), *_cut(), *_flipped(), *_bombs()]


def _pngs() -> Iterator[Case]:
    rgb = picture()
    array = np.asarray(rgb)
    grey = picture(colours=GREY).convert("L")
    grey_array = np.asarray(grey)
    yield Case("png rgb", encoded(rgb, "PNG"))
    yield Case("png rgba opaque", encoded(rgb.convert("RGBA"), "PNG"))
    yield Case("png palette", encoded(rgb.convert("P", palette=Image.Palette.ADAPTIVE), "PNG"))
    for bits in (2, 4, 8):
        four = rgb.quantize(4)
        yield Case(f"png palette of {bits} bits", encoded(four, "PNG", bits=bits))
    yield Case("png grey", encoded(grey, "PNG"), GREY)
    yield Case("png grey and alpha", encoded(grey.convert("LA"), "PNG"), GREY)
    halves = picture(colours=((0,) * 3, (255,) * 3, (255,) * 3, (0,) * 3))
    black_white = ((0, 0, 0), (255, 255, 255), (255, 255, 255), (0, 0, 0))
    yield Case("png 1 bit", encoded(halves.convert("1"), "PNG"), black_white)
    yield Case("png 16 bit grey", png(WIDTH, HEIGHT, 16, 0, _rows(_wide(grey_array))), GREY)
    yield Case("png 16 bit rgb", png(WIDTH, HEIGHT, 16, 2, _rows(_wide(array))))
    rgba = np.asarray(rgb.convert("RGBA"))
    yield Case("png 16 bit rgba", png(WIDTH, HEIGHT, 16, 6, _rows(_wide(rgba))))
    grey_alpha = np.dstack([grey_array, np.full_like(grey_array, 255)])
    yield Case("png 16 bit grey and alpha", png(WIDTH, HEIGHT, 16, 4, _rows(_wide(grey_alpha))), GREY)
    yield Case("png interlaced", png(WIDTH, HEIGHT, 8, 2, _interlaced(array), interlace=1))
    yield Case("png after others", encoded(rgb, "PNG", save_all=True, append_images=[rgb.rotate(180)] * 3))
    yield Case("png with a comment", encoded(rgb, "PNG", pnginfo=None) + b"behind the end")
    yield from _see_through()


def _see_through() -> Iterator[Case]:
    """What is transparent is white, whatever colour lies under it."""
    white = (255, 255, 255)
    rgb = picture()
    array = np.array(rgb.convert("RGBA"))
    array[: HEIGHT // 2, : WIDTH // 2, 3] = 0
    rgba = Image.fromarray(array)
    shown = (white, BLUE, YELLOW, GREEN)
    yield Case("png transparent", encoded(rgba, "PNG"), shown)
    yield Case("webp transparent", encoded(rgba, "WEBP", lossless=True), shown)
    array[: HEIGHT // 2, : WIDTH // 2, 3] = 128
    half = (int(220 * 0.5 + 127), int(30 * 0.5 + 127), int(30 * 0.5 + 127))
    yield Case("png half transparent", encoded(Image.fromarray(array), "PNG"), (half, BLUE, YELLOW, GREEN))
    palette = rgb.quantize(4)
    index = palette.getpixel((0, 0))
    yield Case("png palette, one colour transparent", encoded(palette, "PNG", transparency=index), shown)
    alphas = bytes(0 if colour == index else 255 for colour in range(4))
    yield Case("png palette with alphas", encoded(palette, "PNG", transparency=alphas), shown)
    yield Case("gif transparent", encoded(palette, "GIF", transparency=index), shown)
    yield Case("png rgb, one colour transparent", encoded(rgb, "PNG", transparency=RED), shown)
    grey = picture(colours=GREY).convert("L")
    yield Case("png grey, one shade transparent", encoded(grey, "PNG", transparency=GREY[1][0]), _whitened(1))
    wide = _wide(np.asarray(grey))
    extra = chunk(b"tRNS", struct.pack(">H", int(wide[0, -1])))
    yield Case("png 16 bit, one shade transparent", png(WIDTH, HEIGHT, 16, 0, _rows(wide), extra), _whitened(1))
    clear = Image.new("RGBA", (WIDTH, HEIGHT), (9, 9, 9, 0))
    yield Case("png wholly transparent", encoded(clear, "PNG"), (white,) * 4)
    la = grey.convert("LA")
    la.putalpha(0)
    yield Case("png grey wholly transparent", encoded(la, "PNG"), (white,) * 4)


def _whitened(index: int) -> tuple[Colour, ...]:
    colours: list[Colour] = [(shade[0],) * 3 for shade in GREY]
    colours[index] = (255, 255, 255)
    return tuple(colours)


def _interlaced(array: np.ndarray[Any, Any]) -> bytes:
    """Source: PNG specification, 8.2 "Interlaced images": the seven passes of Adam7."""
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    return b"".join(_rows(np.ascontiguousarray(array[y::dy, x::dx])) for y, x, dy, dx in passes)


def _jpegs() -> Iterator[Case]:
    rgb, grey = picture(), picture(colours=GREY).convert("L")
    ways: dict[str, dict[str, Any]] = {
        "best": {"quality": 95, "subsampling": 0},
        "4:2:0": {"quality": 90, "subsampling": 2},
        "progressive": {"quality": 90, "progressive": True},
        "optimized": {"quality": 90, "optimize": True},
        "with restart markers": {"quality": 90, "restart_marker_blocks": 2},
        "with a comment": {"quality": 90, "comment": b"x" * 60_000},
        "with a broken profile": {"quality": 90, "icc_profile": b"no profile" * 9000},
    }
    for name, options in ways.items():
        yield Case(f"jpeg {name}", encoded(rgb, "JPEG", **options), tolerance=12)
    yield Case("jpeg grey", encoded(grey, "JPEG", quality=95), GREY, tolerance=6)
    yield Case("jpeg cmyk", encoded(rgb.convert("CMYK"), "JPEG", quality=95), tolerance=20)
    yield Case("jpeg with a tail", encoded(rgb, "JPEG", quality=95) + b"\0" * 5000, tolerance=12)
    yield Case("mpo", encoded(rgb, "MPO", save_all=True, append_images=[rgb.rotate(180)], quality=95), tolerance=12)


def _webps() -> Iterator[Case]:
    rgb = picture()
    yield Case("webp lossy", encoded(rgb, "WEBP", quality=95), tolerance=20)
    yield Case("webp lossless", encoded(rgb, "WEBP", lossless=True))
    moving = encoded(rgb, "WEBP", lossless=True, save_all=True, append_images=[rgb.rotate(180)] * 3)
    yield Case("webp animated", moving)


def _gifs() -> Iterator[Case]:
    rgb = picture()
    palette = rgb.quantize(4)
    yield Case("gif", encoded(palette, "GIF"))
    yield Case("gif interlaced", encoded(palette, "GIF", interlace=1))
    yield Case("gif animated", encoded(palette, "GIF", save_all=True, append_images=[palette.rotate(180)] * 3))
    yield Case("gif grey", encoded(picture(colours=GREY).convert("L"), "GIF"), GREY)
    data = bytearray(encoded(palette, "GIF"))
    data[6:10] = struct.pack("<HH", 10, 10)  # the screen; the frame reaches beyond it
    yield Case("gif with a small screen", bytes(data))
    plain = encoded(palette, "GIF")
    table = 13 + 3 * 2 ** ((plain[10] & 7) + 1)
    note = b"\x21\xfe" + (b"\xff" + b"a" * 255) * 4000 + b"\0"
    yield Case("gif with a long comment", plain[:table] + note + plain[table:])


def _bmps() -> Iterator[Case]:
    rgb = picture()
    yield Case("bmp 24 bit", encoded(rgb, "BMP"))
    yield Case("bmp palette", encoded(rgb.quantize(4), "BMP"))
    yield Case("bmp 32 bit", encoded(rgb.convert("RGBA"), "BMP"))
    halves = picture(colours=((0,) * 3, (255,) * 3, (255,) * 3, (0,) * 3)).convert("1")
    black_white = ((0, 0, 0), (255, 255, 255), (255, 255, 255), (0, 0, 0))
    yield Case("bmp 1 bit", encoded(halves, "BMP"), black_white)
    array = np.asarray(rgb)
    yield Case("bmp top down", _bmp(array[:, :, ::-1].tobytes(), -HEIGHT, 24))
    wide = array.astype(np.uint16)
    packed = (wide[..., 0] >> 3 << 11) | (wide[..., 1] >> 2 << 5) | (wide[..., 2] >> 3)
    masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
    yield Case("bmp 16 bit", _bmp(packed[::-1].astype("<u2").tobytes(), HEIGHT, 16, masks, compression=3), tolerance=8)
    runs = b"".join(
        bytes([WIDTH // 2, first, WIDTH // 2, first + 1, 0, 0]) for first in (2,) * (HEIGHT // 2) + (0,) * (HEIGHT // 2)
    )
    colours = b"".join(bytes([*reversed(colour), 0]) for colour in QUARTERS) + b"\0" * 4 * 252
    yield Case("bmp run length", _bmp(runs + b"\0\1", HEIGHT, 8, colours, compression=1))


def _bmp(pixels: bytes, height: int, bits: int, table: bytes = b"", *, compression: int = 0) -> bytes:
    """Source: Microsoft, BITMAPFILEHEADER and BITMAPINFOHEADER."""
    colours = len(table) // 4 if bits == 8 else 0
    info = struct.pack("<IiiHHIIiiII", 40, WIDTH, height, 1, bits, compression, len(pixels), 0, 0, colours, 0)
    start = 14 + len(info) + len(table)
    return struct.pack("<2sIHHI", b"BM", start + len(pixels), 0, 0, start) + info + table + pixels


# Exif's orientations: what the camera stored, for the picture to be QUARTERS when it is upright.
_STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def exif(value: Any, kind: int = 3) -> bytes:
    """Return Exif data with an orientation. Source: Exif 2.32, 4.6.2 and 4.6.4."""
    return b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">HHHIHH", 1, 0x0112, kind, 1, value, 0) + b"\0" * 4


def _turned() -> Iterator[Case]:
    for orientation, turn in _STORED.items():
        stored = picture() if turn is None else picture().transpose(turn)
        data = exif(orientation)
        yield Case(f"jpeg turned {orientation}", encoded(stored, "JPEG", quality=95, exif=data), tolerance=12)
        yield Case(f"png turned {orientation}", encoded(stored, "PNG", exif=data))
        yield Case(f"webp turned {orientation}", encoded(stored, "WEBP", lossless=True, exif=data))
    odd = {
        "0": exif(0),
        "9": exif(9),
        "of 65535": exif(65535),
        "as a text": exif(0x4141, 2),
        "as a fraction": exif(6, 5),
        "cut": exif(6)[:15],
        "that is noise": b"Exif\0\0" + random.Random(1).randbytes(300),
        "with a far directory": b"Exif\0\0MM\0*\x7f\xff\xff\xff",
        "that goes in circles": b"Exif\0\0II*\0\x08\0\0\0\0\0\x08\0\0\0",
    }
    for name, data in odd.items():
        yield Case(f"jpeg with an orientation {name}", encoded(picture(), "JPEG", quality=95, exif=data), tolerance=12)


def _others() -> Iterator[Case]:
    tiff = encoded(picture(), "TIFF")
    heads = {
        "TIFF": [tiff, b"MM\0*\0\0\0\x08" + b"\0" * 40, b"II+\0\x08\0\0\0" + b"\0" * 40],
        "SVG": [
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg width="5">',
            b"<SVG\n viewBox='0 0 1 1'>",
        ],
        "PDF": [b"%PDF-1.7\n%\xe2\xe3", b"\0\0%PDF-1.4\n"],
        "HEIC": [b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", b"\0\0\0\x18ftypmif1\0\0\0\0", b"\0\0\0\x18ftypheix\0\0\0\0"],
        "AVIF": [b"\0\0\0\x1cftypavif\0\0\0\0", b"\0\0\0\x1cftypavis\0\0\0\0"],
        "ICO": [encoded(picture(16, 16), "ICO")],
        "JPEG XL": [b"\xff\x0a" + b"\0" * 30, b"\0\0\0\x0cJXL \r\n\x87\n"],
        "JPEG 2000": [encoded(picture(), "JPEG2000"), b"\xffO\xffQ\0/\0\0"],
        "PSD": [b"8BPS\0\1" + b"\0" * 30],
        "PostScript": [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"],
        "ZIP": [b"PK\3\4" + b"\0" * 30],
        "gzip": [b"\x1f\x8b\x08" + b"\0" * 30],
        "video": [b"\0\0\0\x20ftypisom\0\0\2\0", b"\0\0\0\x14ftypqt  \0\0\0\0", b"\x1aE\xdf\xa3" + b"\0" * 20],
        "HTML": [b"<!DOCTYPE html><html><body>404", b"\n <html><head></head>"],
        "empty": [b""],
        "no known format": [
            b"hello" * 100,
            b"\0" * 4096,
            random.Random(2).randbytes(4096),
            b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB",
            b"\x89PNG",
            b"RIFF\xff\xff\xff\xffWAVEfmt ",
            b"P6 4 4 255\n" + b"\0" * 48,
            encoded(picture(), "TGA"),
            encoded(picture(), "PCX"),
            encoded(picture(), "PPM"),
            encoded(picture(), "SGI"),
        ],
    }
    for name, files in heads.items():
        for number, data in enumerate(files, 1):
            yield refused(f"{name} {number}", data, name)


def _whole() -> dict[str, bytes]:
    rgb = Image.fromarray(np.random.default_rng(3).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    return {
        "png": encoded(rgb, "PNG"),
        "jpeg": encoded(rgb, "JPEG"),
        "progressive jpeg": encoded(rgb, "JPEG", progressive=True),
        "webp": encoded(rgb, "WEBP", lossless=True),
        "gif": encoded(rgb.quantize(64), "GIF"),
        "bmp": encoded(rgb, "BMP"),
    }


def _cut() -> Iterator[Case]:
    for name, data in _whole().items():
        for eighths in range(1, 8):
            yield refused(f"{name} cut at {eighths}/8", data[: len(data) * eighths // 8], "damaged")
        yield Case(f"{name} without its last byte", data[:-1], None, may_fail=True)


def _flipped() -> Iterator[Case]:
    for name, data in _whole().items():
        chance = random.Random(name)
        for number in range(8):
            broken = bytearray(data)
            for _ in range(1 + number):
                broken[chance.randrange(len(broken))] = chance.randrange(256)
            yield Case(f"{name} with {number + 1} wrong bytes", bytes(broken), None, None, may_fail=True)


def _bombs() -> Iterator[Case]:
    pixels = "more than 40000000"
    row = b"\0" * (60_000 // 8 + 1)
    yield refused("png of 60000 x 60000", png(60_000, 60_000, 1, 0, row * 500), pixels)
    yield refused("png of 2^31-1 x 1", png(2**31 - 1, 1, 1, 0, b"\0"), pixels)
    yield refused("png of 8000 x 8000", png(8000, 8000, 8, 6, b"\0"), pixels)
    yield refused("png of 0 x 10", png(0, 10, 8, 2, b"\0"), "")
    yield refused("png of 40001 x 1000", png(40_001, 1000, 1, 0, b"\0"), pixels)
    yield refused("png of 201 x 1", png(201, 1, 8, 0, b"\0" * 202), "201 x 1")
    yield refused("png of 1 x 201", png(1, 201, 8, 0, b"\0\0" * 201), "1 x 201")
    yield Case("png of 200 x 1", png(200, 1, 8, 0, b"\0" * 201), None, (200, 1))
    yield Case("png of 1 x 1", png(1, 1, 8, 0, b"\0\0"), None, (1, 1))
    yield Case("png with far too much data", png(8, 8, 8, 0, b"\0" * 20_000_000), None, (8, 8), may_fail=True)
    yield refused("png without data", png(300, 300, 8, 0, b""), "damaged")
    bomb = zlib.compress(b"a" * (10 * 2**20), 9)
    start, rest = encoded(picture(), "PNG")[:33], encoded(picture(), "PNG")[33:]
    yield refused("png with a text bomb", start + chunk(b"zTXt", b"k\0\0" + bomb) + rest, "damaged")
    yield refused("png with an international bomb", start + chunk(b"iTXt", b"k\0\1\0\0\0" + bomb) + rest, "damaged")
    yield refused("png with a profile bomb", start + chunk(b"iCCP", b"k\0\0" + bomb) + rest, "damaged")
    large = zlib.compress(b"a" * (2**20 - 99), 9)
    yield refused("png with many texts", start + chunk(b"zTXt", b"k\0\0" + large) * 100 + rest, "damaged")
    jpeg = bytearray(encoded(picture(), "JPEG"))
    frame = jpeg.index(b"\xff\xc0")
    jpeg[frame + 5 : frame + 9] = b"\xff" * 4
    yield refused("jpeg of 65535 x 65535", bytes(jpeg), pixels)
    jpeg[frame + 5 : frame + 9] = b"\0" * 4
    yield refused("jpeg of 0 x 0", bytes(jpeg), "")
    gif = bytearray(encoded(picture().quantize(4), "GIF"))
    gif[6:10] = b"\xff" * 4
    yield refused("gif of 65535 x 65535", bytes(gif), pixels)
    descriptor = gif.index(b"\x2c", 13 + 3 * 2 ** ((gif[10] & 7) + 1))
    gif[6:10], gif[descriptor + 5 : descriptor + 9] = struct.pack("<HH", 9, 9), b"\xff" * 4
    yield refused("gif with a frame of 65535 x 65535", bytes(gif), pixels)
    bmp = bytearray(encoded(picture(), "BMP"))
    bmp[18:26] = struct.pack("<ii", 2**31 - 1, 2**31 - 1)
    yield refused("bmp of 2^31 x 2^31", bytes(bmp), pixels)
    bmp[18:26] = struct.pack("<ii", -5, 5)
    yield refused("bmp of -5 x 5", bytes(bmp), "")
    canvas = b"VP8X" + struct.pack("<II", 10, 0) + b"\xff\xff\xff" * 2
    yield refused("webp of 2^24 x 2^24", b"RIFF" + struct.pack("<I", len(canvas) + 4) + b"WEBP" + canvas, "")
    for name in ("progressive", "optimize"):
        yield refused(f"jpeg with 3000 scans, {name}", _many_scans(3000, **{name: True}), "scans")
    start, rest = encoded(picture(), "JPEG")[:2], encoded(picture(), "JPEG")[2:]
    yield refused("jpeg with a million comments", start + b"\xff\xfe\0\2" * 10**6 + rest, "markers")
    yield refused("jpeg with a million bytes before a marker", start + b"\xff" * 10**6 + rest, "markers")
    yield Case("jpeg with a thousand comments", start + b"\xff\xfe\0\2" * 1000 + rest, tolerance=12)
    start, rest = encoded(picture(), "PNG")[:33], encoded(picture(), "PNG")[33:]
    yield refused("png with a million chunks", start + chunk(b"abCd", b"") * 10**6 + rest, "chunks")
    yield Case("png with a thousand chunks", start + chunk(b"abCd", b"") * 1000 + rest)


def _many_scans(num_scans: int, **options: Any) -> bytes:
    """Repeat a JPEG's last scan: few bytes, but each one a walk over all pixels."""
    data = encoded(Image.new("RGB", (1000, 1000)), "JPEG", **options)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * num_scans + data[-2:]
