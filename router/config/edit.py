"""Change keys of the config file in place: comments, order and layout stay, and a reader never sees half a file.

Not here: what values mean; the edited text is checked with `parse_config` before it replaces the file.
"""

import contextlib
import io
import json
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from registry.disk import make_private, sync_folder
from router.config.load import parse_config
from router.config.yaml_text import YAMLTextError, compose, parse
from router.errors import ConfigError

Scalar = str | float | bool | None
Value = Scalar | list[str] | dict[str, str]
Changes = Mapping[tuple[str, ...], Value]
"""Key path, e.g. `("engine",)` or `("server", "port")`, to its new value."""

ABSENT = object()
"""No value at all, which is not null."""

_INLINE_STYLES = (None, "'", '"')
"""Plain and quoted scalars: their text can be swapped in place. Block scalars (`|`, `>`) cannot."""

_PLAIN = re.compile(r"[A-Za-z0-9_./~-]+")

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
        old = target.read_bytes().decode("utf-8-sig") if target.exists() else ""
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
    """Return the text with one key set; everything else stays as it is written."""
    root = compose(text)
    document = parse(text).value
    if is_same(get_at(document, key), value):
        return text
    pair = None if root is None else _find(root, key)
    if pair is not None:
        new = _edited_in_place(text, *pair, value)
        if new is not None and _is_only_change(document, new, key, value):
            return new
    return _edited_by_round_trip(text, key, value)


def _find(root: Any, key: tuple[str, ...]) -> tuple[Any, Any] | None:
    """Return the nodes of a key and of its value."""
    found, node = None, root
    for part in key:
        if not isinstance(node.value, list):
            return None
        found = next(((name, value) for name, value in node.value if name.value == part), None)
        if found is None:
            return None
        node = found[1]
    return found


def _edited_in_place(text: str, key: Any, value: Any, new: Value) -> str | None:
    """Return the text with a value swapped where it stands; None where that is not to be done."""
    written = _written(new)
    if isinstance(value.value, list):
        if value.flow_style:
            return text[: value.start_mark.index] + written + text[value.end_mark.index :]
        # A value in lines of its own ends with its last entry: what stands behind that belongs to the next key.
        return f"{text[: key.end_mark.index]}: {written}{text[_last_leaf(value).end_mark.index :]}"
    if value.value and value.style in _INLINE_STYLES:
        return text[: value.start_mark.index] + written + text[value.end_mark.index :]
    return None


def _last_leaf(node: Any) -> Any:
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
    if not isinstance(document, dict) or key[0] not in document:
        return document
    rest = {name: value for name, value in document.items() if name != key[0]}
    return rest if len(key) == 1 else rest | {key[0]: _without(document[key[0]], key[1:])}


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
    if isinstance(value, str) and _PLAIN.fullmatch(value) and is_same(parse(f"a: {value}").value["a"], value):
        return value
    return json.dumps(value)  # JSON's values are YAML's


def _edited_by_round_trip(text: str, key: tuple[str, ...], value: Value) -> str:
    """Add a key that is not there yet; ruamel.yaml keeps the comments and may align some spaces anew."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - slow, and most verbs read no YAML
    from ruamel.yaml.comments import CommentedMap, CommentedSeq  # noqa: PLC0415 - slow, and most verbs read no YAML

    yaml = YAML(typ="rt", pure=True)
    yaml.preserve_quotes = True
    yaml.width = 4096  # never re-wrap a line
    # null is written as the shipped file writes it, not as an empty value.
    yaml.representer.add_representer(type(None), _represent_null)
    document: Any = yaml.load(text)
    comments = text if document is None else ""  # a text of comments only: ruamel has nothing to hang them on
    document = CommentedMap() if document is None else document
    section = document
    for part in key[:-1]:
        if section.get(part) is None:
            section[part] = CommentedMap()
        section = section[part]
    plain = CommentedSeq(value) if isinstance(value, list) else value
    if isinstance(value, dict):
        plain = CommentedMap(value)
    if isinstance(plain, CommentedMap | CommentedSeq):
        plain.fa.set_flow_style()  # in one line
    section[key[-1]] = plain
    out = io.StringIO()
    yaml.dump(document, out)
    return (comments if not comments or comments.endswith("\n") else comments + "\n") + out.getvalue()


def _represent_null(representer: Any, _value: None) -> Any:
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")


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
