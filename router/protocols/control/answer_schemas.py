"""Answers of mlxr's own API as its document shows them, where the code that sends them has no Structs."""

import msgspec

from router.protocols.fields.json_types import JSONObject, JSONValue
from router.protocols.fields.support import Support


class FieldCapability(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of one field of requests on each engine."""

    name: str
    endpoints: list[str]
    engines: dict[str, Support]
    allowed: str | None
    neutral: list[JSONValue]
    hint: str | None


class PathCapability(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An endpoint, and on which engines it works."""

    path: str
    what: str
    engines: dict[str, bool]


class CapabilityReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is honoured, of a model or of both engines."""

    model: str | None
    engines: list[str]
    fields: list[FieldCapability]
    endpoints: list[PathCapability]


class OpenAPIDocument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """This document."""

    openapi: str
    info: JSONObject
    paths: JSONObject
    components: JSONObject
    tags: list[JSONObject]
