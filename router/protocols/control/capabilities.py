"""What is honoured, as `GET /v1/mlxr/capabilities` and `mlxr models show` tell it, read from the Structs of requests.

Light on purpose: the command line imports it.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from registry.catalogue import Model
from registry.engines import LOCAL_ENGINES, EngineKind
from registry.facts import ModelKind
from router.protocols.fields.json_types import JSONValue
from router.protocols.fields.support import Support, fields_of
from router.protocols.openai.schemas import ChatRequest, CompletionRequest
from router.protocols.responses.schemas import ResponseRequest

if TYPE_CHECKING:
    from router.protocols.endpoint import Endpoint

ENGINES: Final = tuple(sorted(LOCAL_ENGINES))

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
    """What is honoured, of a model or of both engines.

    Attributes:
        unknown_fields: What becomes of fields that are not listed: left out and named in the header X-Mlxr-Ignored, or
            refused.
    """

    model: str | None
    engines: list[str]
    unknown_fields: Literal["ignored", "refused"]
    fields: list[FieldCapability]
    endpoints: list[PathCapability]


def field_capabilities(engines: Iterable[EngineKind]) -> list[FieldCapability]:
    """Return what becomes of every field on some engines; endpoints that say the same of one share a row."""
    rows: dict[bytes, FieldCapability] = {}
    for endpoint, body in BODIES.items():
        for path, found in fields_of(body).items():
            row = FieldCapability(
                name=path,
                endpoints=[],
                engines={engine: found.field.on(engine).support for engine in engines},
                allowed=found.allowed or None,
                neutral=[None, *found.field.neutral],
                hint=found.field.hint or None,
            )
            rows.setdefault(msgspec.json.encode(row), row).endpoints.append(endpoint)
    return list(rows.values())


def capability_report(
    endpoints: "Iterable[Endpoint]",
    model: Model | None = None,
    engine: EngineKind | None = None,
    *,
    is_strict: bool = False,
) -> CapabilityReport:
    """Return what is honoured.

    Args:
        endpoints: Those that need nothing of a model are left out.
        model: Only the engines that it has usable artifacts for; None = both engines.
        engine: Only this one of them; None = all.
        is_strict: Whether fields that nobody knows are refused.
    """
    engines = [name for name in _engines_with(model, ModelKind.MODEL, ModelKind.EMBEDDING) if engine in (None, name)]
    generating = [name for name in generating_engines(model) if name in engines]
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
        unknown_fields="refused" if is_strict else "ignored",
        fields=field_capabilities(generating) if generating else [],
        endpoints=paths,
    )


def generating_engines(model: Model | None) -> tuple[EngineKind, ...]:
    """Return the engines that can generate text with a model; both, when no model is named."""
    return _engines_with(model, ModelKind.MODEL)


def _engines_with(model: Model | None, *kinds: ModelKind) -> tuple[EngineKind, ...]:
    if model is None:
        return ENGINES
    usable = {each.engine for each in model.artifacts if each.status == "ok" and each.facts.kind in kinds}
    return tuple(name for name in ENGINES if name in usable)
