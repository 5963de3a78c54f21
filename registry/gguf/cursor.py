"""A bounds-checked reading position in a GGUF header, over a window of bytes.

Not here: files and file descriptors (a `Fetch` brings the bytes) and what the values mean (`header.py`).
"""

import re
import struct
from collections.abc import Callable
from typing import Final

from registry.errors import GGUFError
from registry.gguf.bulk import skip_strings_in_bulk
from registry.gguf.constants import MAX_DIMS, MAX_HEADER_BYTES, SCALAR_FORMATS, WINDOW_BYTES

Fetch = Callable[[int, int], bytes]
"""`fetch(offset, size)` gives the bytes there, fewer at the end of the file."""

_MARGIN_BYTES: Final = 64
"""How close to the end of the window a string may start before the window moves, so a short one lies in it whole."""

_PROBE_BYTES: Final = 4096

_BAD_BYTE_TOKEN: Final = {
    "<": re.compile(rb"\x06\0{7}<0x(?![0-9A-Fa-f]{2}>)"),
    ">": re.compile(rb"\0{7}\x06<0x(?![0-9A-Fa-f]{2}>)"),
}
"""A six-byte token that starts as a byte token does but has no two hex digits; llama.cpp aborts on `<0xZZ>`."""


class Layout:
    """The struct codes of one byte order.

    Attributes:
        order: `<` or `>`.
        u32: One uint32.
        u64: One uint64.
        scalars: Value type -> its Struct.
        array_head: Element type (u32) and length (u64).
        tensor_tails: Number of dimensions -> Struct of dims (u64 each), type (u32) and offset (u64).
    """

    def __init__(self, order: str) -> None:
        self.order = order
        self.u32 = struct.Struct(order + "I")
        self.u64 = struct.Struct(order + "Q")
        self.scalars = {kind: struct.Struct(order + code) for kind, code in SCALAR_FORMATS.items()}
        self.array_head = struct.Struct(order + "IQ")
        self.tensor_tails = {n: struct.Struct(f"{order}{n}QIQ") for n in range(1, MAX_DIMS + 1)}


class Cursor:
    """Reads values one after the other; every read is checked against the size of the file first.

    One that goes too far is a GGUFError: truncated or header_too_large.

    Args:
        position: Where to start, in bytes from the start of the file.
        window_bytes: How much to fetch at a time, at least 64.
    """

    def __init__(
        self, fetch: Fetch, file_size_bytes: int, layout: Layout, *, position: int, window_bytes: int = WINDOW_BYTES
    ) -> None:
        self._fetch = fetch
        self._window_bytes = window_bytes
        self._limit = min(file_size_bytes, MAX_HEADER_BYTES)
        self._file_size_bytes = file_size_bytes
        self.layout = layout
        self._base = position
        self._window = b""
        self._index = 0

    @property
    def position(self) -> int:
        """Bytes from the start of the file."""
        return self._base + self._index

    @property
    def num_bytes_left(self) -> int:
        """Bytes from here to the end of the readable region."""
        return self._limit - self.position

    def read(self, layout: struct.Struct) -> tuple[int, ...]:
        """Read fixed-size numbers and step over them. Float codes give floats; the annotation names the common case."""
        size = layout.size
        if self._index + size > len(self._window):
            self._ensure(size)
        values = layout.unpack_from(self._window, self._index)
        self._index += size
        return values

    def read_bytes(self, size: int) -> bytes:
        """Read bytes and step over them; the caller has checked `size` against a limit of its own."""
        end = self._index + size
        if end > len(self._window):
            self._ensure(size)
            end = self._index + size
        data = self._window[self._index : end]
        self._index = end
        return data

    def skip(self, size: int) -> None:
        """Step over `size` bytes without reading them; any number from 0 is safe."""
        if size > self.num_bytes_left:
            raise self._end_error(self.position, size)
        self._index += size

    def bytes_at(self, position: int, size: int) -> bytes:
        """Give bytes from anywhere in the file, without moving; fewer where the file has become shorter."""
        return self._fetch(position, size)

    def skip_if_equal(self, data: bytes) -> bool:
        """Step over bytes if they are these, and tell whether they are."""
        size = len(data)
        if size > self.num_bytes_left:
            return False
        # The beginning is in the window already; most arrays that differ do so there, and soon.
        num_ready = min(size, len(self._window) - self._index)
        for num_bytes in (min(num_ready, _PROBE_BYTES), num_ready):
            if num_bytes > 0 and self._window[self._index : self._index + num_bytes] != data[:num_bytes]:
                return False
        if num_ready < size and self._fetch(self.position, size) != data:
            return False
        self._index += size
        return True

    def skip_strings(self, count: int, *, is_searching_byte_tokens: bool) -> bool:
        """Step over length-prefixed strings; the one loop whose cost grows with the vocabulary.

        Args:
            count: The caller has checked it against MAX_STRING_ELEMENTS.
            is_searching_byte_tokens: Also look for malformed byte tokens; tell whether one was seen.
        """
        has_bad_token = False
        while count:
            self._ensure(max(8, min(_MARGIN_BYTES, self.num_bytes_left)))
            start = self._index
            count = self._skip_strings_in_window(count)
            if is_searching_byte_tokens and not has_bad_token:
                pattern = _BAD_BYTE_TOKEN[self.layout.order]
                has_bad_token = pattern.search(self._window, start, self._index) is not None
        return has_bad_token

    def _skip_strings_in_window(self, count: int) -> int:
        """Step over at most `count` strings, as far as their starts lie in the window; return how many are left."""
        window = self._window
        has_more = self._base + len(window) < self._limit
        last_start = len(window) - (_MARGIN_BYTES if has_more else 8)
        unpack_from = self.layout.u64.unpack_from
        index, left = skip_strings_in_bulk(self.layout.order, unpack_from, window, self._index, count, last_start)
        length = 0
        is_first = left == count
        while left and (is_first or index <= last_start):
            length = unpack_from(window, index)[0]
            index += 8 + length
            left -= 1
            is_first = False
        if self._base + index > self._limit:
            raise self._end_error(self._base + index - length, length)
        self._index = index
        return left

    def _ensure(self, size: int) -> None:
        """Have `size` bytes in the window from here on."""
        if self._index + size <= len(self._window):
            return
        position = self.position
        if size > self._limit - position:
            raise self._end_error(position, size)
        self._window = self._fetch(position, min(max(size, self._window_bytes), self._limit - position))
        self._base, self._index = position, 0
        if len(self._window) < size:
            raise GGUFError("truncated", position, "the file became shorter while it was read")

    def _end_error(self, position: int, size: int) -> GGUFError:
        if position + size <= self._file_size_bytes:
            return GGUFError("header_too_large", position, f"the header is larger than {MAX_HEADER_BYTES} bytes")
        left = max(self._file_size_bytes - position, 0)
        return GGUFError("truncated", position, f"{size} bytes are announced here but the file has only {left} more")
