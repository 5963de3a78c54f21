"""Keeps control tokens that users write apart from those that a chat template writes.

Before a template is rendered, every control token's text inside the messages gets a mark, a character that occurs
nowhere else; afterwards the marks tell which ones are the users'. The template sees the messages otherwise unchanged,
so whatever it does with them (trim, split, compare) it still does.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from backends.errors import PromptError

# Source: The Unicode Standard, section 23.7: noncharacters "are intended for process-internal uses".
_MARKS = [chr(code) for code in range(0xFDD0, 0xFDF0)]


class Piece(msgspec.Struct, frozen=True):
    """Part of a rendered prompt.

    Attributes:
        text: As the model is to see it.
        is_literal: Whether control tokens in it are text.
    """

    text: str
    is_literal: bool


class ControlTextMarker:
    """Marks control tokens in one request's data, and splits the rendered text by the marks.

    Args:
        control_texts: Of the model's control tokens.
        values: Everything of the request that goes to the template: strings, lists, dicts, nested.

    Raises:
        PromptError: The texts use every character that could be a mark.
    """

    def __init__(self, control_texts: Iterable[str], values: Any) -> None:
        strings = list(_strings(values))
        present = [text for text in control_texts if len(text) > 1 and any(text in string for string in strings)]
        self._all_texts = [text for text in control_texts if text]
        self._pattern = _alternatives(present)
        self._mark = unused_mark(strings) if present else ""

    def mark(self, value: Any) -> Any:
        """Return `value` with every control token in it marked; the same object where there is none."""
        if self._pattern is None:
            return value
        if isinstance(value, str):
            return self._pattern.sub(lambda found: found[0][0] + self._mark + found[0][1:], value)
        if isinstance(value, list):
            return [self.mark(item) for item in value]
        if isinstance(value, dict):
            return {self.mark(key): self.mark(item) for key, item in value.items()}
        return value

    def split(self, rendered: str) -> list[Piece]:
        """Return the rendered text in pieces; without marks it is one piece.

        A literal piece reaches from one of the template's control tokens to the next, because tokenizers cut there
        anyway: its tokens are those that the text would have in a model without these control tokens.
        """
        if not self._mark or self._mark not in rendered:
            return [Piece(rendered, is_literal=False)]
        written = _alternatives([text for text in self._all_texts if text in rendered])
        pieces: list[Piece] = []
        start = parsed_start = 0
        borders = [(m.start(), m.end()) for m in written.finditer(rendered)] if written else []
        for border, after in [*borders, (len(rendered), len(rendered))]:
            run = rendered[start:border]
            if self._mark in run:
                pieces.append(Piece(rendered[parsed_start:start], is_literal=False))
                pieces.append(Piece(self.plain(run), is_literal=True))
                parsed_start = border
            start = after
        pieces.append(Piece(rendered[parsed_start:], is_literal=False))
        return [piece for piece in pieces if piece.text]

    def plain(self, rendered: str) -> str:
        """Return a rendered text as the model is to see it."""
        return rendered.replace(self._mark, "") if self._mark else rendered


def unused_mark(values: Any) -> str:
    """Return a character that occurs in none of a request's strings.

    Args:
        values: Strings, lists, dicts, nested.

    Raises:
        PromptError: There is none.
    """
    strings = list(_strings(values))
    for mark in _MARKS:
        if not any(mark in string for string in strings):
            return mark
    raise PromptError("the messages use every Unicode noncharacter from U+FDD0 to U+FDEF", param="messages")


def _alternatives(texts: list[str]) -> re.Pattern[str] | None:
    """Return a pattern that finds any of the texts, the longest first, or None without texts."""
    return re.compile("|".join(re.escape(text) for text in sorted(texts, key=len, reverse=True))) if texts else None


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(key)
            yield from _strings(item)
