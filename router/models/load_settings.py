"""What of a load one model, or one request, has otherwise than the config says. Pure.

These values are part of the `Target`: the same files loaded otherwise are another target, so that a changed setting
makes the next request swap as it would for another model, and nothing else has to know of it. What the config itself
says is no part of it: an edit of the config counts from the next load. Not here: which settings there are
(`registry.settings.LoadSettings`), those that need no load (`defaults`), and the load itself (`load_spec`).
"""

from collections import defaultdict
from typing import Any, TypeVar

import msgspec
from msgspec.structs import asdict, replace

from registry.engines import LOCAL_ENGINES, EngineKind
from registry.settings import LOAD_SETTINGS, LoadSettings, ModelSettings
from router.config import Config

_S = TypeVar("_S", bound=msgspec.Struct)

AS_CONFIGURED = LoadSettings()
"""Nothing differs from the config."""


def load_settings_of(settings: ModelSettings) -> LoadSettings:
    """Return what of a model's settings makes another load of it."""
    return LoadSettings(**{name: getattr(settings, name) for name in LOAD_SETTINGS})


def overlaid(lower: LoadSettings, upper: LoadSettings) -> LoadSettings:
    """Return `lower` with everything that `upper` sets, such as a model's settings with a request's own."""
    return lower if upper == AS_CONFIGURED else _changed(lower, asdict(upper))


def config_for(config: Config, load: LoadSettings) -> Config:
    """Return the config as it is for one target."""
    if load == AS_CONFIGURED:
        return config
    changes: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for name, setting in LOAD_SETTINGS.items():
        for section in {setting.section_for(engine) for engine in LOCAL_ENGINES} - {None}:
            changes[str(section)][name] = getattr(load, name)
    sections = {section: _changed(getattr(config, section), own) for section, own in changes.items()}
    return replace(config, **sections)


def settings_in_force(config: Config, engine: EngineKind, load: LoadSettings) -> dict[str, Any]:
    """Return every setting that the engine has, as it is for one target."""
    config = config_for(config, load)
    sections = {name: setting.section_for(engine) for name, setting in LOAD_SETTINGS.items()}
    return {
        name: getattr(load if section is None else getattr(config, section), name)
        for name, section in sections.items()
        if LOAD_SETTINGS[name].engine in {None, engine}
    }


def _changed(struct: _S, changes: dict[str, Any]) -> _S:
    """Return the Struct with those of the changes that are not None."""
    return replace(struct, **{name: value for name, value in changes.items() if value is not None})
