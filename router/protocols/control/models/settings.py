"""Routes of what is set on one model, as `mlxr models set` does."""

from typing import Annotated, Final

import msgspec
from litestar.types import ASGIApp
from msgspec import Meta

from registry.catalogue import Model
from registry.settings import HOSTS_KEY
from router.errors import InvalidRequestError
from router.http.asgi import json_reply
from router.http.caller import Scope, check_scope, current_caller
from router.http.ignored import noting_ignored
from router.models.settings_report import ModelSetting, settings_of
from router.protocols.control.api import MLXR_API
from router.protocols.fields.json_types import JSONValue
from router.protocols.parts import AnyRequest, EditingPart, ServingPart
from router.protocols.queries import MODEL_NEEDED, needed_model
from router.protocols.serving import RequestService

_PATH: Final = "/v1/mlxr/models/settings"


class ModelSettingsReport(msgspec.Struct, frozen=True, kw_only=True):
    """Body of GET /v1/mlxr/models/settings."""

    model: str
    settings: tuple[ModelSetting, ...]


class ModelSettingsChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of PATCH /v1/mlxr/models/settings; all of it is done, or nothing.

    Attributes:
        set: Key to its value, such as `{"temperature": 0.7}`.
        unset: Keys that are taken away.
    """

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    set: dict[str, JSONValue] = {}
    unset: tuple[str, ...] = ()


@MLXR_API.get(_PATH, ModelSettingsReport, query=(MODEL_NEEDED,), scope=Scope.MODELS, is_private=True)
async def get_settings(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """List what can be set on a model: what each does and takes, is, and what counts otherwise."""
    return json_reply(_report(serving, needed_model(request, serving)))


@MLXR_API.patch(_PATH, ModelSettingsReport, body=ModelSettingsChange, scope=Scope.MODELS, is_private=True)
async def change_settings(request: AnyRequest, serving: ServingPart, editing: EditingPart) -> ASGIApp:
    """Set what one model does differently, or take it away."""
    with noting_ignored(f"PATCH {_PATH}", is_strict=True):  # a field that is misspelt must not change nothing
        body = await serving.read(request, ModelSettingsChange)
    twice = next((key for key in body.unset if key in body.set), None)
    if twice is not None:
        raise InvalidRequestError(f"{twice}: it is both set and unset; send one of the two", twice)
    if HOSTS_KEY in body.set:
        check_scope(current_caller(), Scope.ADMIN)  # it has this machine's user log in on others
    name = serving.models.named(body.model).name
    draft = body.set.get("draft")
    if isinstance(draft, str):
        serving.models.named(draft)  # it is there, and for whoever asks
    return json_reply(_report(serving, await editing.change_settings(name, body.set | dict.fromkeys(body.unset))))


def _report(serving: RequestService, model: Model) -> ModelSettingsReport:
    return ModelSettingsReport(model=model.name, settings=settings_of(model, serving.config))


SETTINGS_ROUTES: Final = (get_settings, change_settings)
