"""The bytes of an image as requests carry them: a data: URI, or bare base64 (Ollama, llama-server).

Source: RFC 2397 (data: URIs), RFC 4648 (base64, also its URL-safe alphabet).
"""

import binascii
import re
from functools import partial
from typing import Final

from backends.errors import ImageError
from backends.wire.prompts import MAX_IMAGE_BYTES, image_too_large
from registry.threads import in_thread

_DATA_URI: Final = re.compile(r"\s*data:[^,;]{0,255}(?P<parameters>(?:;[^,;]{0,255}){0,8}),", re.ASCII | re.IGNORECASE)
_SCHEME: Final = re.compile(r"\s*(?P<scheme>[a-z][a-z0-9+.-]{1,15}):", re.ASCII | re.IGNORECASE)
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_WHITE_SPACE: Final = b" \t\n\r\v\f"
_ESCAPES: Final = {"%2B": "+", "%2F": "/", "%3D": "=", "%0D": "", "%0A": "", "%20": ""}
"""What clients escape of base64 in a URI."""
_LONGEST_REST: Final = 8
"""Three characters and their padding, with more of it than anybody writes."""
_EXCERPT_CHARACTERS: Final = 40
_SLICE_CHARACTERS: Final = 1 << 18
"""Decoded at a time, under a millisecond: binascii holds the interpreter as long as it works."""
_QUICK_CHARACTERS: Final = 1 << 18
"""What is longer is decoded on a thread of its own."""


def address_in(text: str) -> str | None:
    """Return what a text says where it is an address of the web, None where it is something else."""
    match = _SCHEME.match(text)
    return text.strip() if match is not None and match["scheme"].lower() in {"http", "https"} else None


async def read_image(text: str) -> bytes:
    """Decode as `image_bytes` does, without holding up the event loop."""
    if len(text) <= _QUICK_CHARACTERS:
        return image_bytes(text)
    return await in_thread(partial(image_bytes, text))


def image_bytes(text: str) -> bytes:
    """Decode a data: URI or bare base64; what the URI says of the type is not believed.

    Raises:
        ImageError: It is neither, or too long.
    """
    match = _DATA_URI.match(text)
    if match is None and (other := _SCHEME.match(text)):
        excerpt = text.strip()[:_EXCERPT_CHARACTERS]
        wanted = "data:image/png;base64,..."
        if other["scheme"].lower() == "data":
            raise ImageError(f"the data: URI ({excerpt!r}) has no comma before its data; send {wanted}")
        raise ImageError(f"the image is an address ({excerpt!r}), not its data; send the file's content as {wanted}")
    if match is not None and "base64" not in match["parameters"].lower().split(";"):
        raise ImageError("the image's data: URI is not base64; send data:image/png;base64,... with the file's content")
    start = match.end() if match is not None else 0
    if len(text) - start > 3 * MAX_IMAGE_BYTES:  # white space and escapes are no data, but nobody needs that many
        raise image_too_large()
    return _decoded(text, start)


def _decoded(text: str, start: int) -> bytes:
    """Decode the base64 behind `start`, slice by slice."""
    if text.find("%", start) >= 0:
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
            if num_bytes > MAX_IMAGE_BYTES:
                raise image_too_large()
        last = rest.rstrip(b"=")
        pieces.append(binascii.a2b_base64(last + b"=" * (-len(last) % 4), strict_mode=True))
    except (binascii.Error, UnicodeEncodeError) as exc:
        raise ImageError("the image is not base64; send the file's content, encoded as base64") from exc
    data = b"".join(pieces)
    if len(data) > MAX_IMAGE_BYTES:
        raise image_too_large()
    return data
