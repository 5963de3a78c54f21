"""What is honoured, as `GET /v1/mlxr/capabilities` and `mlxr models show` tell it, read from the Structs of requests.

Light on purpose: the command line imports it.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

import msgspec

from registry.catalogue import Model
from registry.engines import EngineKind
from registry.facts import ModelKind
from router.protocols.fields.json_types import JSONValue
from router.protocols.fields.support import Field, Support, fields_of
from router.protocols.openai.schemas import ChatRequest, CompletionRequest
from router.protocols.responses.schemas import ResponseRequest

if TYPE_CHECKING:
    from router.protocols.endpoint import Endpoint

ENGINES: Final = tuple(sorted(EngineKind))

BODIES: Final[dict[str, type[msgspec.Struct]]] = {
    "chat": ChatRequest,
    "completions": CompletionRequest,
    "responses": ResponseRequest,
}
"""The endpoints whose fields are told, by the names that they have there."""


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


def capability_report(
    endpoints: "Iterable[Endpoint]", model: Model | None = None, engine: EngineKind | None = None
) -> CapabilityReport:
    """Return what is honoured.

    Args:
        endpoints: Those that need nothing of a model are left out.
        model: Only the engines that it has usable artifacts for; None = both engines.
        engine: Only this one of them; None = all.
    """
    engines = [name for name in able_engines(model) if engine in (None, name)]
    generating = [name for name in generating_engines(model) if name in engines]
    fields = [
        FieldCapability(
            name=row.name,
            endpoints=row.endpoints,
            engines={name: row.support_on(name) for name in generating},
            allowed=row.allowed or None,
            neutral=[None, *row.field.neutral],
            hint=row.field.hint or None,
        )
        for row in field_rows()
    ]
    paths = [
        PathCapability(
            path=f"{row.method} {row.url}",
            what=row.summary[:1].lower() + row.summary[1:].removesuffix("."),
            engines={name: name in generating or row.use == "embed" for name in engines},
        )
        for row in endpoints
        if row.use is not None
    ]
    return CapabilityReport(
        model=None if model is None else model.name,
        engines=[*engines],
        fields=fields if generating else [],
        endpoints=paths,
    )


def able_engines(model: Model | None) -> tuple[EngineKind, ...]:
    """Return the engines that can do anything with a model; both, when no model is named."""
    return _engines_with(model, frozenset({ModelKind.MODEL, ModelKind.EMBEDDING}))


def generating_engines(model: Model | None) -> tuple[EngineKind, ...]:
    """Return the engines that can generate text with a model; both, when no model is named."""
    return _engines_with(model, frozenset({ModelKind.MODEL}))


def _engines_with(model: Model | None, kinds: frozenset[ModelKind]) -> tuple[EngineKind, ...]:
    if model is None:
        return ENGINES
    usable = {
        artifact.engine for artifact in model.artifacts if artifact.status == "ok" and artifact.facts.kind in kinds
    }
    return tuple(name for name in ENGINES if name in usable)
