"""String arrays that were stepped over before, so that the same bytes in the next file need no stepping.

A folder of models has few vocabularies in many files, and a vocabulary is the only part of a header whose cost grows: a
hundred thousand strings, one after the other. Equal bytes have equal strings, so comparing bytes replaces the walk. Not
here: the walk itself (`cursor.py`).
"""

from typing import Final, NamedTuple

from registry.gguf.cursor import Cursor

MAX_REGION_BYTES: Final = 6 << 20
"""Largest array that is remembered; 250,000 tokens have about 5 MB."""

MAX_TOTAL_BYTES: Final = 24 << 20

MIN_STRINGS: Final = 256
"""Shorter arrays are walked as quickly as compared."""


class _Region(NamedTuple):
    data: bytes
    has_bad_byte_tokens: bool


class KnownVocabularies:
    """Remembers string arrays of the last files; for one thread, for the time of one scan."""

    def __init__(self) -> None:
        self._regions: dict[tuple[str, int, bool], list[_Region]] = {}
        self._num_bytes = 0

    def skip(self, cursor: Cursor, num_strings: int, *, is_searching_byte_tokens: bool) -> bool:
        """Step over strings, as `Cursor.skip_strings` does."""
        key = (cursor.layout.order, num_strings, is_searching_byte_tokens)
        for region in self._regions.get(key, ()):
            if cursor.skip_if_equal(region.data):
                return region.has_bad_byte_tokens
        start = cursor.position
        has_bad = cursor.skip_strings(num_strings, is_searching_byte_tokens=is_searching_byte_tokens)
        size = cursor.position - start
        if num_strings >= MIN_STRINGS and size <= MAX_REGION_BYTES:
            if self._num_bytes + size > MAX_TOTAL_BYTES:
                self._regions.clear()
                self._num_bytes = 0
            data = cursor.bytes_at(start, size)
            if len(data) == size:
                self._regions.setdefault(key, []).append(_Region(data, has_bad))
                self._num_bytes += size
        return has_bad
