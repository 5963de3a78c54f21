"""The bytes of an image as requests carry them: a data: URI, or bare base64 (Ollama, llama-server).

Source: RFC 2397 (data: URIs), RFC 4648 (base64, also its URL-safe alphabet).
"""

import base64
import binascii
import re
from typing import Final
from urllib.parse import unquote_to_bytes

from backends.errors import ImageError
from backends.images.limits import MAX_IMAGE_BYTES

_DATA_URI: Final = re.compile(r"\s*data:[^,;]{0,255}(?P<parameters>(?:;[^,;]{0,255}){0,8}),", re.ASCII | re.IGNORECASE)
_SCHEME: Final = re.compile(r"\s*(?P<scheme>[a-z][a-z0-9+.-]{1,15}):", re.ASCII | re.IGNORECASE)
_URL_SAFE: Final = bytes.maketrans(b"-_", b"+/")
_EXCERPT_CHARACTERS: Final = 40


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
    encoded = text[match.end() :] if match is not None else text
    if len(encoded) > 3 * MAX_IMAGE_BYTES:  # white space and escapes are no data, but nobody needs that many
        raise too_large()
    return _decoded(encoded)


def too_large() -> ImageError:
    """Return the refusal of a file that is too long."""
    return ImageError(f"the image is larger than {MAX_IMAGE_BYTES >> 20} MiB; shrink it or save it as JPEG")


def _decoded(encoded: str) -> bytes:
    try:
        raw = unquote_to_bytes(encoded) if "%" in encoded else encoded.encode("ascii")
        compact = b"".join(raw.split()).translate(_URL_SAFE).rstrip(b"=")
        data = base64.b64decode(compact + b"=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, UnicodeEncodeError) as exc:
        raise ImageError("the image is not base64; send the file's content, encoded as base64") from exc
    if len(data) > MAX_IMAGE_BYTES:
        raise too_large()
    return data
