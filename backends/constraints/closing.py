"""Closes objects that list their properties: an answer gets no others unless the schema asks for them.

JSON Schema allows any further property where `additionalProperties` is absent. Hardly any request means that, and a
small model that may invent properties goes on inventing. What is generated still validates: the answers become fewer.
"""

from typing import Any

Schema = dict[str, Any]

_JOINING = ("allOf", "anyOf", "oneOf", "$ref")
_OPENING = ("additionalProperties", "patternProperties", "enum", "const")


def close_objects(schemas: list[Schema], annotations: frozenset[str]) -> None:
    """Set `additionalProperties: false` where that takes nothing from a schema; in place.

    Where several schemas apply to one value, each may know properties that the others do not: then all stay open.
    """
    if any(_joins_others(schema, annotations) for schema in schemas):
        return
    for schema in schemas:
        if _is_closable(schema):
            schema["additionalProperties"] = False


def _joins_others(schema: Schema, annotations: frozenset[str]) -> bool:
    if "allOf" in schema:
        return True
    joining = [keyword for keyword in _JOINING if keyword in schema]
    return bool(joining) and sum(keyword not in annotations for keyword in schema) > 1


def _is_closable(schema: Schema) -> bool:
    properties = schema.get("properties")
    if not properties or any(keyword in schema for keyword in _OPENING):
        return False
    has_enough = bool(schema.get("minProperties", 0) <= len(properties))
    return has_enough and set(schema.get("required", ())) <= properties.keys()
