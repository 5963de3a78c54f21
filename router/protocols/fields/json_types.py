"""Names for values that may be any JSON, so that a schema that says nothing says so on purpose.

They decode like `Any`. The API's document shows them by their titles; a test refuses a bare `Any`.
"""

from typing import Annotated, Any

from msgspec import Meta

JSONValue = Annotated[Any, Meta(title="JSONValue", description="Any JSON value.")]
"""A value that is handed through, or that has no effect."""

JSONObject = dict[str, JSONValue]
"""An object with any fields."""

JSONSchema = Annotated[
    dict[str, JSONValue], Meta(title="JSONSchema", description="A JSON Schema, draft 2020-12; what is honoured: docs.")
]
"""What an answer, or a tool's arguments, must look like."""

Refused = Annotated[
    Any, Meta(title="Refused", description="Not honoured: only null, or the value that asks for nothing, is accepted.")
]
"""A field of the protocol that is declared to be refused by its name."""

ANY_TITLES = frozenset({"JSONValue", "Refused"})
"""Titles of the schemas that say nothing of their values."""


def read_by_type(title: str, *components: str) -> Meta:
    """Return what describes objects that are read by their `type`, so that an unknown one is refused by its name.

    Args:
        *components: Those of the API's document that it may be, `PROTOCOL.STRUCT`.
    """
    choices = [{"$ref": f"#/components/schemas/{name}"} for name in components]
    return Meta(title=title, extra_json_schema={"anyOf": choices})
