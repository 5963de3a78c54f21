"""Change keys of the config file in place: comments, order and layout stay, and a reader never sees half a file.

Not here: what values mean; the edited text is checked with `parse_config` before it replaces the file.
"""

import contextlib
import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from registry.disk import make_private, sync_folder
from router.config.load import parse_config
from router.config.yaml_text import YAMLTextError, compose, dotted, parse
from router.errors import ConfigError

Scalar = str | float | bool | None
Value = Scalar | Sequence[str | dict[str, Any]] | dict[str, str] | dict[str, list[str]]
Changes = Mapping[tuple[str, ...], Value]
"""Key path, e.g. `("engine",)` or `("server", "port")`, to its new value."""

ABSENT = object()
"""No value at all, which is not null."""

_PLAIN = re.compile(r"[A-Za-z0-9_./~-]+")

_UNPRINTABLE = re.compile(r"[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
"""Source: YAML 1.2, 5.1 (`c-printable`), and 5.4 for what YAML 1.1 takes for an end of a line."""

_INDENT = 2

NEW_FILE_MODE = 0o600
"""Mode of a file that did not exist: the config may come to hold tokens."""


def set_values(path: Path, changes: Changes) -> bool:
    """Set keys of the file, all or none; sections that are missing are added, a missing file is created.

    Args:
        path: The config file; a symbolic link is followed, not replaced.

    Returns:
        Whether the file is another one now.

    Raises:
        ConfigError: The file, or what it would become, cannot be used; it is left as it was.
    """
    target = path.resolve()
    try:
        old = target.read_bytes().decode() if target.exists() else ""
        parse_config(old, source=str(path))
        new = old
        for key, value in changes.items():
            new = edited(new, key, value)
        parse_config(new, source=str(path))
        if new == old:
            return False
        make_private(target.parent)
        write_atomically(target, new.encode())
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path}: not UTF-8 text") from exc
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be changed: {exc.strerror}") from exc
    return True


def set_value(path: Path, key: tuple[str, ...], value: Value) -> bool:
    """Set one key of the file; as `set_values`."""
    return set_values(path, {key: value})


def edited(text: str, key: tuple[str, ...], value: Value) -> str:
    """Return the text with one key set; every other character stays.

    Raises:
        ConfigError: The text is written in a way in which this cannot be done.
    """
    root = compose(text)
    document = parse(text).value
    if is_same(get_at(document, key), value):
        return text
    found = _find(root, key)
    rest = key[len(found) :]
    written = _written(value)
    new = _with_new_key(text, root, found, rest, written) if rest else _swapped(text, *found[-1], written)
    if not _is_only_change(document, new, key, value):
        raise ConfigError(f"{dotted(key)} cannot be set in the text as it is written; change it by hand")
    return new


def _find(root: Any, key: tuple[str, ...]) -> list[tuple[Any, Any]]:
    """Return the nodes of names and values that lead to a key, as far as they are there."""
    found: list[tuple[Any, Any]] = []
    node = root
    for part in key:
        pairs = node.value if node is not None and isinstance(node.value, list) else []
        pair = next((each for each in pairs if isinstance(each, tuple) and each[0].value == part), None)
        if pair is None:
            break
        found.append(pair)
        node = pair[1]
    return found


def _swapped(text: str, name: Any, value: Any, written: str) -> str:
    """Return the text with a value swapped where it stands."""
    if value.value == "" and value.style is None:
        at = text.find(":", name.end_mark.index) + 1
        return f"{text[:at]} {written}{text[at:]}"
    is_block = isinstance(value.value, list) and not value.flow_style
    before = f"{text[: name.end_mark.index]}: " if is_block else text[: value.start_mark.index]
    # A value in lines of its own ends with its last entry: what stands behind that belongs to the next key.
    end = len(text[: last_leaf(value).end_mark.index].rstrip())
    return f"{before}{written}{text[end:]}"


def _with_new_key(text: str, root: Any, found: list[tuple[Any, Any]], rest: tuple[str, ...], written: str) -> str:
    """Return the text with a key at the end of its section, which is added where it is missing."""
    name, section = found[-1] if found else (None, root)
    if section is None or section.value == "":  # it is not there, or all of its keys are commented out
        column = 0 if name is None else name.start_mark.column + _INDENT
        return _with_lines(text, len(text) if name is None else next_line(text, name), column, rest, written)
    if isinstance(section.value, list) and not section.flow_style:
        # Of the whole file also the comments at its end come before.
        at = section.end_mark.index if name is None else next_line(text, last_leaf(section))
        return _with_lines(text, at, section.start_mark.column, rest, written)
    inline = "".join(f"{part}: {{" for part in rest[:-1]) + f"{rest[-1]}: {written}" + "}" * (len(rest) - 1)
    if isinstance(section.value, list) and section.value:
        at = section.value[-1][1].end_mark.index
        return f"{text[:at]}, {inline}{text[at:]}"
    return f"{text[: section.start_mark.index]}{{{inline}}}{text[section.end_mark.index :]}"


def _with_lines(text: str, at: int, column: int, names: tuple[str, ...], written: str) -> str:
    """Return the text with a line for each of these names, at the beginning of a line or the end of the text."""
    line_end = "\r\n" if "\r\n" in text else "\n"
    before = text[:at]
    if before and before[-1] not in "\n\ufeff":
        before += line_end
    values = [""] * (len(names) - 1) + [f" {written}"]
    lines = [
        f"{' ' * (column + _INDENT * depth)}{name}:{value}"
        for depth, (name, value) in enumerate(zip(names, values, strict=True))
    ]
    return before + "".join(line + line_end for line in lines) + text[at:]


def next_line(text: str, node: Any) -> int:
    """Return where the line behind a node begins."""
    end = len(text[: node.end_mark.index].rstrip(" "))
    if text[end - 1 : end] == "\n":  # a block of text, or no value, ends where the next begins
        return end
    return text.find("\n", end) + 1 or len(text)


def last_leaf(node: Any) -> Any:
    """Return the last entry of the last entry, and so on, of what is written in lines; else the node itself."""
    while isinstance(node.value, list) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return node


def _is_only_change(before: Any, text: str, key: tuple[str, ...], value: Value) -> bool:
    """Tell whether a text says what was said before, but for one key."""
    try:
        after = parse(text).value
    except YAMLTextError:
        return False
    return is_same(get_at(after, key), value) and _without(after, key) == _without(before, key)


def _without(document: Any, key: tuple[str, ...]) -> Any:
    """Leave out a key, and a section that has no other: without keys it says what none does."""
    if not isinstance(document, dict) or key[0] not in document:
        return document
    rest = {name: value for name, value in document.items() if name != key[0]}
    inner = None if len(key) == 1 else _without(document[key[0]], key[1:])
    return rest if inner is None or inner == {} else rest | {key[0]: inner}


def get_at(value: Any, key: tuple[str, ...]) -> Any:
    """Give what stands at a key path, or `ABSENT`."""
    for part in key:
        if not isinstance(value, dict) or part not in value:
            return ABSENT
        value = value[part]
    return value


def is_same(left: Any, right: Any) -> bool:
    """Tell whether two values are equal and of one type; YAML's `1` and `true` are equal in Python."""
    return type(left) is type(right) and bool(left == right)


def _written(value: Value) -> str:
    """Write a value in one line."""
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        with contextlib.suppress(YAMLTextError):
            if is_same(parse(f"a: {value}").value["a"], value):
                return value
    # JSON's values are YAML's, but for pairs of surrogates and for characters that YAML wants escaped.
    return _UNPRINTABLE.sub(lambda each: f"\\u{ord(each[0]):04x}", json.dumps(value, ensure_ascii=False))


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file's content in one step; it keeps its mode, and on an OSError its content."""
    mode = path.stat().st_mode & 0o7777 if path.exists() else NEW_FILE_MODE
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(temporary).unlink()
        raise
    sync_folder(path.parent)
