"""TOML with single values changed, by lines. Pure.

Values that stand in one line are swapped, keys and tables that are missing are added. What is written otherwise (tables
in braces, values over several lines) is left alone: the reader of the result notices. Source: TOML 1.0.
"""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from router.cli.launch.texts.errors import TextError

Path = tuple[str, ...]

_HEADER: Final = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?")
_ANY_HEADER: Final = re.compile(r"\s*\[")
_VALUE: Final = re.compile(r"""(\s*)("(?:[^"\\]|\\.)*"|'[^']*'|\[[^\[\]#]*\]|[^\s#"'\[{]+)(\s*(?:#.*)?)""")
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
_KEY_PART: Final = re.compile(r"""\s*(?:([A-Za-z0-9_-]+)|"((?:[^"\\]|\\.)*)"|'([^']*)')\s*(?:\.|$)""")


def parse(text: str) -> dict[str, Any]:
    """Read a text.

    Raises:
        TextError: It is not TOML.
    """
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as exc:
        raise TextError(f"it is not TOML ({exc})") from exc


def put(text: str, path: Path, value: Any) -> str:
    """Return the text with a value at a path; an object becomes a table of its own."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            text = put(text, (*path, name), inner)
        return text
    end = "\r\n" if "\r\n" in text else "\n"
    lines = text.split(end)
    start, stop = _table(lines, path[:-1])
    if start is None:
        return _with_table(text, path, value, end)
    for index in range(start, stop):
        name, equals, rest = lines[index].partition("=")
        found = _VALUE.fullmatch(rest)
        if equals and found is not None and _parts(name.strip()) == path[-1:]:
            lines[index] = f"{name}={found[1]}{_written(value)}{found[3]}"
            return end.join(lines)
    filled = [index for index in range(start, stop) if lines[index].strip() and not lines[index].startswith("#")]
    at = filled[-1] + 1 if filled else start
    is_above_table = not filled and at < len(lines) and lines[at] != ""
    lines[at:at] = [_line(path[-1], value), *([""] if is_above_table else [])]
    return end.join(lines)


def put_item(text: str, path: Path, value: Mapping[str, Any], place: int | None) -> str:
    """Refuse: no client has a list of tables."""
    del text, value, place
    raise TextError(f"the list {'.'.join(path)} cannot be changed in TOML")


def _table(lines: Sequence[str], path: Path) -> tuple[int | None, int]:
    """Return the lines of a table, without its header; None = it is not there."""
    start = None if path else 0
    for index, line in enumerate(lines):
        if not _ANY_HEADER.match(line):
            continue
        if start is not None:
            return start, index
        found = _HEADER.fullmatch(line)
        if found is not None and _parts(found[1]) == path:
            start = index + 1
    return start, len(lines)


def _with_table(text: str, path: Path, value: Any, end: str) -> str:
    before = text if not text or text.endswith("\n") else text + end
    header = f"[{'.'.join(map(_key, path[:-1]))}]"
    return f"{before}{end if before else ''}{header}{end}{_line(path[-1], value)}{end}"


def _parts(dotted: str) -> Path | None:
    """Take a key with dots apart; None = it is none that this reads."""
    parts, at = [], 0
    while at < len(dotted):
        found = _KEY_PART.match(dotted, at)
        if found is None:
            return None
        parts.append(next(part for part in found.groups() if part is not None))
        at = found.end()
    return tuple(parts)


def _line(name: str, value: Any) -> str:
    return f"{_key(name)} = {_written(value)}"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _written(name)


def _written(value: Any) -> str:
    """Write a text, number, boolean or a list of these: in TOML they are as in JSON, but for DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
