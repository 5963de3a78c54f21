"""How the subschemas of one schema hang together: where references lead, which exclude each other, which apply at once.

Source of the pointers in `$ref`: RFC 6901, sections 4 and 6.
"""

import graphlib
import json
import urllib.parse
from typing import Any, NamedTuple

from backends.constraints.limits import MAX_PATTERNS_ON_A_VALUE

_MAX_REFS = 16
_MAX_OPTIONS = 64
_MAX_VISITS = 100_000
_TYPES = frozenset({"null", "boolean", "number", "string", "array", "object"})
_ANY_NAMES = frozenset({"additionalProperties", "additionalItems", "items"})


class Referenced(NamedTuple):
    """What a pointer leads to; a tuple of its own because the value may be any JSON, null included."""

    value: Any


def resolve(root: Any, reference: str) -> Referenced | None:
    """Return the part of `root` that `#` or `#/a/0/b` means, or None when there is none.

    Args:
        root: A JSON document.
        reference: A URI fragment, `#` included.
    """
    pointer = urllib.parse.unquote(reference)
    if pointer == "#":
        return Referenced(root)
    if not pointer.startswith("#/"):
        return None
    value = root
    for part in pointer[2:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and key.isascii() and int(key[:9]) < len(value):
            value = value[int(key[:9])]
        else:
            return None
    return Referenced(value)


def followed(root: Any, schema: Any) -> Any:
    """Return `schema`, or what its `$ref` leads to inside `root`; None where it leads nowhere, or on and on."""
    for _ in range(_MAX_REFS):
        if not isinstance(schema, dict) or not isinstance(schema.get("$ref"), str):
            return schema
        target = resolve(root, schema["$ref"])
        if target is None:
            return None
        schema = target.value
    return None


def are_disjoint(root: Any, options: list[Any]) -> bool:
    """Tell whether no value can match two of a `oneOf`'s options, so that it means the same as `anyOf`.

    Proves it for what clients send (different types; a required property with different constants, as in the
    discriminated unions of pydantic and zod) and says no to everything else.

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


class Node(NamedTuple):
    """One subschema.

    Attributes:
        in_place: Subschemas that apply to the same value (`allOf`, `anyOf`, `oneOf`, `$ref`).
        parts: Subschemas of the value's parts, with the part's name.
        is_joined: Whether more than one schema constrains its value.
        num_patterns: How many of its keywords are regular expressions for the library.
    """

    in_place: list[int]
    parts: list[tuple[str, int]]
    is_joined: bool
    num_patterns: int


def has_cycle(nodes: dict[int, Node]) -> bool:
    """Tell whether a subschema applies to a value only if it applies to that value."""
    try:
        graphlib.TopologicalSorter({key: node.in_place for key, node in nodes.items()}).prepare()
    except graphlib.CycleError:
        return True
    return False


def too_many_patterns(nodes: dict[int, Node]) -> bool:
    """Tell whether the library might have to intersect more regular expressions than it can.

    Only schemas that apply to one value together are intersected, and then their parts of the same name. Counts too
    much rather than too little: parts of the same name at different depths count together.
    """
    num_visits = 0
    for key, node in nodes.items():
        if not node.is_joined:
            continue
        counts: dict[str, int] = {}
        seen = {(key, "")}
        stack = [(key, "")]
        while stack:
            current, name = stack.pop()
            num_visits += 1
            if num_visits > _MAX_VISITS:
                return True
            found = nodes.get(current)
            if found is None:
                continue
            counts[name] = counts.get(name, 0) + found.num_patterns
            targets = [(target, name) for target in found.in_place]
            targets += [(target, "*" if part in _ANY_NAMES else part) for part, target in found.parts]
            fresh = [target for target in targets if target not in seen]
            seen.update(fresh)
            stack += fresh
        if max(counts.values()) + counts.get("*", 0) > MAX_PATTERNS_ON_A_VALUE:
            return True
    return False
