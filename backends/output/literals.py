"""Values as models write them (JSON, Python literals, Gemma's literals), turned into JSON text while they come.

What is put out is at every moment the beginning of a JSON text that `closing` can end: separators are held back until
the value behind them begins, numbers and words until they are whole. JSON goes through character by character as it
stands, apart from repairs that make it valid: raw control characters in strings are escaped, a backslash before a
character that needs none is doubled, and a comma before a closing bracket is left out.
"""

import enum
import json
import re
import sys
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from backends.output.source import MalformedError, Reading, Source, Tags

MAX_DEPTH: Final = 256
"""Brackets in brackets; deeper ones break the call. Python's own JSON reader ends near 1,000."""

_MAX_SCALAR_CHARS = 1024
_MAX_KEY_CHARS = 1024

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")
_WORD_RUN = re.compile(r"[-+.\w]+")
_BARE_RUN = re.compile(r"[^,{}\[\]()<\"'\r\n]+")
_KEY_RUN = re.compile(r"[^\s:=,{}\[\]()<>\"']+")
_HEX = re.compile(r"[0-9a-fA-F]+")
_PLAIN_DOUBLE = re.compile(r'[^"\\\x00-\x1f]+')
_PLAIN_SINGLE = re.compile(r"[^'\"\\\x00-\x1f]+")

_WORDS = {"true": "true", "false": "false", "null": "null"}
PYTHON_WORDS: Final = {**_WORDS, "True": "true", "False": "false", "None": "null"}
"""Words of JSON and of Python, and what they are in JSON."""
_QUOTES = frozenset("\"'")
_JSON_ESCAPES = frozenset('"\\/bfnrt')
_PYTHON_HEX = {"x": 2, "U": 8}
_PYTHON_ESCAPES = {"'": "'", "a": "\\u0007", "v": "\\u000b", "0": "\\u0000"}


def json_escaped(text: str) -> str:
    """Return `text` as it stands between the quotes of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


class Dialect:
    """How values are written.

    Args:
        marks: What strings stand between; a backslash escapes between quotes, and nothing does between other marks.
        words: Words with a meaning, and what they are in JSON.
        is_bare: Whether keys may stand without quotes, and scalars that are nothing else are strings.
        is_json: Whether values are JSON already and go through as they stand.
    """

    def __init__(self, *marks: str, words: Mapping[str, str], is_bare: bool = False, is_json: bool = False) -> None:
        self.marks = Tags(*marks)
        self.words = words
        self.is_bare = is_bare
        self.is_json = is_json


JSON: Final = Dialect('"', words=_WORDS, is_json=True)
PYTHON: Final = Dialect('"', "'", words=PYTHON_WORDS)


class _Frame(msgspec.Struct, frozen=True):
    """An open bracket: what closes it in the text and in JSON, and what stands between key and value."""

    end: str
    json_end: str
    pair: str = ""
    has_bare_keys: bool = False


class _State(enum.Enum):
    """What may come next inside a bracket."""

    FIRST = enum.auto()
    ITEM = enum.auto()
    PAIR = enum.auto()
    VALUE = enum.auto()
    NEXT = enum.auto()


class Transcoder:
    """Reads one value after the other and puts them out as JSON.

    Args:
        source: Where the characters come from; it records what was consumed and not put out yet.
        put: Gets the JSON text.
    """

    def __init__(self, source: Source, put: Callable[[str], None], dialect: Dialect) -> None:
        self._source = source
        self._put = put
        self._dialect = dialect
        self._frames: list[_Frame] = []
        self._state = _State.VALUE
        self._separator = ""

    def closing(self) -> str:
        """Return what ends the text that was put out so far as one JSON value (no string is open)."""
        has_lone_key = self._frames and self._frames[-1].pair and self._state in (_State.PAIR, _State.VALUE)
        return (": null" if has_lone_key else "") + "".join(frame.json_end for frame in reversed(self._frames))

    def value(self) -> Reading[None]:
        """Read one whole value."""
        yield from self._source.spaces()
        yield from self._value()
        while self._frames:
            yield from self._step()

    def body(self, end: str, pair: str) -> Reading[None]:
        """Read pairs with bare keys up to `end` as an object, whose opening was consumed."""
        self._accept("{")
        self._frames.append(_Frame(end, "}", pair, has_bare_keys=True))
        self._state = _State.FIRST
        while self._frames:
            yield from self._step()

    # ---- one token each ---------------------------------------------------------------------------------------------

    def _step(self) -> Reading[None]:
        frame = self._frames[-1]
        char = yield from self._source.spaces()
        if char == frame.end and self._state in (_State.FIRST, _State.ITEM, _State.NEXT):
            self._close(frame)
        elif self._state is _State.NEXT:
            self._separate(char, ",", ", ")
            self._state = _State.ITEM
        elif self._state is _State.PAIR:
            self._separate(char, frame.pair, ": ")
            self._state = _State.VALUE
        elif self._state is not _State.VALUE and frame.pair:
            yield from self._key(frame)
            self._state = _State.PAIR
        else:
            yield from self._value()

    def _separate(self, char: str, expected: str, separator: str) -> None:
        if char != expected:
            raise MalformedError
        self._source.skip(1)
        self._separator = separator

    def _close(self, frame: _Frame) -> None:
        if self._state is _State.ITEM:
            self._source.take_record()
        self._separator = ""
        self._source.skip(1)
        self._frames.pop()
        self._accept(frame.json_end)
        self._state = _State.NEXT

    def _accept(self, canonical: str) -> None:
        """Put out what was just consumed, with what separates it from the value before it."""
        consumed = self._source.take_record()
        self._put(consumed if self._dialect.is_json else self._separator + canonical)
        self._separator = ""

    def _key(self, frame: _Frame) -> Reading[None]:
        mark = yield from self._source.accept(self._dialect.marks)
        if mark is not None:
            yield from self._string(mark)
            return
        if not (frame.has_bare_keys or self._dialect.is_bare):
            raise MalformedError
        key = yield from self._source.word(_KEY_RUN, _MAX_KEY_CHARS)
        if not key:
            raise MalformedError
        self._accept(f'"{json_escaped(key)}"')

    def _value(self) -> Reading[None]:
        char = yield from self._source.peek()
        if char in "{[":
            self._open(char)
            return
        mark = yield from self._source.accept(self._dialect.marks)
        if mark is not None:
            yield from self._string(mark)
        else:
            yield from self._scalar()
        self._state = _State.NEXT

    def _open(self, char: str) -> None:
        if len(self._frames) >= MAX_DEPTH:
            raise MalformedError
        self._source.skip(1)
        self._accept(char)
        self._frames.append(_Frame("}", "}", ":") if char == "{" else _Frame("]", "]"))
        self._state = _State.FIRST

    def _scalar(self) -> Reading[None]:
        run = _BARE_RUN if self._dialect.is_bare else _WORD_RUN
        text = (yield from self._source.word(run, _MAX_SCALAR_CHARS)).strip()
        canonical = text if _NUMBER.fullmatch(text) else self._dialect.words.get(text)
        if canonical is None:
            if not text or not self._dialect.is_bare:
                raise MalformedError
            canonical = f'"{json_escaped(text)}"'
        self._accept(canonical)

    # ---- strings ----------------------------------------------------------------------------------------------------

    def _string(self, mark: str) -> Reading[None]:
        self._accept('"')
        if mark in _QUOTES:
            yield from self._escaped_body(mark)
        else:
            yield from self._source.until(Tags(mark), lambda text: self._replace(json_escaped(text)))
        self._replace('"')

    def _replace(self, text: str) -> None:
        """Put out `text` in the place of what was consumed."""
        self._source.take_record()
        self._put(text)

    def _escaped_body(self, mark: str) -> Reading[None]:
        plain = _PLAIN_SINGLE if mark == "'" else _PLAIN_DOUBLE
        while True:
            char = yield from self._source.peek()
            if char == mark:
                self._source.skip(1)
                return
            if char == "\\":
                yield from self._escape()
                continue
            text = self._source.match(plain)
            self._replace(text or json_escaped(self._source.skip(1)))

    def _escape(self) -> Reading[None]:
        char = (yield from self._source.ahead(2))[1]
        if char in _JSON_ESCAPES:
            length, text = 2, f"\\{char}"
        elif char == "u" and (digits := (yield from self._hex(4))):
            length, text = 6, f"\\u{digits}"
        else:
            # A backslash that escapes nothing stands for itself.
            length, text = 1, "\\\\"
            if not self._dialect.is_json:
                length, text = (yield from self._python_escape(char)) or (length, text)
        self._source.skip(length)
        self._replace(text)

    def _python_escape(self, char: str) -> Reading[tuple[int, str] | None]:
        """Return the length of an escape that Python has and JSON has not, and its JSON; None = it is none."""
        if char in _PYTHON_ESCAPES:
            return 2, _PYTHON_ESCAPES[char]
        num_digits = _PYTHON_HEX.get(char)
        digits = (yield from self._hex(num_digits)) if num_digits else ""
        if not digits or int(digits, 16) > sys.maxunicode:
            return None
        return 2 + len(digits), json_escaped(chr(int(digits, 16)))

    def _hex(self, num_digits: int) -> Reading[str]:
        """Return the digits behind the two characters that begin an escape; "" = another character is among them."""
        for length in range(1, num_digits + 1):
            digits = (yield from self._source.ahead(2 + length))[2:]
            if not _HEX.fullmatch(digits):
                return ""
        return digits
