"""Values of formats that write every parameter as plain text: which JSON a text is, by the tool's schema."""

import json
from collections.abc import Mapping
from typing import Any

from backends.constraints.subschemas import followed
from backends.output.literals import PYTHON_WORDS, json_escaped

_MAX_DEPTH = 16
"""Choices in choices; what is deeper is taken as a schema without types."""

_TYPE_OF: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}


def resolved(schema: Any, root: Mapping[str, Any]) -> dict[str, Any]:
    """Return `schema`, or what it refers to inside `root`; {} for what is no object, true, or a reference elsewhere."""
    found = followed(root, schema)
    return found if isinstance(found, dict) else {}


def types_of(schema: Any, root: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the JSON types that `schema` allows; None = any."""
    return _types(schema, root, _MAX_DEPTH)


def _types(schema: Any, root: Mapping[str, Any], depth: int) -> frozenset[str] | None:
    schema = resolved(schema, root)
    if not depth:
        return None
    declared = schema.get("type")
    if isinstance(declared, str):
        return frozenset((declared,))
    if isinstance(declared, list):
        return frozenset(item for item in declared if isinstance(item, str))
    if "const" in schema or isinstance(schema.get("enum"), list):
        return frozenset(_TYPE_OF.get(type(item), "object") for item in schema.get("enum", [schema.get("const")]))
    for keyword in ("anyOf", "oneOf"):
        if isinstance(schema.get(keyword), list):
            parts = [_types(part, root, depth - 1) for part in schema[keyword]]
            return None if None in parts else frozenset[str]().union(*(part for part in parts if part))
    return None


def string_values(schema: Any, root: Mapping[str, Any]) -> list[str] | None:
    """Return the only strings that `schema` allows; None = it names none."""
    schema = resolved(schema, root)
    values = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if not isinstance(values, list):
        return None
    return [value for value in values if isinstance(value, str)] or None


def properties_of(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties that a tool's schema declares at its root."""
    properties = resolved(dict(parameters), parameters).get("properties")
    return properties if isinstance(properties, dict) else {}


def json_of(text: str, types: frozenset[str] | None) -> str:
    """Return the JSON that a parameter's plain `text` is: itself where it is JSON of an allowed type, else a string.

    A parameter that can only be a string is never read as JSON.
    """
    if types != frozenset(("string",)):
        stripped = text.strip()
        candidate = PYTHON_WORDS.get(stripped, stripped)
        found = json_type(candidate)
        if found is not None and _fits(found, types):
            return candidate
    return f'"{json_escaped(text)}"'


def _fits(found: str, types: frozenset[str] | None) -> bool:
    # A type that the schema does not allow is better than a string that it does not allow either.
    return types is None or found in types or (found == "integer" and "number" in types) or "string" not in types


def json_type(text: str) -> str | None:
    """Return the JSON type of `text`; None = it is no JSON, or too deep."""
    try:
        # Numbers are not converted: they may be longer than Python takes, and larger than a float.
        value = json.loads(text, parse_int=lambda _: 0, parse_float=lambda _: 0.0, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return _TYPE_OF[type(value)]


def _refuse(name: str) -> None:
    raise ValueError(name)
