"""Routes of other names of models, as `mlxr models alias` has them, and of what removing one would delete."""

from typing import Annotated, Final

import msgspec
from litestar.types import ASGIApp
from msgspec import Meta

from registry.engines import EngineKind
from registry.store.drafting import drafted_by
from router.errors import InvalidRequestError
from router.http.asgi import json_reply
from router.http.caller import Scope
from router.protocols.control.api import MLXR_API
from router.protocols.parts import AnyRequest, EditingPart, MakingPart, ServingPart
from router.protocols.queries import MODEL_NEEDED, needed_model

_ALIASES: Final = "/v1/mlxr/models/aliases"
_Name = Annotated[str, Meta(min_length=1, max_length=256)]


class AliasChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/mlxr/models/aliases and of its `/remove`."""

    model: _Name
    alias: _Name


class AliasReport(msgspec.Struct, frozen=True, kw_only=True):
    """The other names of a model."""

    model: str
    aliases: tuple[str, ...]


class RemovalPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Body of GET /v1/mlxr/models/removal: what `DELETE /v1/models/NAME` would do.

    Attributes:
        deleted: Files and folders.
        kept: Files that stay: they lie outside mlxr's own folder, or something else needs them.
        freed_bytes: Of those that go.
        aliases: Names that go with it.
        adapters: That are forgotten with it; their files stay.
        loaded_on: Engines on which it is loaded, so that it cannot be removed now.
        drafts_for: Models for which it is set to draft; they run without it then.
    """

    model: str
    deleted: tuple[str, ...]
    kept: tuple[str, ...]
    freed_bytes: int
    aliases: tuple[str, ...]
    adapters: tuple[str, ...]
    loaded_on: tuple[EngineKind, ...]
    drafts_for: tuple[str, ...]


@MLXR_API.post(_ALIASES, AliasReport, body=AliasChange, scope=Scope.MODELS, is_private=True)
async def add_alias(request: AnyRequest, serving: ServingPart, editing: EditingPart) -> ASGIApp:
    """Give a model another name; one that another model has as its alias is moved."""
    body = await serving.read(request, AliasChange)
    model = await editing.add_alias(serving.models.named(body.model).name, body.alias)
    return json_reply(AliasReport(model=model.name, aliases=model.aliases))


@MLXR_API.post(f"{_ALIASES}/remove", AliasReport, body=AliasChange, scope=Scope.MODELS, is_private=True)
async def remove_alias(request: AnyRequest, serving: ServingPart, making: MakingPart) -> ASGIApp:
    """Take another name of a model away."""
    body = await serving.read(request, AliasChange)
    model = serving.models.named(body.model)
    if body.alias not in model.aliases:
        raise InvalidRequestError(f"alias: {body.alias!r:.80} is no other name of {model.name}", "alias")
    await making.remove_alias(body.alias)
    return json_reply(AliasReport(model=model.name, aliases=serving.models.get(model.name).aliases))


@MLXR_API.get("/v1/mlxr/models/removal", RemovalPlan, query=(MODEL_NEEDED,), scope=Scope.MODELS, is_private=True)
async def get_removal(request: AnyRequest, serving: ServingPart, editing: EditingPart) -> ASGIApp:
    """Tell which files removing a model would delete, and which stay."""
    model = needed_model(request, serving)
    planned = await editing.removal_of(model)
    workers = serving.supervisor.workers
    loaded = [
        each.target.engine.kind
        for each in workers
        if each.target is not None and model.name in {each.target.model, each.loaded_draft}
    ]
    return json_reply(
        RemovalPlan(
            model=model.name,
            deleted=planned.deleted,
            kept=planned.kept,
            freed_bytes=planned.freed_bytes,
            aliases=model.aliases,
            adapters=tuple(adapter.reference for adapter in model.adapters),
            loaded_on=tuple(dict.fromkeys(loaded)),
            drafts_for=tuple(drafted_by(serving.models.list(), model.name)),
        )
    )


NAME_ROUTES: Final = (add_alias, remove_alias, get_removal)
