"""Change one key of the config file in place: comments, order and layout stay, and a reader never sees half a file.

Not here: what values mean; the edited text is checked with `parse_config` before it replaces the file.
"""

import contextlib
import io
import json
import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.disk import make_private, sync_folder
from router.config.load import parse_config
from router.config.yaml_text import compose, parse
from router.errors import ConfigError

if TYPE_CHECKING:
    from ruamel.yaml.nodes import Node

Scalar = str | float | bool | None

ABSENT = object()
"""No value at all, which is not null."""

_INLINE_STYLES = (None, "'", '"')
"""Plain and quoted scalars: their text can be swapped in place. Block scalars (`|`, `>`) cannot."""

_PLAIN = re.compile(r"[A-Za-z0-9_./~-]+")

NEW_FILE_MODE = 0o600
"""Mode of a file that did not exist: the config may come to hold tokens."""


def set_value(path: Path, key: tuple[str, ...], value: Scalar) -> bool:
    """Set one key of the file; sections that are missing are added, a missing file is created.

    Args:
        path: The config file; a symbolic link is followed, not replaced.
        key: Key path, e.g. `("engine",)` or `("server", "port")`.

    Raises:
        ConfigError: The file, or what it would become, cannot be used; it is left as it was.
    """
    target = path.resolve()
    try:
        old = target.read_bytes().decode("utf-8-sig") if target.exists() else ""
        parse_config(old, source=str(path))
        new = edited(old, key, value)
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


def edited(text: str, key: tuple[str, ...], value: Scalar) -> str:
    """Return the text with one key set; everything else stays as it is written."""
    root = compose(text)
    if is_same(get_at(parse(text).value, key), value):
        return text
    node = None if root is None else _find(root, key)
    if node is not None and node.value and getattr(node, "style", "|") in _INLINE_STYLES:
        return text[: node.start_mark.index] + _scalar_text(value) + text[node.end_mark.index :]
    return _edited_by_round_trip(text, key, value)


def _find(root: "Node", key: tuple[str, ...]) -> "Node | None":
    node = root
    for part in key:
        if not isinstance(node.value, list):
            return None
        found = [value for name, value in node.value if name.value == part]
        if not found:
            return None
        node = found[0]
    return node


def get_at(value: Any, key: tuple[str, ...]) -> Any:
    """Give what stands at a key path, or `ABSENT`."""
    for part in key:
        if not isinstance(value, dict) or part not in value:
            return ABSENT
        value = value[part]
    return value


def is_same(left: Any, right: Any) -> bool:
    """Tell whether two scalars are equal and of one type; YAML's `1` and `true` are equal in Python."""
    return type(left) is type(right) and bool(left == right)


def _scalar_text(value: Scalar) -> str:
    if isinstance(value, str) and _PLAIN.fullmatch(value) and is_same(parse(f"a: {value}").value["a"], value):
        return value
    return json.dumps(value)  # JSON's scalars are YAML's


def _edited_by_round_trip(text: str, key: tuple[str, ...], value: Scalar) -> str:
    """Add a key that is not there yet; ruamel.yaml keeps the comments and may align some spaces anew."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - slow, and most verbs read no YAML
    from ruamel.yaml.comments import CommentedMap  # noqa: PLC0415 - slow, and most verbs read no YAML

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
    section[key[-1]] = value
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
