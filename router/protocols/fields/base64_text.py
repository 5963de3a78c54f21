"""Base64 in requests: bare or within a data: URI, as clients write it. Pure.

Source: RFC 2397 (data: URIs), RFC 4648 (base64, also its URL-safe alphabet).
"""

import binascii
import re
from typing import Final

DATA_URI: Final = re.compile(
    r"\s*data:(?P<media>[^,;]{0,255})(?P<parameters>(?:;[^,;]{0,255}){0,8}),", re.ASCII | re.IGNORECASE
)
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_WHITE_SPACE: Final = b" \t\n\r\v\f"
_ESCAPES: Final = {"%2B": "+", "%2F": "/", "%3D": "=", "%0D": "", "%0A": "", "%20": ""}
"""What clients escape of base64 in a URI."""
_LONGEST_REST: Final = 8
"""Three characters and their padding, with more of it than anybody writes."""
_SLICE_CHARACTERS: Final = 1 << 18
"""Decoded at a time, under a millisecond: binascii holds the interpreter as long as it works."""


class NotBase64Error(Exception):
    """A text is none."""


class TooLongError(Exception):
    """What a text stands for has more bytes than it may."""


def decode_base64(text: str, start: int, *, max_bytes: int) -> bytes:
    """Decode what stands behind a place, slice by slice.

    Raises:
        NotBase64Error: It is none.
        TooLongError: It has more than `max_bytes`.
    """
    if len(text) - start > 3 * max_bytes:  # white space and escapes are no data, but nobody needs that many
        raise TooLongError
    if text.find("%", start) >= 0:
        text, start = text[start:], 0
        for escape, character in _ESCAPES.items():
            text = text.replace(escape, character).replace(escape.lower(), character)
    pieces: list[bytes] = []
    num_bytes, rest = 0, b""
    try:
        for at in range(start, len(text), _SLICE_CHARACTERS):
            raw = text[at : at + _SLICE_CHARACTERS].encode("ascii")
            compact = rest + raw.translate(_URL_SAFE, _WHITE_SPACE)
            whole = len(compact.rstrip(b"=")) // 4 * 4
            pieces.append(binascii.a2b_base64(compact[:whole], strict_mode=True))
            rest = compact[whole:][:_LONGEST_REST]
            num_bytes += len(pieces[-1])
            if num_bytes > max_bytes:
                raise TooLongError
        last = rest.rstrip(b"=")
        pieces.append(binascii.a2b_base64(last + b"=" * (-len(last) % 4), strict_mode=True))
    except (binascii.Error, UnicodeEncodeError) as exc:
        raise NotBase64Error from exc
    data = b"".join(pieces)
    if len(data) > max_bytes:
        raise TooLongError
    return data
