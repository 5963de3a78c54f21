"""The text of a custom tool's call, read out of its arguments as they come. Pure, without I/O.

The model writes the JSON object `{"input": "..."}`. One that it wrote otherwise is not lost: its only text, or all of
it, is the input.
"""

import json
import re
from typing import Final

from router.protocols.responses.tools import CUSTOM_INPUT

_START: Final = re.compile(rf'\s*\{{\s*"{CUSTOM_INPUT}"\s*:\s*"')
# Whole escapes only: a surrogate pair is one character.
_PIECES: Final = re.compile(
    r'(?:[^"\\]+|\\["\\/bfnrt]|\\u(?![dD][89a-fA-F])[0-9a-fA-F]{4}'
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})*"
)


class CustomInput:
    """Reads one call.

    Attributes:
        text: What is known of the input.
    """

    def __init__(self) -> None:
        self._arguments = ""
        self._at: int | None = None
        self.text = ""

    def add(self, arguments: str) -> str:
        """Take more of the arguments; return what is new of the text."""
        self._arguments += arguments
        if self._at is None:
            start = _START.match(self._arguments)
            if start is None:
                return ""
            self._at = start.end()
        found = _PIECES.match(self._arguments, self._at)
        assert found is not None, "nothing at all matches"
        self._at = found.end()
        more: str = json.loads(f'"{found[0]}"', strict=False)
        self.text += more
        return more

    def finish(self) -> str:
        """Return the rest of the text, of arguments that are complete or that were cut."""
        if self._at is not None:
            return ""
        self.text = _text_of(self._arguments)
        return self.text


def _text_of(arguments: str) -> str:
    try:
        read = json.loads(arguments, strict=False)
    except ValueError:
        return arguments
    texts = [read] if isinstance(read, str) else list(read.values()) if isinstance(read, dict) else []
    found = read.get(CUSTOM_INPUT) if isinstance(read, dict) else None
    text = found if isinstance(found, str) else texts[0] if len(texts) == 1 else None
    # Half a surrogate pair is no character, and no answer can carry it.
    return text.encode(errors="replace").decode() if isinstance(text, str) else arguments
