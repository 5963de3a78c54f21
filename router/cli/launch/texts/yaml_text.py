"""YAML with single values and items of lists changed; single values as the config file's are. Pure."""

from collections.abc import Mapping
from typing import Any

from router.cli.launch.texts.errors import TextError
from router.config import yaml_text
from router.config.edit import edited as with_value
from router.config.edit import last_leaf, next_line
from router.config.yaml_text import YAMLTextError
from router.config.yaml_writer import dump
from router.errors import ConfigError

Path = tuple[str, ...]


def parse(text: str) -> Any:
    """Read a text; None = it says nothing.

    Raises:
        TextError: It is not YAML, or has what is not read here: anchors, tags, keys that are no words.
    """
    try:
        return None if yaml_text.compose(text) is None else yaml_text.parse(text).value
    except YAMLTextError as exc:
        raise TextError(f"it is not YAML that can be changed ({exc})") from exc


def put(text: str, path: Path, value: Any) -> str:
    """Return the text with a value at a path; a list of objects comes in lines of its own."""
    if isinstance(value, list) and len(path) == 1:
        return _with_list(text, path[0], value)
    try:
        return with_value(text, path, value)
    except ConfigError as exc:
        raise TextError(f"it cannot be changed ({exc})") from exc


def put_item(text: str, path: Path, value: Mapping[str, Any], place: int | None) -> str:
    """Return the text with an item of the list at a path."""
    end = "\r\n" if "\r\n" in text else "\n"
    node = _list_at(text, path)
    if node is None:
        return put(text, path, [value]) if path else _ended(text, end) + _item(value, 0, end)
    if node.flow_style:
        raise TextError(f"the list {'.'.join(path)} is written in brackets")
    if place is None:
        at = next_line(text, last_leaf(node))
        return _ended(text[:at], end) + _item(value, node.start_mark.column, end) + text[at:]
    old = node.value[place]
    column = old.start_mark.column
    at = next_line(text, last_leaf(old))
    line_start = text.rfind("\n", 0, old.start_mark.index) + 1
    dash = text[line_start : old.start_mark.index]
    return text[:line_start] + dash + _item(value, column - 2, end)[column:] + text[at:]


def _with_list(text: str, name: str, items: list[Mapping[str, Any]]) -> str:
    """Return the text with a list under a key of the document, in the place of what is there."""
    end = "\r\n" if "\r\n" in text else "\n"
    written = f"{name}:{end}" + "".join(_item(each, 2, end) for each in items)
    root = yaml_text.compose(text)
    found = next((pair for pair in ([] if root is None else root.value) if pair[0].value == name), None)
    if found is None:
        return _ended(text, end) + written
    key, old = found
    return text[: key.start_mark.index] + written + text[next_line(text, last_leaf(old) if old.value else key) :]


def _list_at(text: str, path: Path) -> Any:
    """Return the node of the list at a path, None where it is missing or has no items."""
    node = yaml_text.compose(text)
    for name in path:
        pairs = node.value if node is not None and isinstance(node.value, list) else []
        node = next((pair[1] for pair in pairs if isinstance(pair, tuple) and pair[0].value == name), None)
    return node if node is not None and isinstance(node.value, list) and node.value else None


def _item(value: Mapping[str, Any], column: int, end: str) -> str:
    """Write an item in lines of its own, the dash in this column."""
    first, *rest = dump(value).splitlines()
    lines = [f"{' ' * column}- {first}", *(f"{' ' * column}  {line}" for line in rest)]
    return "".join(line + end for line in lines)


def _ended(text: str, end: str) -> str:
    return text if not text or text.endswith("\n") else text + end
