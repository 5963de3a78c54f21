"""Pages that have no text, as pictures for models that see.

Source: PNG specification (third edition), 5 (chunks), 9 (filter type 0), 11.2.1 (IHDR).
"""

import struct
import zlib
from typing import Final

import pypdfium2

SIDE_PX: Final = 1344
"""Of the longer side: models are shown no more by default (`images.high_side_px`)."""
_RGB: Final = 2
_DEPTH_BITS: Final = 8
_CHANNELS: Final = 3
_LEVEL: Final = 6


def picture_of(page: pypdfium2.PdfPage) -> bytes:
    """Draw a page as a PNG, in colours."""
    width, height = page.get_size()
    bitmap = page.render(scale=SIDE_PX / max(width, height, 1.0), rev_byteorder=True, prefer_bgrx=False)
    try:
        return _png(bytes(bitmap.buffer), bitmap.width, bitmap.height, bitmap.stride)
    finally:
        bitmap.close()


def _png(pixels: bytes, width: int, height: int, stride: int) -> bytes:
    rows = b"".join(b"\0" + pixels[at : at + _CHANNELS * width] for at in range(0, height * stride, stride))
    head = struct.pack(">IIBBBBB", width, height, _DEPTH_BITS, _RGB, 0, 0, 0)
    chunks = (_chunk(b"IHDR", head), _chunk(b"IDAT", zlib.compress(rows, _LEVEL)), _chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
