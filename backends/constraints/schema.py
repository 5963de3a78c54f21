"""Which JSON schemas can constrain an answer: what they may contain, and the form that llguidance gets.

Not a validator of answers, and no compiler. A keyword that the library would ignore or get wrong is refused here by its
name; one that it refuses by itself is left to it.

Source: JSON Schema 2020-12, Core and Validation; llguidance, docs/json_schema.md.
"""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from backends.constraints.limits import (
    MAX_ENUM_VALUES,
    MAX_EXACT_INTEGER,
    MAX_JSON_DEPTH,
    MAX_PATTERNS_ON_A_VALUE,
    MAX_REPETITION,
    MAX_SCHEMA_DEPTH,
    MAX_STRING_LENGTH,
    check_size,
)
from backends.constraints.subschemas import Node, are_disjoint, has_cycle, resolve, too_many_patterns
from backends.errors import ConstraintError

Schema = dict[str, Any]

WHITESPACE_PATTERN = r"[ ]|\r?\n[ \t]{0,32}"
"""Between two tokens of an answer's JSON: nothing, one space, or one line break with indentation.

Enough for every usual layout, and a model that has lost its way cannot write blanks for ever.
"""
INTEGER_BOUND = 10**18
"""Integers without bounds of their own keep within it: they fit 64 bits, and digits do not go on for ever."""

_REFUSED = frozenset(
    {
        "not",
        "if",
        "then",
        "else",
        "dependentRequired",
        "dependentSchemas",
        "dependencies",
        "contains",
        "minContains",
        "maxContains",
        "propertyNames",
        "unevaluatedProperties",
        "unevaluatedItems",
        "$dynamicRef",
        "$recursiveRef",
        "x-guidance",
    }
)
_IN_PLACE = ("allOf", "anyOf", "oneOf")
_SUBSCHEMA_MAPS = ("properties", "patternProperties", "$defs", "definitions")
_SUBSCHEMAS = ("additionalProperties", "additionalItems", "items")
_COUNT_LIMITS = {
    "minLength": MAX_STRING_LENGTH,
    "maxLength": MAX_STRING_LENGTH,
    "minItems": MAX_REPETITION,
    "maxItems": MAX_REPETITION,
    "minProperties": MAX_REPETITION,
    "maxProperties": MAX_REPETITION,
}
_STRING_KEYWORDS = ("pattern", "format", "minLength", "maxLength", "patternProperties")
_ANNOTATIONS = frozenset({"$defs", "definitions", "$schema", "$id", "$comment", "title", "description", "default"})
_NUMBER_KEYWORDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_ENFORCED_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"}
)
"""Formats that the library holds answers to; by the standard all others are annotations.

Source: JSON Schema 2020-12 Validation, section 7.2.1; llguidance, parser/src/json/formats.rs.
"""
_ANY_NAME: tuple[Any, ...] = (True, {}, {"type": "string"})
"""Values of `propertyNames` that every key of a JSON object fulfils."""
_OLD_DRAFTS = ("draft-03", "draft-04", "draft-06", "draft-07", "2019-09")
_SHOWN_CHARS = 60
_JOINING = frozenset({"allOf", "anyOf", "oneOf", "$ref"})
_OPENING = frozenset({"additionalProperties", "patternProperties", "enum", "const"})


class _Place(NamedTuple):
    """A subschema, where it stands, and how deep."""

    schema: Any
    path: str
    depth: int


def prepared_schema(schema: str | Schema, *, param: str) -> Schema | bool:
    """Return a schema that the library keeps to the letter.

    Args:
        schema: JSON text, or an object that this function may keep parts of but does not change.

    Returns:
        A new schema with the library's options in it; True and False stay what they are.
    """
    text = schema if isinstance(schema, str) else _dumped(schema, param)
    root = _parsed(text, param)
    if isinstance(root, bool):
        return root
    if not isinstance(root, dict):
        raise ConstraintError(f"{param} must be a JSON object", param=param)
    _Preparation(root, param).run()
    root["x-guidance"] = {
        "whitespace_flexible": True,
        "whitespace_pattern": WHITESPACE_PATTERN,
        "lenient": False,
        "coerce_one_of": False,
    }
    return root


def _dumped(schema: Schema, param: str) -> str:
    try:
        return json.dumps(schema)
    except (TypeError, ValueError, RecursionError) as exc:
        raise ConstraintError(f"{param} cannot be written as JSON: {exc}", param=param) from exc


def _parsed(text: str, param: str) -> Any:
    check_size(text, param=param)
    too_deep = f"{param} nests too deep; at most {MAX_JSON_DEPTH} levels of objects and arrays are allowed"
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as exc:
        raise ConstraintError(too_deep, param=param) from exc
    except ValueError as exc:
        raise ConstraintError(f"{param} is not JSON: {str(exc)[:200]}", param=param) from exc
    if max(depth for _, depth in _walk(value)) > MAX_JSON_DEPTH:
        raise ConstraintError(too_deep, param=param)
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


class _Preparation:
    """One walk over a schema that this object may change."""

    def __init__(self, root: Schema, param: str) -> None:
        self._root = root
        self._param = param
        self._is_old_draft = any(name in str(root.get("$schema")) for name in _OLD_DRAFTS)

    def run(self) -> None:
        places = [_Place(self._root, "#", 1)]
        seen = set()
        nodes: dict[int, Node] = {}
        while places:
            place = places.pop()
            if isinstance(place.schema, bool) or id(place.schema) in seen:
                continue
            if not isinstance(place.schema, dict):
                raise self._error(place, "must be an object or a boolean")
            if place.depth > MAX_SCHEMA_DEPTH:
                raise self._error(place, f"nests too deep; at most {MAX_SCHEMA_DEPTH} levels are allowed")
            seen.add(id(place.schema))
            self._check(place)
            here = list(self._in_place(place))
            parts = list(self._children(place))
            nodes[id(place.schema)] = Node(
                in_place=[id(other.schema) for other in here],
                parts=[(other.path.rpartition("/")[2], id(other.schema)) for other in parts],
                is_joined=bool(here) and _num_constraints(place.schema) > 1,
                num_patterns=sum(keyword in place.schema for keyword in _STRING_KEYWORDS),
            )
            places += here + parts
        if has_cycle(nodes):
            raise ConstraintError(f"{self._param} has a $ref that leads back to itself", param=self._param)
        if too_many_patterns(nodes):
            raise ConstraintError(
                f"{self._param} lets several schemas (allOf, $ref) constrain one string by more than "
                f"{MAX_PATTERNS_ON_A_VALUE} patterns, formats and lengths; use fewer",
                param=self._param,
            )
        self._rewrite([schema for schema, _ in _walk(self._root) if id(schema) in seen])

    def _check(self, place: _Place) -> None:
        complaint = next(self._complaints(place), None)
        if complaint is not None:
            raise self._error(place, complaint)

    def _complaints(self, place: _Place) -> Iterator[str]:
        """Yield what cannot be kept, the first of which counts: what comes later may rely on what comes before."""
        schema = place.schema
        refused = [keyword for keyword in schema if keyword in _REFUSED]
        if schema.get("propertyNames") in _ANY_NAME:
            refused.remove("propertyNames")
        if schema.get("uniqueItems"):
            refused.append("uniqueItems")
        yield from (f"has {keyword!r}, which cannot be enforced; remove it" for keyword in refused)
        if "$id" in schema and place.path != "#":
            yield "has '$id'; only the outermost schema may have one"
        yield from _complaints_of_counts(schema)
        yield from _complaints_of_numbers(schema)
        yield from _complaints_of_values(schema)
        yield from self._complaints_of_drafts(schema)

    def _complaints_of_drafts(self, schema: Schema) -> Iterator[str]:
        """Refuse the keywords that mean something else, or nothing, in the schema's own draft."""
        if "prefixItems" in schema and self._is_old_draft:
            yield "has 'prefixItems', which the draft in its '$schema' does not know"
        is_list = isinstance(schema.get("items"), list)
        if (is_list or "additionalItems" in schema) and not self._is_old_draft:
            yield "has 'items' or 'additionalItems' of an old draft; use 'prefixItems' and 'items'"
        if "const" in schema and "draft-04" in str(self._root.get("$schema")):
            yield "has 'const', which the draft in its '$schema' does not know"

    def _in_place(self, place: _Place) -> Iterator[_Place]:
        """Yield the subschemas that apply to the same value."""
        for keyword in _IN_PLACE:
            yield from self._listed(place, keyword)
        reference = place.schema.get("$ref")
        if reference is not None:
            if not isinstance(reference, str) or not reference.startswith("#"):
                raise self._error(
                    place, f"has $ref {_shown(reference)}; only references into the schema itself, `#/…`, work"
                )
            target = resolve(self._root, reference)
            if target is None:
                raise self._error(place, f"has $ref {_shown(reference)}, which leads nowhere")
            yield _Place(target.value, reference, place.depth if id(target.value) == id(self._root) else 2)

    def _children(self, place: _Place) -> Iterator[_Place]:
        """Yield the subschemas that apply to parts of the value, or are only kept there."""
        schema = place.schema
        for keyword in _SUBSCHEMA_MAPS:
            found = schema.get(keyword, {})
            if not isinstance(found, dict):
                raise self._error(place, f"has {keyword!r} that is no object")
            for name, child in found.items():
                yield _Place(child, f"{place.path}/{keyword}/{name[:40]}", place.depth + 1)
        for keyword in _SUBSCHEMAS:
            if keyword in schema and not isinstance(schema[keyword], list):
                yield _Place(schema[keyword], f"{place.path}/{keyword}", place.depth + 1)
        for keyword in ("prefixItems", "items"):
            if isinstance(schema.get(keyword), list):
                yield from self._listed(place, keyword)

    def _listed(self, place: _Place, keyword: str) -> Iterator[_Place]:
        found = place.schema.get(keyword, [])
        if not isinstance(found, list) or (keyword in place.schema and not found):
            raise self._error(place, f"has {keyword!r} that is no list of at least one schema")
        if len(found) > MAX_ENUM_VALUES:
            raise self._error(place, f"has {keyword} of {len(found)} schemas; 1 to {MAX_ENUM_VALUES} are allowed")
        for index, child in enumerate(found):
            yield _Place(child, f"{place.path}/{keyword}/{index}", place.depth + 1)

    def _rewrite(self, schemas: list[Schema]) -> None:
        """Say what is meant in the words that the library understands."""
        _close_objects(schemas)
        for schema in schemas:
            schema.pop("uniqueItems", None)
            schema.pop("propertyNames", None)
            if isinstance(schema.get("format"), str) and schema["format"] not in _ENFORCED_FORMATS:
                del schema["format"]
            _bound_integers(schema)
            options = schema.get("oneOf")
            if options is not None and are_disjoint(self._root, options):
                del schema["oneOf"]
                schema.setdefault("allOf", []).append({"anyOf": options})

    def _error(self, place: _Place, message: str) -> ConstraintError:
        where = self._param if place.path == "#" else f"{self._param} at {place.path[-120:]}"
        return ConstraintError(f"{where} {message}", param=self._param)


def _complaints_of_counts(schema: Schema) -> Iterator[str]:
    for keyword, limit in _COUNT_LIMITS.items():
        value = schema.get(keyword, 0)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= limit:
            yield f"has {keyword} {_shown(value)}; 0 to {limit} are allowed"
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        yield "has 'required' that is no list of names"
    if schema.get("minProperties", 0) - len(set(required)) > 1:
        # A grammar cannot see that two free keys are equal, and then there is one property less than it counted.
        yield "has 'minProperties' more than one above its required ones, which cannot be enforced; lower it"


def _complaints_of_numbers(schema: Schema) -> Iterator[str]:
    for keyword in _NUMBER_KEYWORDS:
        value = schema.get(keyword, 1)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not abs(value) <= (MAX_EXACT_INTEGER if isinstance(value, int) else 1e300):
            yield f"has {keyword} {_shown(value)}; numbers are allowed, integers up to {MAX_EXACT_INTEGER}"
    if schema.get("multipleOf", 1) <= 0:
        yield "has 'multipleOf' that is not above 0"


def _complaints_of_values(schema: Schema) -> Iterator[str]:
    values = schema.get("enum", [None])
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_ENUM_VALUES:
        num_values = len(values) if isinstance(values, list) else 0
        yield f"has an enum of {num_values} values; 1 to {MAX_ENUM_VALUES} are allowed"
    for value, _ in _walk([values, schema.get("const")]):
        if isinstance(value, int) and abs(value) > MAX_EXACT_INTEGER:
            yield f"has the value {_shown(value)}; integers up to {MAX_EXACT_INTEGER} are allowed"


def _close_objects(schemas: list[Schema]) -> None:
    """Set `additionalProperties: false` where that takes nothing from a schema that lists its properties; in place.

    JSON Schema allows any further property where `additionalProperties` is absent. Hardly any request means that, and a
    small model that may invent properties goes on inventing. What is generated still validates: the answers become
    fewer. Where several schemas apply to one value, each may know properties that others do not: then all stay open.
    """
    if any(_joins_others(schema) for schema in schemas):
        return
    for schema in schemas:
        properties = schema.get("properties")
        if not properties or not _OPENING.isdisjoint(schema) or schema.get("minProperties", 0) > len(properties):
            continue
        if properties.keys() >= set(schema.get("required", ())):
            schema["additionalProperties"] = False


def _joins_others(schema: Schema) -> bool:
    has_others = sum(keyword not in _ANNOTATIONS for keyword in schema) > 1
    return "allOf" in schema or (has_others and not _JOINING.isdisjoint(schema))


def _bound_integers(schema: Schema) -> None:
    types = schema.get("type")
    types = types if isinstance(types, list) else [types]
    if "integer" not in types or "number" in types:
        return
    if "minimum" not in schema and "exclusiveMinimum" not in schema:
        schema["minimum"] = -INTEGER_BOUND
    if "maximum" not in schema and "exclusiveMaximum" not in schema:
        schema["maximum"] = INTEGER_BOUND


def _num_constraints(schema: Schema) -> int:
    num_joined = len(schema["allOf"]) if "allOf" in schema else 0
    return num_joined + sum(keyword not in _ANNOTATIONS and keyword != "allOf" for keyword in schema)


def _shown(value: object) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "a huge number"
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"


def _walk(value: Any) -> Iterator[tuple[Any, int]]:
    """Yield a JSON value and all that are in it, each with how many objects and arrays lead to it, itself included."""
    stack = [(value, 0)]
    while stack:
        current, depth = stack.pop()
        if isinstance(current, dict | list):
            depth += 1
            children = current.values() if isinstance(current, dict) else current
            stack += [(child, depth) for child in children]
        yield current, depth
