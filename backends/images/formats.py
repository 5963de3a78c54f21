"""Which kind of file some bytes are, by their content: those that are decoded, and the names of others.

Source: the first bytes ("magic numbers") that each format's specification gives.
"""

import re
from typing import Final

READ_FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
"""Pillow's names; nothing else of its decoders ever sees a client's bytes. Of animations the first frame is read."""

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
