"""The characters of an answer as they come, read by generators that pause where more of them are needed.

A reader is a generator that yields nothing and is resumed when characters were added; so a format's reader is written
as if the text were whole, and cannot depend on where it was cut. No format is known in here.

What has not been consumed when a reader pauses is bounded by the longest tag plus `MAX_TRIMMED`, so that adding
characters one by one stays linear.
"""

import itertools
import re
from collections.abc import Callable, Generator
from typing import TypeVar

T = TypeVar("T")

Reading = Generator[None, None, T]
"""A read that may pause, and what it returns in the end."""

SPACES = " \t\r\n"
"""White space of formats; other Unicode white space is content."""

MAX_TRIMMED = 32
"""White space characters that are at most dropped before a tag; older ones have already gone out."""

_SPACES = re.compile(r"[ \t\r\n]*")


class MalformedError(Exception):
    """What comes is not what the format says; never leaves this package."""


class EndOfTextError(Exception):
    """The answer ended in the middle of something; never leaves this package."""


class Tags:
    """Texts to look for.

    Args:
        texts: None is the beginning of another (what is found would depend on the cuts); empty ones are left out.
    """

    def __init__(self, *texts: str) -> None:
        self.texts = tuple(sorted(filter(None, set(texts))))
        assert not any(b.startswith(a) for a, b in itertools.pairwise(self.texts))
        self._pattern = re.compile("|".join(map(re.escape, self.texts)) or r"(?!)")
        self._prefixes = frozenset(text[:end] for text in self.texts for end in range(1, len(text)))
        self._max_prefix = max((len(text) - 1 for text in self.texts), default=0)

    def search(self, text: str, start: int) -> re.Match[str] | None:
        """Return the first tag in `text` from `start` on."""
        return self._pattern.search(text, start)

    def match(self, text: str, start: int) -> re.Match[str] | None:
        """Return the tag that `text` has at `start`."""
        return self._pattern.match(text, start)

    def is_prefix(self, text: str, start: int) -> bool:
        """Return whether all of `text` from `start` on could become a tag."""
        return len(text) - start <= self._max_prefix and text[start:] in self._prefixes

    def num_pending(self, text: str, start: int) -> int:
        """Return how many characters at the end of `text` may be the beginning of a tag."""
        for length in range(min(self._max_prefix, len(text) - start), 0, -1):
            if text[-length:] in self._prefixes:
                return length
        return 0


class Source:
    """Characters that have come and have not been consumed, and a record of what a reader consumed.

    Its readers raise MalformedError where something else comes than they read, EndOfTextError where nothing will.
    """

    def __init__(self) -> None:
        self._text = ""
        self._pos = 0
        self._records: list[list[str]] = []
        self._is_over = False

    def feed(self, text: str) -> None:
        """Add characters."""
        self._text = self._text[self._pos :] + text
        self._pos = 0

    def end(self) -> None:
        """Say that no more characters come; readers that wait for some then raise EndOfTextError."""
        self._is_over = True

    # ---- the record: what was consumed since the last look at it ----------------------------------------------------

    def start_record(self) -> None:
        """Begin to keep what is consumed; inside a record, which goes on to get everything, a second one."""
        self._records.append([])

    def stop_record(self) -> str:
        """End the record that was begun last; return what it has."""
        return "".join(self._records.pop())

    def take_record(self) -> str:
        """Return what was consumed since the record that was begun last was started or last taken."""
        if not self._records or not self._records[-1]:
            return ""
        taken = "".join(self._records[-1])
        self._records[-1].clear()
        return taken

    def take_rest(self) -> str:
        """Consume all that is there."""
        return self._take(len(self._text))

    def _take(self, end: int) -> str:
        taken = self._text[self._pos : end]
        self._pos = end
        for record in self._records:
            record.append(taken)
        return taken

    # ---- readers ----------------------------------------------------------------------------------------------------

    def more(self) -> Reading[None]:
        """Pause until characters were added."""
        if self._is_over:
            raise EndOfTextError
        yield

    def peek(self) -> Reading[str]:
        """Return the next character without consuming it."""
        while self._pos >= len(self._text):
            yield from self.more()
        return self._text[self._pos]

    def ahead(self, length: int) -> Reading[str]:
        """Return the next `length` characters without consuming them."""
        while len(self._text) - self._pos < length:
            yield from self.more()
        return self._text[self._pos : self._pos + length]

    def skip(self, length: int) -> str:
        """Consume and return `length` characters that were looked at."""
        return self._take(self._pos + length)

    def match(self, pattern: re.Pattern[str]) -> str:
        """Consume and return what of the characters at hand matches `pattern`; "" = nothing."""
        found = pattern.match(self._text, self._pos)
        return self._take(found.end()) if found else ""

    def spaces(self) -> Reading[str]:
        """Consume white space; return the character behind it without consuming it."""
        while True:
            self.match(_SPACES)
            if self._pos < len(self._text):
                return self._text[self._pos]
            yield from self.more()

    def accept(self, tags: Tags) -> Reading[str | None]:
        """Consume and return the tag that comes next; None = another text comes."""
        while True:
            found = tags.match(self._text, self._pos)
            if found:
                return self._take(found.end())
            if self._pos < len(self._text) and not tags.is_prefix(self._text, self._pos):
                return None
            yield from self.more()

    def expect(self, tags: Tags) -> Reading[str]:
        """Consume and return the tag that comes next."""
        found = yield from self.accept(tags)
        if found is None:
            raise MalformedError
        return found

    def word(self, pattern: re.Pattern[str], max_chars: int) -> Reading[str]:
        """Consume and return the longest run that `pattern`, which matches runs of a set of characters, finds."""
        parts: list[str] = []
        num_chars = 0
        while True:
            part = self.match(pattern)
            parts.append(part)
            num_chars += len(part)
            if num_chars > max_chars:
                raise MalformedError
            if self._pos < len(self._text):
                return "".join(parts)
            yield from self.more()

    def until(
        self, tags: Tags, put: Callable[[str], None], *, trimmed: str = "", max_trimmed: int = MAX_TRIMMED
    ) -> Reading[str]:
        """Hand what comes before the first of `tags` to `put` as it comes; consume the tag.

        Args:
            put: Gets the characters; at the end of the answer also those that were held back.
            trimmed: Characters that are dropped directly before the tag.
        """
        while True:
            found = tags.search(self._text, self._pos)
            if found:
                end = self._trimmed_end(found.start(), trimmed, max_trimmed)
                if end > self._pos:
                    put(self._take(end))
                return self._take(found.end())
            if self._is_over:
                put(self.take_rest())
                raise EndOfTextError
            end = len(self._text) - tags.num_pending(self._text, self._pos)
            end = self._trimmed_end(end, trimmed, max_trimmed)
            if end > self._pos:
                put(self._take(end))
            yield

    def _trimmed_end(self, end: int, trimmed: str, max_trimmed: int) -> int:
        first = max(self._pos, end - max_trimmed) if trimmed else end
        while end > first and self._text[end - 1] in trimmed:
            end -= 1
        return end
