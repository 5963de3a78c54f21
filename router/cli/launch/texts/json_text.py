"""JSON with single values changed, with comments or without. Pure.

A text is read into nodes that know where they stand; what is put in is written as the text around it is: its indent,
the ends of its lines, several lines or one. Source: RFC 8259; JSONC as editors read it: `//` and `/* */`, and a comma
before a closing bracket.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from router.cli.launch.texts.errors import TextError

_MAX_DEPTH: Final = 64
_BLANK: Final = re.compile(r"[ \t\r\n]*")
_BLANK_OR_COMMENT: Final = re.compile(r"(?:[ \t\r\n]+|//[^\n]*|/\*(?:[^*]|\*(?!/))*\*/)*")
_SCALAR: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null")
_REST_OF_LINE: Final = re.compile(r"[ \t]*(?://[^\r\n]*|/\*[^\r\n]*?\*/)?(?=[ \t]*\r?\n)")
_INDENT: Final = "  "
_STRINGS: Final = json.JSONDecoder()

Path = tuple[str, ...]


class _Node(msgspec.Struct):
    """A value and where it stands: from `start` to before `end`.

    Attributes:
        children: Those of an object or list, in their order.
        names: Of an object's children.
        starts: Where each entry begins: of an object's, its key.
        has_last_comma: Whether a comma comes behind the last entry.
    """

    start: int
    end: int
    value: Any
    children: list["_Node"] = []
    names: list[str] = []
    starts: list[int] = []
    has_last_comma: bool = False

    def child(self, name: str) -> "_Node":
        """Return an object's entry; of two the last, which counts for readers."""
        return self.children[len(self.names) - 1 - self.names[::-1].index(name)]


def parse(text: str) -> Any:
    """Read a text that may have comments; None = it has nothing else.

    Raises:
        TextError: It is not JSON.
    """
    root = _read(text, _BLANK_OR_COMMENT)
    return None if root is None else root.value


def parse_strictly(text: str) -> Any:
    """Read a text without comments, otherwise as `parse`."""
    root = _read(text, _BLANK)
    return None if root is None else root.value


def put(text: str, path: Path, value: Any) -> str:
    """Return the text with a value at a path whose objects are there, or missing; raises `TextError` as `parse`."""
    node = _read(text, _BLANK_OR_COMMENT)
    if node is None:
        return _with_document(text, _nested(path, value))
    for depth, name in enumerate(path):
        if node.value is None:
            return _swapped(text, node, _nested(path[depth:], value))
        if name not in node.names:
            entry = f"{json.dumps(name, ensure_ascii=False)}: "
            return _with_entry(text, node, entry, _nested(path[depth + 1 :], value))
        node = node.child(name)
    return _swapped(text, node, value)


def put_item(text: str, path: Path, value: Mapping[str, Any], place: int | None) -> str:
    """Return the text with an item of the list at a path; raises `TextError` as `parse`."""
    node = _read(text, _BLANK_OR_COMMENT)
    for name in path:
        if node is None or name not in node.names:
            return put(text, path, [value])
        node = node.child(name)
    if node is None or not isinstance(node.value, list):
        return put(text, path, [value]) if path else _with_document(text, [value])
    return _with_entry(text, node, "", value) if place is None else _swapped(text, node.children[place], value)


def _nested(path: Path, value: Any) -> Any:
    for name in reversed(path):
        value = {name: value}
    return value


def _with_document(text: str, value: Any) -> str:
    end = _line_end(text)
    before = text if not text or text.endswith("\n") else text + end
    return before + _pretty(value, "", _INDENT, end) + end


def _swapped(text: str, node: _Node, value: Any) -> str:
    written = _pretty(value, _indent_at(text, node.start), _unit(text), _line_end(text))
    return text[: node.start] + written + text[node.end :]


def _with_entry(text: str, node: _Node, name: str, value: Any) -> str:
    """Return the text with one more entry at the end of an object or list.

    Args:
        name: With its colon; empty in a list.
    """
    end, outer = _line_end(text), _indent_at(text, node.start)
    if not node.children:
        inner = outer + _unit(text)
        rest = text[node.start + 1 :]
        closes = "" if "\n" in text[node.start : node.end] else end + outer
        entry = name + _pretty(value, inner, _unit(text), end)
        return f"{text[: node.start + 1]}{end}{inner}{entry}{closes}{rest}"
    last = node.children[-1].end
    if "\n" not in text[node.start : node.starts[0]]:  # all in one line
        return f"{text[:last]}, {name}{json.dumps(value, ensure_ascii=False)}{text[last:]}"
    inner = _indent_at(text, node.starts[0])
    comma = text.index(",", last) + 1 if node.has_last_comma else last
    found = _REST_OF_LINE.match(text, comma)
    at = comma if found is None else found.end()
    before = text[:at] if node.has_last_comma else f"{text[:last]},{text[last:at]}"
    entry = name + _pretty(value, inner, _unit(text), end) + "," * node.has_last_comma
    closes = end + outer if found is None and "\n" not in text[at : node.end] else ""
    return f"{before}{end}{inner}{entry}{closes}{text[at:]}"


def _pretty(value: Any, indent: str, unit: str, line_end: str) -> str:
    lines = json.dumps(value, indent=unit, ensure_ascii=False).split("\n")
    return (line_end + indent).join(lines)


def _line_end(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _indent_at(text: str, at: int) -> str:
    """Return the blanks at the beginning of the line."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _unit(text: str) -> str:
    """Return by what the first indented line is indented."""
    found = re.search(r"\n([ \t]+)[^ \t\r\n]", text)
    return _INDENT if found is None else "\t" if found[1].startswith("\t") else found[1]


def _read(text: str, blank: re.Pattern[str]) -> _Node | None:
    """Read a whole text."""
    reader = _Reader(text, blank)
    at = reader.skip(0)
    if at == len(text):
        return None
    node = reader.value(at, 0)
    at = reader.skip(node.end)
    if at != len(text):
        raise reader.error(at, "something stands behind its end")
    return node


class _Reader:
    """Reads values from one text.

    Args:
        blank: What may stand between them.
    """

    def __init__(self, text: str, blank: re.Pattern[str]) -> None:
        self._text = text
        self._blank = blank

    def skip(self, at: int) -> int:
        found = self._blank.match(self._text, at)
        return at if found is None else found.end()

    def error(self, at: int, what: str) -> TextError:
        if self._text.startswith(("//", "/*"), at) and self._blank is _BLANK:
            what = "a comment, which this program does not read"
        line = self._text.count("\n", 0, at) + 1
        return TextError(f"it is not JSON (line {line}: {what})")

    def value(self, at: int, depth: int) -> _Node:
        opening = self._text[at : at + 1]
        if depth > _MAX_DEPTH:
            raise self.error(at, "it is nested too deeply")
        if opening in {"{", "["}:
            return self._entries(at, depth, is_object=opening == "{")
        if opening == '"':
            value, end = self._string(at)
            return _Node(at, end, value)
        found = _SCALAR.match(self._text, at)
        if found is None:
            raise self.error(at, "a value is missing or unknown")
        return _Node(at, found.end(), json.loads(found[0]))

    def _string(self, at: int) -> tuple[str, int]:
        try:
            value, end = _STRINGS.raw_decode(self._text, at)
        except json.JSONDecodeError as exc:
            raise self.error(exc.pos, "a text that has no end, or a character that has to be escaped") from exc
        return str(value), end

    def _entries(self, start: int, depth: int, *, is_object: bool) -> _Node:
        close = "}" if is_object else "]"
        node = _Node(start, start, {} if is_object else [])
        at = self.skip(start + 1)
        while not self._text.startswith(close, at):
            node.starts.append(at)
            if is_object:
                name, at = self._name(at)
                node.names.append(name)
            child = self.value(at, depth + 1)
            node.children.append(child)
            at = self.skip(child.end)
            node.has_last_comma = self._text.startswith(",", at)
            if node.has_last_comma:
                at = self.skip(comma := at + 1)
                if self._blank is _BLANK and self._text.startswith(close, at):
                    raise self.error(comma, f"a comma before {close}")
            elif not self._text.startswith(close, at):
                raise self.error(at, f"a comma or {close} is missing")
        node.end = at + 1
        values = [child.value for child in node.children]
        node.value = dict(zip(node.names, values, strict=True)) if is_object else values
        return node

    def _name(self, at: int) -> tuple[str, int]:
        if not self._text.startswith('"', at):
            raise self.error(at, "a key in double quotes is missing")
        name, at = self._string(at)
        at = self.skip(at)
        if not self._text.startswith(":", at):
            raise self.error(at, "a colon is missing")
        return name, self.skip(at + 1)
