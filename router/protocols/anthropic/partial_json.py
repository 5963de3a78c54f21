"""The object that the beginning of its JSON text holds so far: what was complete, without what was being written.

For calls whose answer was cut at max_tokens. Anthropic's clients read the fragments of a stream by the same rule.
"""

import re
from typing import Any, Final

import msgspec

_TOKEN: Final = re.compile(r'\s+|"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},:]|[^\s\[\]{},:"]+|"', re.DOTALL)
_SCALAR: Final = re.compile(r"true|false|null|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_CLOSERS: Final = {"{": "}", "[": "]"}


def complete_part(text: str) -> dict[str, Any]:
    """Return the object; {} when nothing of it is complete.

    Args:
        text: Some first characters of the JSON text of an object, or all of them.
    """
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        pass
    try:
        return msgspec.json.decode(_closed(text), type=dict[str, Any])
    except msgspec.DecodeError:
        return {}


def _closed(text: str) -> str:
    """Return the text up to its last complete value, with what is open there closed. Linear."""
    open_ones: list[str] = []
    end, closing = 0, ""
    is_key = False
    for token in _TOKEN.finditer(text):
        word = token[0]
        if word == '"':
            break  # a text without its end
        if word in _CLOSERS:
            open_ones.append(_CLOSERS[word])
        elif word in {"}", "]"} and open_ones:
            open_ones.pop()
        is_value = word not in {",", ":"} and not word.isspace() and not is_key
        if is_value and (word[0] in '"{}[]' or _SCALAR.fullmatch(word)):
            end, closing = token.end(), "".join(reversed(open_ones))
        if not word.isspace():
            is_key = word in {"{", ","} and open_ones[-1:] == ["}"]
    return text[:end] + closing
