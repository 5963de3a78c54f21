"""The bytes of an image as requests carry them: a data: URI, or bare base64 (Ollama, llama-server).

Source: RFC 2397 (data: URIs), RFC 4648 (base64, also its URL-safe alphabet).
"""

import re
from functools import partial
from typing import Final

from backends.errors import ImageError
from backends.wire.prompts import MAX_IMAGE_BYTES, image_too_large
from registry.threads import in_thread
from router.protocols.fields.base64_text import DATA_URI, NotBase64Error, TooLongError, decode_base64

_SCHEME: Final = re.compile(r"\s*(?P<scheme>[a-z][a-z0-9+.-]{1,15}):", re.ASCII | re.IGNORECASE)
_EXCERPT_CHARACTERS: Final = 40
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
    match = DATA_URI.match(text)
    if match is None and (other := _SCHEME.match(text)):
        excerpt = text.strip()[:_EXCERPT_CHARACTERS]
        wanted = "data:image/png;base64,..."
        if other["scheme"].lower() == "data":
            raise ImageError(f"the data: URI ({excerpt!r}) has no comma before its data; send {wanted}")
        raise ImageError(f"the image is an address ({excerpt!r}), not its data; send the file's content as {wanted}")
    if match is not None and "base64" not in match["parameters"].lower().split(";"):
        raise ImageError("the image's data: URI is not base64; send data:image/png;base64,... with the file's content")
    try:
        return decode_base64(text, match.end() if match is not None else 0, max_bytes=MAX_IMAGE_BYTES)
    except TooLongError as exc:
        raise image_too_large() from exc
    except NotBase64Error as exc:
        raise ImageError("the image is not base64; send the file's content, encoded as base64") from exc
