"""The text of a custom tool's call, read out of its arguments as they come. Pure, without I/O.

The model writes the JSON object `{"input": "..."}`. One that it wrote otherwise is not lost: its only text, or all of
it, is the input.
"""

import json
import re
from typing import Final

from router.protocols.responses.tools import CUSTOM_INPUT

_START: Final = re.compile(rf'\s*\{{\s*"{CUSTOM_INPUT}"\s*:\s*"')
# Whole escapes only: a surrogate pair is one character, and half of one is known by what follows it.
_PIECES: Final = re.compile(
    r'(?:[^"\\]+|\\["\\/bfnrt]|\\u(?![dD][89abAB])[0-9a-fA-F]{4}'
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}(?:\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?=[^\\]|\\[^u]|\\u(?:[^dD]|[dD][^c-fC-F]))))*"
)


class CustomInput:
    """Reads one call."""

    def __init__(self) -> None:
        self._unread = ""
        self._is_inside = False
        self._texts: list[str] = []

    @property
    def text(self) -> str:
        """What is known of the input."""
        return "".join(self._texts)

    def add(self, arguments: str) -> str:
        """Take more of the arguments; return what is new of the text."""
        self._unread += arguments
        if not self._is_inside:
            start = _START.match(self._unread)
            if start is None:
                return ""
            self._is_inside = True
            self._unread = self._unread[start.end() :]
        found = _PIECES.match(self._unread)
        assert found is not None, "nothing at all matches"
        self._unread = self._unread[found.end() :]
        more = _whole(json.loads(f'"{found[0]}"', strict=False))
        self._texts.append(more)
        return more

    def finish(self) -> str:
        """Return the rest of the text, of arguments that are complete or that were cut."""
        if self._is_inside:
            return ""
        self._texts.append(_text_of(self._unread))
        return self.text


def _text_of(arguments: str) -> str:
    try:
        read = json.loads(arguments, strict=False)
    except ValueError:
        return arguments
    texts = [read] if isinstance(read, str) else list(read.values()) if isinstance(read, dict) else []
    found = read.get(CUSTOM_INPUT) if isinstance(read, dict) else None
    text = found if isinstance(found, str) else texts[0] if len(texts) == 1 else None
    return _whole(text) if isinstance(text, str) else arguments


def _whole(text: str) -> str:
    """Return a text without halves of surrogate pairs, which are no characters, and which no answer can carry."""
    return text.encode(errors="replace").decode()
