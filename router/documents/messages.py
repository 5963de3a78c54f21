"""What gateway and child say to each other: one task and the document's bytes there, one reply back."""

from typing import Final

import msgspec

from router.documents.kinds import Kind

HEADER_BYTES: Final = 4
"""Length of the task, before it on the pipe; big-endian."""
MAX_PICTURES: Final = 16
"""Pages without text that are drawn of one document."""
MAX_PICTURES_BYTES: Final = 16 << 20
REPLY_OVERHEAD_BYTES: Final = 1 << 16
MAX_UTF8_BYTES: Final = 4


class ReadingLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Those of the config that hold within the child (`router.config.documents`)."""

    max_chars: int
    max_pages: int
    max_memory_bytes: int
    max_cpu_s: int
    timeout_s: int
    max_entries: int
    max_unpacked_bytes: int
    max_ratio: int


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What to read; the document's bytes follow it."""

    name: str
    kind: Kind
    limits: ReadingLimits


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        num_pages: Pages, slides or sheets; None = it has none.
        scanned: Numbers of the pages that are pictures without text, from 1.
        pictures: PNG, of the first of these.
        problem: Why there is nothing, a sentence without the name; None = there is.
    """

    kind: Kind
    markdown: str = ""
    num_pages: int | None = None
    is_truncated: bool = False
    notes: list[str] = []
    scanned: list[int] = []
    pictures: list[bytes] = []
    problem: str | None = None


def most_reply_bytes(limits: ReadingLimits) -> int:
    """Return how long a reply may be."""
    return MAX_UTF8_BYTES * limits.max_chars + MAX_PICTURES_BYTES + REPLY_OVERHEAD_BYTES
