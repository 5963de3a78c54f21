"""The arguments of calls that an assistant made, as objects, also where the answer was cut in them. Pure.

Old calls are history: they are shown to the model as far as they are complete, and refused never.
"""

import re
from typing import Any, Final

import msgspec

from router.errors import InvalidRequestError
from router.http.body import decode_object

_TOKEN: Final = re.compile(r'\s+|"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},:]|[^\s\[\]{},:"]+|"', re.DOTALL)
_SCALAR: Final = re.compile(r"true|false|null|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_CLOSERS: Final = {"{": "}", "[": "]"}


def call_arguments(sent: object) -> dict[str, Any]:
    """Return the arguments of a call that a client sends back.

    Args:
        sent: The JSON text of an object, or its beginning; some clients send the object itself.

    Returns:
        {} for what is no object, and where nothing of it is complete.
    """
    if isinstance(sent, dict):
        return sent
    if not isinstance(sent, str):
        return {}
    for text in (sent, _closed(sent)):
        try:
            # With the bounds of a request's body: nesting, twice the same key, integers that no frame can carry.
            return decode_object(text.encode())
        except (InvalidRequestError, UnicodeEncodeError):
            continue
    return {}


def complete_part(text: str) -> dict[str, Any]:
    """Return the object that the beginning of its JSON text holds so far, without what was being written.

    For calls whose answer was cut at max_tokens. Anthropic's clients read the fragments of a stream by the same rule.

    Returns:
        {} when nothing of it is complete.
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
