"""What is to be changed in a settings file, and the change itself, whatever the format. Pure.

A changed text is read again and has to say what it said before, but for the change; else nothing is changed. The
formats are in files of their own.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

import msgspec

from router.cli.launch.texts import json_text, toml_text, yaml_text
from router.cli.launch.texts.errors import TextError

Path = tuple[str, ...]
Format = Literal["json", "jsonc", "toml", "yaml"]
"""`jsonc` is JSON with comments and commas before a closing bracket."""

BYTE_ORDER_MARK: Final = "\ufeff"


class Put(msgspec.Struct, frozen=True):
    """A value at a path of keys, which is made where it is missing.

    Attributes:
        is_default: Whether a value that is there stays.
    """

    path: Path
    value: Any
    is_default: bool = False


class PutItem(msgspec.Struct, frozen=True):
    """An item of a list of objects: takes the place of the one that has the same value under `key`, or comes last.

    Attributes:
        path: Of the list; empty = the whole document.
    """

    path: Path
    value: Mapping[str, Any]
    key: str


Edit = Put | PutItem


class _Language(NamedTuple):
    """What is done with texts of one format.

    Attributes:
        parse: Reads a text; None = it is empty. Raises `TextError`.
        put: Returns a text with a value at a path, which is not empty.
        put_item: Returns a text with an item of the list at a path, at this place or last.
    """

    parse: Callable[[str], Any]
    put: Callable[[str, Path, Any], str]
    put_item: Callable[[str, Path, Mapping[str, Any], int | None], str]


_LANGUAGES: Final[dict[Format, _Language]] = {
    "json": _Language(json_text.parse_strictly, json_text.put, json_text.put_item),
    "jsonc": _Language(json_text.parse, json_text.put, json_text.put_item),
    "toml": _Language(toml_text.parse, toml_text.put, toml_text.put_item),
    "yaml": _Language(yaml_text.parse, yaml_text.put, yaml_text.put_item),
}


def edited(text: str, form: Format, edits: Sequence[Edit]) -> str:
    """Return a text with all of these changes; a byte order mark and the ends of lines stay.

    Raises:
        TextError: It cannot be read, or not be changed as it is written.
    """
    mark = BYTE_ORDER_MARK if text.startswith(BYTE_ORDER_MARK) else ""
    body = text.removeprefix(BYTE_ORDER_MARK)
    language = _LANGUAGES[form]
    wanted = document = language.parse(body)
    for edit in edits:
        wanted = _applied(wanted, edit)
        if not _is_same(wanted, document):
            body = _written(language, body, document, edit)
            document = wanted
    if edits and not _is_same(_read_again(language, body), wanted):
        raise TextError("it is written in a way in which this cannot be changed")
    return mark + body


def _written(language: _Language, body: str, document: Any, edit: Edit) -> str:
    match edit:
        case Put():
            return language.put(body, edit.path, edit.value)
        case PutItem():
            return language.put_item(body, edit.path, edit.value, _place_of(edit, document))


def _read_again(language: _Language, body: str) -> Any:
    try:
        return language.parse(body)
    except TextError:
        return None


def _applied(document: Any, edit: Edit) -> Any:
    """Return what the document says afterwards.

    Raises:
        TextError: Something else stands where an object or a list has to be.
    """
    match edit:
        case Put():
            return _with_value(document, edit.path, edit)
        case PutItem(path=()):
            return _with_item(document, edit)
        case PutItem():
            items = _at(document, edit.path)
            return _with_value(document, edit.path, Put(edit.path, _with_item(items, edit)))


def _with_value(document: Any, rest: Path, put: Put) -> Any:
    if not rest:
        return put.value if document is None or not put.is_default else document
    if document is None:
        document = {}
    if not isinstance(document, dict):
        place = ".".join(put.path[: len(put.path) - len(rest)])
        raise TextError(f"{place or 'its whole'} has to be an object with keys, and is not")
    return document | {rest[0]: _with_value(document.get(rest[0]), rest[1:], put)}


def _with_item(items: Any, edit: PutItem) -> list[Any]:
    if items is None:
        items = []
    if not isinstance(items, list):
        raise TextError(f"{'.'.join(edit.path) or 'its whole'} has to be a list, and is not")
    place = _place_of(edit, items, is_list=True)
    return [*items, edit.value] if place is None else [*items[:place], edit.value, *items[place + 1 :]]


def _place_of(edit: PutItem, document: Any, *, is_list: bool = False) -> int | None:
    """Return which item the new one replaces; None = it comes last."""
    items = document if is_list else _at(document, edit.path)
    found = (
        index
        for index, item in enumerate(items or [])
        if isinstance(item, dict) and item.get(edit.key) == edit.value[edit.key]
    )
    return next(found, None)


def _at(document: Any, path: Path) -> Any:
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def _is_same(left: Any, right: Any) -> bool:
    """Tell whether two documents are equal; 1, 1.0 and true are not the same."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_is_same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_is_same, left, right))
    return type(left) is type(right) and bool(left == right)
