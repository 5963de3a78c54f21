"""The keys of the config, and what each takes: types, ranges and words, read off the Structs. Pure."""

import re
from functools import cache
from typing import Any, Final, Literal

import msgspec
from msgspec import inspect

from router.config.schema import Config
from router.config.yaml_text import KeyPath

_ATTRIBUTE: Final = re.compile(r"^ {4}(\w+): (.+(?:\n {8}.+)*)", re.MULTILINE)
_UNITS: Final = frozenset({"s", "bytes", "tokens", "px"})
"""The last word of a key's name, where it is one of these."""
_UNITS_OF_OTHERS: Final = {"context_length": "tokens", "kv_cells": "tokens"}

Kind = Literal["boolean", "integer", "number", "text", "list", "object"]


class Takes(msgspec.Struct, frozen=True, kw_only=True):
    """What a key may be set to.

    Attributes:
        kind: Of its usual values; `choices` may stand beside them.
        takes: All of it in words, as errors say it.
        choices: Words that it may be; of kind `text` no others, unless `is_free`.
        is_free: Whether it may be any text (or list, or number) within the bounds, beside the choices.
        minimum, maximum: Of numbers; `takes` says whether they are among them.
        is_nullable: Whether it may be null: not set, so that mlxr chooses.
    """

    kind: Kind
    takes: str
    choices: tuple[str, ...] = ()
    is_free: bool = True
    minimum: float | None = None
    maximum: float | None = None
    is_nullable: bool = False


def is_section(field_type: Any) -> bool:
    """Tell whether a field of the config has keys of its own."""
    return isinstance(field_type, type) and issubclass(field_type, msgspec.Struct)


def key_paths() -> list[tuple[str, ...]]:
    """List every key of the config as 1 or 2 parts, sections left out, in the order of the Structs."""
    paths: list[tuple[str, ...]] = []
    for field in msgspec.structs.fields(Config):
        if is_section(field.type):
            paths += [(field.name, inner.name) for inner in msgspec.structs.fields(field.type)]
        else:
            paths.append((field.name,))
    return paths


def expected(path: KeyPath) -> str:
    """Say what a key takes: from the Structs, so that type and range are named whatever was wrong."""
    info: Any = _config_type()
    for part in path:
        info = _child(info, part)
    return _in_words(info)


@cache
def takes_of(path: KeyPath) -> Takes:
    """Return what a key of the config takes."""
    info: Any = _config_type()
    for part in path:
        info = _child(info, part)
    return takes(info)


@cache
def _config_type() -> inspect.Type:
    return inspect.type_info(Config)


def unit_of(name: str) -> str | None:
    """Return the unit of a key by its name: `s`, `bytes`, `tokens`, `px`; None = it has none."""
    _, underscore, last = name.rpartition("_")
    return last if underscore and last in _UNITS else _UNITS_OF_OTHERS.get(name)


def attributes_of(doc: str) -> dict[str, str]:
    """Return what a Struct's docstring, without its indentation, says of each attribute."""
    attributes = doc.partition("Attributes:")[2]
    return {match[1]: " ".join(match[2].split()) for match in _ATTRIBUTE.finditer(attributes)}


def takes(info: Any) -> Takes:
    """Return what a value of a type may be."""
    _, first = _unwrapped(info)
    choices = tuple(_choices(info))
    return Takes(
        kind=_kind_of(first),
        takes=_in_words(info),
        choices=choices,
        is_free=not isinstance(first, inspect.EnumType | inspect.LiteralType | inspect.BoolType) or _is_mixed(info),
        minimum=_bound(first, "ge", "gt"),
        maximum=_bound(first, "le", "lt"),
        is_nullable=_is_nullable(info),
    )


def _in_words(info: Any) -> str:
    described, first = _unwrapped(info)
    said = described or _kind_in_words(first)
    others = [] if described or isinstance(first, inspect.EnumType | inspect.LiteralType) else _choices(info)
    return said + "".join(f", or {word}" for word in others) + (", or null" if _is_nullable(info) else "")


def _is_nullable(info: Any) -> bool:
    return any(isinstance(part, inspect.NoneType) for part in _parts(info))


def _is_mixed(info: Any) -> bool:
    """Tell whether values of several kinds go, words beside others."""
    return len([part for part in _parts(info) if not isinstance(part, inspect.NoneType)]) > 1


def _parts(info: Any) -> list[Any]:
    """Return the types that a type is one of, without what is said about them."""
    while isinstance(info, inspect.Metadata):
        info = info.type
    return [part for each in info.types for part in _parts(each)] if isinstance(info, inspect.UnionType) else [info]


def _choices(info: Any) -> list[str]:
    found: list[str] = []
    for part in _parts(info):
        if isinstance(part, inspect.EnumType):
            found += [str(member.value) for member in part.cls]
        elif isinstance(part, inspect.LiteralType):
            found += [str(value) for value in part.values]
    return found


def _kind_of(info: Any) -> Kind:
    match info:
        case inspect.BoolType():
            return "boolean"
        case inspect.IntType():
            return "integer"
        case inspect.FloatType():
            return "number"
        case inspect.VarTupleType() | inspect.ListType():
            return "list"
        case inspect.StructType() | inspect.DictType():
            return "object"
        case _:
            return "text"


def _bound(info: Any, *names: str) -> float | None:
    return next((value for name in names if (value := getattr(info, name, None)) is not None), None)


def _kind_in_words(info: Any) -> str:
    match info:
        case inspect.EnumType() | inspect.LiteralType():
            return "one of " + ", ".join(_choices(info))
        case inspect.StructType():
            return "keys and values"
        case inspect.VarTupleType():
            return "a list"
        case inspect.BoolType():
            return "true or false"
        case inspect.StrType():
            return "text that is not empty" if info.min_length else "text"
        case _:
            return _number(info)


def _number(info: Any) -> str:
    kind = "int" if isinstance(info, inspect.IntType) else "number"
    low = f" > {info.gt:g}" if info.gt is not None else "" if info.ge is None else f" >= {info.ge:.12g}"
    high = "" if info.le is None else f"{' and' if low else ''} <= {info.le:.12g}"
    return kind + low + high


def _child(info: Any, part: str | int) -> Any:
    _, info = _unwrapped(info)
    if isinstance(info, inspect.StructType):
        return next((field.type for field in info.fields if field.encode_name == part), info)
    return info.item_type if isinstance(info, inspect.VarTupleType) else info


def _unwrapped(info: Any) -> tuple[str | None, Any]:
    """Look through `… | None` and `Annotated` to the type inside; give our description of it as well."""
    description: str | None = None
    while True:
        if isinstance(info, inspect.Metadata):
            description = (info.extra_json_schema or {}).get("description", description)
            info = info.type
        elif isinstance(info, inspect.UnionType):
            info = next(kind for kind in info.types if not isinstance(kind, inspect.NoneType))
        else:
            return description, info
