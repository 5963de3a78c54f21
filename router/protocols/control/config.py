"""Routes of the config: every key with what it takes, changing keys of the file, and the global engine setting."""

from typing import Final

import msgspec
from litestar.types import ASGIApp

from registry.engines import EngineSetting
from router.config.settings.administration import waiting
from router.config.settings.described import ConfigKey
from router.http.asgi import json_reply
from router.http.caller import Scope
from router.http.ignored import noting_ignored
from router.protocols.control.api import MLXR_API
from router.protocols.fields.json_types import JSONValue
from router.protocols.parts import AnyRequest, ConfigPart, ServingPart

_PATH: Final = "/v1/mlxr/config"
_ENGINE_PATH: Final = "/v1/mlxr/engine"


class ConfigReport(msgspec.Struct, frozen=True, kw_only=True):
    """Body of GET /v1/mlxr/config.

    Attributes:
        file: Where it is, or will be.
        error: Why the file cannot be used as it is now, or null.
        keys: All there are, in the order of the file.
    """

    file: str
    error: str | None
    keys: tuple[ConfigKey, ...]


class ConfigChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of PATCH /v1/mlxr/config; all of it is done, or nothing.

    Attributes:
        set: Key to its value, such as `{"limits.max_queue": 8}`.
        unset: Keys that get their default.
    """

    set: dict[str, JSONValue] = {}
    unset: tuple[str, ...] = ()


class ConfigChanged(msgspec.Struct, frozen=True, kw_only=True):
    """Its answer; what needs no restart is in force.

    Attributes:
        changed: Keys of which the file says something else now.
        needs_restart: Those of them that take effect after a restart.
        error: Why the file as a whole is not used, or null: it does not go with the command line of `mlxr serve`.
    """

    changed: tuple[str, ...]
    needs_restart: tuple[str, ...]
    error: str | None


class EngineChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/mlxr/engine."""

    engine: EngineSetting


class EngineReport(msgspec.Struct, frozen=True, kw_only=True):
    """The global engine setting, in force."""

    engine: EngineSetting


@MLXR_API.get(_PATH, ConfigReport, scope=Scope.ADMIN, is_private=True)
async def get_config(configuration: ConfigPart) -> ASGIApp:
    """List the keys of the config: what each does, takes and is, and who said so."""
    return json_reply(ConfigReport(file=str(configuration.file), error=configuration.error, keys=configuration.keys()))


@MLXR_API.patch(_PATH, ConfigChanged, body=ConfigChange, scope=Scope.ADMIN, is_private=True)
async def change_config(request: AnyRequest, serving: ServingPart, configuration: ConfigPart) -> ASGIApp:
    """Change keys of the config file, whose comments stay, and wait for the effect."""
    with noting_ignored(f"PATCH {_PATH}", is_strict=True):  # a field that is misspelt must not change nothing
        body = await serving.read(request, ConfigChange)
    changed = await configuration.change(body.set, body.unset)
    return json_reply(ConfigChanged(changed=changed, needs_restart=waiting(changed), error=configuration.error))


@MLXR_API.get(_ENGINE_PATH, EngineReport, scope=Scope.INFERENCE)
async def get_engine(configuration: ConfigPart) -> ASGIApp:
    """Tell the global engine setting."""
    return json_reply(EngineReport(engine=configuration.in_force.engine))


@MLXR_API.post(_ENGINE_PATH, EngineReport, body=EngineChange, scope=Scope.ADMIN, is_private=True)
async def set_engine(request: AnyRequest, serving: ServingPart, configuration: ConfigPart) -> ASGIApp:
    """Set the global engine, as `mlxr engine` does."""
    body = await serving.read(request, EngineChange)
    await configuration.change({"engine": body.engine.value})
    return json_reply(EngineReport(engine=configuration.in_force.engine))


CONFIG_ROUTES: Final = (get_config, change_config, get_engine, set_engine)
