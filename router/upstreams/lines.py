"""Bytes of a stream to lines, and events of a stream to what they carry. Without I/O; any cut of the bytes will do.

Source: WHATWG HTML, section 9.2.6 "Interpreting an event stream"; NDJSON has one object per line.
"""

from collections.abc import Iterator
from typing import Final

from router.errors import UpstreamError

MAX_LINE_BYTES: Final = 16 << 20
"""A whole tool call may stand in one line; what is longer is no answer."""


class Lines:
    """Puts lines together."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield every line that is complete, without its end.

        Raises:
            UpstreamError: A line does not end.
        """
        self._rest += data
        if len(self._rest) > MAX_LINE_BYTES:
            raise UpstreamError("it has sent a line that does not end")
        if b"\n" not in data:
            return
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        for line in lines:
            yield line.removesuffix(b"\r")

    @property
    def rest(self) -> bytes:
        """What came behind the last line's end."""
        return bytes(self._rest)


def event_data(line: bytes) -> bytes | None:
    """Return what a line of an event stream carries; None = nothing: a comment, an empty line, another field."""
    return line[5:].removeprefix(b" ") if line.startswith(b"data:") else None
