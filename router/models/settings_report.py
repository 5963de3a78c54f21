"""What can be set on one model, what is, and what counts where it is not. Pure."""

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any

import msgspec
from msgspec.structs import asdict

from registry.catalogue import Model
from registry.engines import LOCAL_ENGINES, EngineKind, EngineSetting
from registry.settings import (
    ENGINE_KEY,
    LOAD_SETTINGS,
    NO_SETTINGS,
    LoadSetting,
    LoadSettings,
    ModelSettings,
    set_settings,
)
from router.config import Config
from router.config.key_types import Takes, attributes_of, takes, unit_of
from router.models.defaults import RequestDefaults

PlainSetting = bool | int | float | str | list[str | dict[str, str]] | dict[str, str] | None


class ModelSetting(Takes, frozen=True, kw_only=True):
    """One setting.

    Attributes:
        key: As `mlxr models set` has it.
        what: It does.
        unit: `s`, `tokens`; null = it has none.
        engine: The only one that has it; null = all do.
        is_of_load: Whether another value loads the model anew.
        value: That is set; null = none is.
        otherwise: What counts where none is set: what the model's makers recommend, or the config, by engine where
            that has it for each; null = nothing, or what mlxr chooses.
    """

    key: str
    what: str
    unit: str | None
    engine: EngineKind | None
    is_of_load: bool
    value: PlainSetting
    otherwise: PlainSetting


def settings_of(model: Model, config: Config) -> tuple[ModelSetting, ...]:
    """Describe every setting of a model, in the order of the Struct, the engine first.

    Args:
        config: In force.
    """
    values = {ENGINE_KEY: model.engine} | set_settings(model.settings)
    otherwise = _otherwise(model, config)
    return tuple(
        ModelSetting(
            key=key,
            what=_descriptions().get(key, ""),
            unit=unit_of(key),
            engine=LOAD_SETTINGS[key].engine if key in LOAD_SETTINGS else None,
            is_of_load=key in LOAD_SETTINGS or key == ENGINE_KEY,
            value=values.get(key),
            otherwise=msgspec.to_builtins(otherwise.get(key)),
            **asdict(kind),
        )
        for key, kind in _kinds().items()
    )


def _otherwise(model: Model, config: Config) -> Mapping[str, Any]:
    # The switch over the recommendation is a setting of its own.
    unset = msgspec.structs.replace(NO_SETTINGS, recommended_sampling=model.settings.recommended_sampling)
    of_requests = asdict(RequestDefaults.of(config.generation, unset, model.recommended_sampling))
    of_loads = {key: _configured(config, key, setting) for key, setting in LOAD_SETTINGS.items()}
    empty_is_none = {key: value or None for key, value in of_requests.items() if value in ((), "")}
    return {
        **of_requests,
        **empty_is_none,
        **of_loads,
        ENGINE_KEY: config.engine,
        "keep_alive_s": config.limits.keep_alive_s,
        "context": config.context.mode,
        "recommended_sampling": config.generation.recommended_sampling,
    }


def _configured(config: Config, key: str, setting: LoadSetting) -> Any:
    """Return what the config says of a setting, by engine where each has its own; None where it says nothing."""
    if setting.is_per_engine:
        return {engine.value: getattr(getattr(config, engine.value), key) for engine in LOCAL_ENGINES}
    return None if setting.section is None else getattr(getattr(config, setting.section), key)


@cache
def _kinds() -> dict[str, Takes]:
    fields: Any = msgspec.inspect.type_info(ModelSettings)
    engine = takes(msgspec.inspect.type_info(EngineSetting | None))
    return {ENGINE_KEY: engine} | {field.name: takes(field.type) for field in fields.fields}


@cache
def _descriptions() -> dict[str, str]:
    found = {ENGINE_KEY: "Which engine serves it, whatever the global setting says."}
    for struct in (LoadSettings, ModelSettings):
        found |= attributes_of(inspect.cleandoc(struct.__doc__ or ""))
    return found
