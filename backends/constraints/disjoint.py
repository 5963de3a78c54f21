"""Whether no value can match two of a `oneOf`'s options, so that it means the same as `anyOf`.

Proves it for what clients send (different types; a required property with different constants, as in the
discriminated unions of pydantic and zod) and says no to everything else.
"""

import json
from typing import Any

from backends.constraints.pointer import followed

_TYPES = frozenset({"null", "boolean", "number", "string", "array", "object"})
_MAX_OPTIONS = 64


def are_disjoint(root: Any, options: list[Any]) -> bool:
    """Tell whether the options are certain to exclude each other, any two of them.

    Args:
        root: The schema that `$ref` refers to.
        options: The schemas of a `oneOf`.
    """
    if len(options) > _MAX_OPTIONS:
        return False
    facts = [_Facts(root, option) for option in options]
    return all(facts[i].excludes(facts[j]) for i in range(len(facts)) for j in range(i))


class _Facts:
    """What is certain of every value that matches a schema."""

    def __init__(self, root: Any, schema: Any) -> None:
        schema = followed(root, schema)
        self.types = _types(schema)
        self.values = _values(schema)
        self.properties: dict[str, frozenset[str]] = {}
        if not isinstance(schema, dict) or not isinstance(schema.get("properties"), dict):
            return
        required = schema.get("required")
        for name in required if isinstance(required, list) else ():
            values = _values(followed(root, schema["properties"].get(name)))
            if values is not None:
                self.properties[name] = values

    def excludes(self, other: "_Facts") -> bool:
        if not self.types & other.types:
            return True
        if self.values is not None and other.values is not None and not self.values & other.values:
            return True
        # A required property tells objects apart, so both must be nothing but objects.
        if self.types != {"object"} or other.types != {"object"}:
            return False
        shared = self.properties.keys() & other.properties.keys()
        return any(not self.properties[name] & other.properties[name] for name in shared)


def _types(schema: Any) -> frozenset[str]:
    found = schema.get("type") if isinstance(schema, dict) else None
    names = found if isinstance(found, list) else [found]
    types = frozenset("number" if name == "integer" else str(name) for name in names)
    if not types <= _TYPES:
        return _TYPES  # no type given, or none that exists
    return types


def _values(schema: Any) -> frozenset[str] | None:
    """Return the only values that a schema allows, as JSON texts, or None when there may be others."""
    if not isinstance(schema, dict):
        return None
    found = [schema["const"]] if "const" in schema else schema.get("enum")
    if not isinstance(found, list) or not all(isinstance(value, str | bool | None) for value in found):
        return None
    return frozenset(json.dumps(value) for value in found)
