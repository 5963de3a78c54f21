"""What is honoured, as `GET /v1/mlxr/capabilities` and `mlxr models show` tell it, read from the Structs of requests.

Light on purpose: the command line imports it.
"""

from typing import Any, Final

import msgspec

from registry.catalogue import Model
from registry.engines import EngineKind
from router.protocols.fields.capabilities import ENDPOINTS, able_engines, generating_engines
from router.protocols.fields.support import Field, Support, fields_of
from router.protocols.openai.schemas import ChatRequest, CompletionRequest
from router.protocols.responses.schemas import ResponseRequest

BODIES: Final[dict[str, type[msgspec.Struct]]] = {
    "chat": ChatRequest,
    "completions": CompletionRequest,
    "responses": ResponseRequest,
}
"""The endpoints whose fields are told, by the names that they have there."""


class FieldRow(msgspec.Struct, frozen=True):
    """A field of one endpoint or of several that say the same of it.

    Attributes:
        endpoints: Of `BODIES`.
        allowed: As in `RequestField`.
    """

    name: str
    endpoints: list[str]
    allowed: str
    field: Field

    def support_on(self, engine: EngineKind) -> Support:
        """Return what becomes of the field on one engine."""
        return self.field.on(engine).support


def field_rows() -> list[FieldRow]:
    """Return a row for every field."""
    rows: dict[tuple[str, ...], FieldRow] = {}
    for endpoint, body in BODIES.items():
        for path, found in fields_of(body).items():
            field = found.field
            said = (path, found.allowed, field.support, repr(field.neutral), field.hint)
            rows.setdefault(said, FieldRow(path, [], found.allowed, field)).endpoints.append(endpoint)
    return list(rows.values())


def report(model: Model | None = None, engine: EngineKind | None = None) -> dict[str, Any]:
    """Return what is honoured as data.

    Args:
        model: Only the engines that it has usable artifacts for; None = both engines.
        engine: Only this one of them; None = all.
    """
    engines = [name for name in able_engines(model) if engine in (None, name)]
    generating = [name for name in generating_engines(model) if name in engines]
    fields = [
        {
            "name": row.name,
            "endpoints": row.endpoints,
            "engines": {name: row.support_on(name).value for name in generating},
            "allowed": row.allowed or None,
            "neutral": [None, *row.field.neutral],
            "hint": row.field.hint or None,
        }
        for row in field_rows()
    ]
    endpoints = [
        {
            "path": row.path,
            "what": row.what,
            "engines": {name: name in row.engines and (name in generating or not row.generates) for name in engines},
        }
        for row in ENDPOINTS
    ]
    return {
        "model": None if model is None else model.name,
        "engines": engines,
        "fields": fields if generating else [],
        "endpoints": endpoints,
    }
