"""Routes of LoRA adapters, as `mlxr models adapters` and `mlxr models adapter` have them."""

from functools import partial
from pathlib import Path
from typing import Annotated, Final

import msgspec
from litestar.types import ASGIApp
from msgspec import Meta

from registry.catalogue import Adapter
from registry.engines import EngineKind
from registry.scan.watch import what_changed
from registry.threads import in_thread
from router.errors import InvalidRequestError
from router.http.asgi import json_reply
from router.http.caller import Scope
from router.models.adapter_report import AdapterReport, adapter_report
from router.protocols.control.api import MLXR_API
from router.protocols.endpoint import Parameter
from router.protocols.parts import AnyRequest, EditingPart, ServingPart
from router.protocols.queries import known_parameters, model_in_query

_PATH: Final = "/v1/mlxr/models/adapters"
_OF_MODEL: Final = Parameter(name="model", type=str, what="Only those of this one.")
_Name = Annotated[str, Meta(min_length=1, max_length=256)]


class AdapterList(msgspec.Struct, frozen=True, kw_only=True):
    """Adapters, by model and name."""

    adapters: tuple[AdapterReport, ...]


class AdapterRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/mlxr/models/adapters.

    Attributes:
        model: That it changes.
        path: On the server's machine, absolute: a LoRA .gguf file, or a folder that mlx-lm wrote. Nothing is copied.
        name: What requests name it by; null derives it from the path.
        scale: What its effect is multiplied by.
    """

    model: _Name
    path: Annotated[str, Meta(pattern="^/", max_length=4096, description="an absolute path")]
    name: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    scale: float = 1.0


class AdapterForget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/mlxr/models/adapters/forget.

    Attributes:
        engine: Only that for this one; null = for both.
    """

    model: _Name
    name: _Name
    engine: EngineKind | None = None


@MLXR_API.get(_PATH, AdapterList, query=(_OF_MODEL,), scope=Scope.MODELS, is_private=True)
async def list_adapters(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """List the LoRA adapters, and why one cannot be used now."""
    reference = model_in_query(known_parameters(request, _OF_MODEL.name))
    models = serving.models.list() if reference is None else (serving.models.named(reference),)
    return json_reply(await _listed(tuple(adapter for model in models for adapter in model.adapters)))


@MLXR_API.post(_PATH, AdapterReport, body=AdapterRequest, scope=Scope.ADMIN, is_private=True)
async def add_adapter(request: AnyRequest, serving: ServingPart, editing: EditingPart) -> ASGIApp:
    """Register a LoRA adapter that lies on the server's machine."""
    body = await serving.read(request, AdapterRequest)
    base = serving.models.named(body.model).name
    added = await editing.add_adapter(base, Path(body.path), name=body.name, scale=body.scale)
    return json_reply(adapter_report(added, None))


@MLXR_API.post(f"{_PATH}/forget", AdapterList, body=AdapterForget, scope=Scope.MODELS, is_private=True)
async def forget_adapter(request: AnyRequest, serving: ServingPart, editing: EditingPart) -> ASGIApp:
    """Forget a LoRA adapter; its files stay."""
    body = await serving.read(request, AdapterForget)
    if "+" in body.model:
        raise InvalidRequestError("model: send the model alone, and its adapter as name", "model")
    base = serving.models.named(body.model).name
    return json_reply(await _listed(await editing.forget_adapter(base, body.name, body.engine)))


async def _listed(adapters: tuple[Adapter, ...]) -> AdapterList:
    return await in_thread(partial(_list_of, adapters))


def _list_of(adapters: tuple[Adapter, ...]) -> AdapterList:
    """Describe adapters; looks at their files."""
    return AdapterList(adapters=tuple(adapter_report(each, what_changed(each)) for each in adapters))


ADAPTER_ROUTES: Final = (list_adapters, add_adapter, forget_adapter)
