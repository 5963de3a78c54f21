"""Pictures for benchmarks, made from a seed: coloured fields with shapes on them, the same pixels on every machine.

As PNG, written by hand: whoever measures needs no library for pictures. Not here: what is asked about them (`look`).
"""

import random
import struct
import zlib
from typing import Final

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_NUM_FIELDS: Final = 4
"""Along each side."""

_NUM_SHAPES: Final = 5
_COLOURS: Final = (
    (200, 30, 40), (30, 90, 200), (40, 150, 60), (240, 200, 40), (130, 60, 160), (240, 130, 30), (20, 20, 20),
    (250, 250, 250), (110, 80, 50), (120, 190, 220),
)  # fmt: skip
_LEVEL: Final = 6
"""Of compression: pictures of a few colours are small with any."""

Rows = list[bytearray]


def picture_png(draw: random.Random, width: int, height: int) -> bytes:
    """Return a picture of 4 x 4 coloured fields with triangles, discs and bars on them.

    Args:
        draw: What decides it.
        width: Pixels, at least 8.
        height: Pixels, at least 8.
    """
    rows = _fields(draw, width, height)
    for _ in range(_NUM_SHAPES):
        _draw_shape(draw, rows, width, height)
    return _as_png(rows, width, height)


def _fields(draw: random.Random, width: int, height: int) -> Rows:
    edges = [width * place // _NUM_FIELDS for place in range(_NUM_FIELDS + 1)]
    bands = []
    for _ in range(_NUM_FIELDS):
        colours = draw.choices(_COLOURS, k=_NUM_FIELDS)
        bands.append(b"".join(bytes(colours[i]) * (edges[i + 1] - edges[i]) for i in range(_NUM_FIELDS)))
    return [bytearray(bands[y * _NUM_FIELDS // height]) for y in range(height)]


def _draw_shape(draw: random.Random, rows: Rows, width: int, height: int) -> None:
    """Paint one shape over what is there: row by row, from one edge of it to the other."""
    kind, colour = draw.randrange(3), bytes(draw.choice(_COLOURS))
    reach = min(width, height) // draw.randint(4, 8)
    middle_x, middle_y = draw.randrange(reach, width - reach), draw.randrange(reach, height - reach)
    for y in range(middle_y - reach, middle_y + reach):
        half = _half_width(kind, reach, y - middle_y)
        begin, end = max(0, middle_x - half), min(width, middle_x + half)
        rows[y][3 * begin : 3 * end] = colour * (end - begin)


def _half_width(kind: int, reach: int, above: int) -> int:
    """Return how far a shape reaches to each side: a triangle's, a disc's, a bar's."""
    return ((reach + above) // 2, int((reach**2 - above**2) ** 0.5), reach // 3)[kind]


def _as_png(rows: Rows, width: int, height: int) -> bytes:
    """Write 8-bit RGB. Source: PNG (third edition), sections 5.3 (chunks), 11.2.1 (IHDR), 9.2 (filter type 0: none)."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), _LEVEL)
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
