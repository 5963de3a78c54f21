"""What a file's bytes say before anything is decoded: which kind it is, and into how many parts it is cut.

Source: the first bytes ("magic numbers") that each format's specification gives.
"""

import re
from typing import Final

from backends.errors import ImageError
from backends.images.limits import MAX_JPEG_MARKERS, MAX_PNG_CHUNKS, MAX_SCANNED_PIXELS

READ_FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""Pillow's names; nothing else of its decoders ever sees a client's bytes. Of animations the first frame is read."""

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"
_START_OF_SCAN: Final = b"\xff\xda"
_HEAD_BYTES: Final = 1024
_PREFIXES: Final = (
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"8BPS", "PSD"),
    (b"\0\0\1\0", "ICO"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\xffO\xffQ", "JPEG 2000"),
    (b"%!PS", "PostScript"),
    (b"PK\3\4", "ZIP"),
    (b"\x1f\x8b", "gzip"),
    (b"\x1aE\xdf\xa3", "Matroska video"),
    (b"OggS", "Ogg"),
)
_BRANDS: Final = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys(
    (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), "HEIC"
)
_SVG: Final = re.compile(rb"<svg[\s>]", re.IGNORECASE)
_HTML: Final = re.compile(rb"\s*<(?:!doctype\s+html|html|head|body)[\s>]", re.IGNORECASE)


def other_format(data: bytes) -> str | None:
    """Name a format that is not read, or return None for what is not known."""
    head = data[:_HEAD_BYTES]
    for prefix, name in _PREFIXES:
        if head.startswith(prefix):
            return name
    if head[4:8] == b"ftyp":  # ISO/IEC 14496-12, 4.3: the major brand follows
        return _BRANDS.get(head[8:12], "video")
    if b"%PDF-" in head:
        return "PDF"
    if _SVG.search(head):
        return "SVG"
    if _HTML.match(head):
        return "HTML"
    return None


def check_parts(data: bytes) -> None:
    """Refuse a file that is cut into so many parts that reading them takes longer than its pixels.

    Raises:
        ImageError: It is.
    """
    if data.startswith(_PNG) and _num_chunks(data) > MAX_PNG_CHUNKS:
        raise ImageError(f"the image is a PNG of more than {MAX_PNG_CHUNKS} chunks; save it anew")
    if data.startswith(_JPEG) and data.count(b"\xff") > MAX_JPEG_MARKERS:
        raise ImageError(f"the image is a JPEG of more than {MAX_JPEG_MARKERS} markers; save it anew")


def check_scans(data: bytes, num_pixels: int) -> None:
    """Refuse a JPEG that goes over its pixels again and again.

    Source: ITU T.81, B.1.1.5: in compressed data a byte FF is followed by 00 or is a marker, so that no scan's start
    is missed; those inside of metadata count too, which no camera has in thousands.

    Raises:
        ImageError: It does.
    """
    if not data.startswith(_JPEG):
        return
    num_scans = data.count(_START_OF_SCAN)
    if num_scans * num_pixels > MAX_SCANNED_PIXELS:
        raise ImageError(f"the image is a JPEG with {num_scans} scans; save it anew as a baseline JPEG or PNG")


def _num_chunks(data: bytes) -> int:
    """Source: PNG specification, 5.3 "Chunk layout": length, type, data, check sum."""
    at, num_chunks = len(_PNG), 0
    while at < len(data) and num_chunks <= MAX_PNG_CHUNKS:
        at += 12 + int.from_bytes(data[at : at + 4])
        num_chunks += 1
    return num_chunks
