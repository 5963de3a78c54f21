"""Whether an answer has the bytes that were asked for, by its header. Pure.

Source: RFC 9110, 14.4: `Content-Range: bytes 0-499/1234`, the total may be `*`; 13.1.5: an If-Range that does not match
makes the server send everything with 200.
"""

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from registry.hub.retry import TroubleError

PARTIAL: Final = 206

_CONTENT_RANGE: Final = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")


class Span(NamedTuple):
    """Bytes of a file."""

    start: int
    end: int


def announced_span(status: int, headers: Mapping[str, str], asked: Span, size_bytes: int) -> Span:
    """Check what an answer of status 200 or 206 announces against the bytes that were asked for.

    Returns:
        The bytes that will come: from the first that was asked for, perhaps not up to the last.

    Raises:
        TroubleError: It announces something else.
    """
    span = Span(0, size_bytes) if status != PARTIAL else _content_range(headers, asked, size_bytes)
    length = headers.get("content-length")
    if length is not None and length != str(span.end - span.start):
        raise TroubleError(
            f"the server announces {length[:20]} bytes in place of {span.end - span.start}", is_violation=True
        )
    return span


def _content_range(headers: Mapping[str, str], asked: Span, size_bytes: int) -> Span:
    text = headers.get("content-range", "")
    match = _CONTENT_RANGE.fullmatch(text)
    if match is None:
        raise TroubleError("the server sends a part of the file without saying which", is_violation=True)
    span = Span(int(match[1]), int(match[2]) + 1)
    is_same_file = match[3] in {"*", str(size_bytes)}
    if span.start != asked.start or not span.start < span.end <= asked.end or not is_same_file:
        wanted = f"bytes {asked.start}-{asked.end - 1}/{size_bytes}"
        raise TroubleError(f"the server sends {text[:60]!r} in place of {wanted!r}", is_violation=True)
    return span
