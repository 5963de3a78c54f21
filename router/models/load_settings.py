"""What of a load one model, or one request, has otherwise than the config says. Pure.

These values are part of the `Target`: the same files loaded otherwise are another target, so that a changed setting
makes the next request swap as it would for another model, and nothing else has to know of it. What the config itself
says is no part of it: an edit of the config counts from the next load. Not here: settings that need no load
(`request_defaults`), and the load itself (`load_spec`).
"""

from typing import Any, TypeVar

import msgspec
from msgspec.structs import asdict, replace

from registry.settings import KVType, ModelSettings
from router.config import Config

_S = TypeVar("_S", bound=msgspec.Struct)


class LoadSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a load; None leaves a thing to the level below.

    Attributes:
        context_length: Tokens one request may use.
        parallel: Sequences that a worker may run at a time.
        template: Chat template in the place of the model's own.
    """

    context_length: int | None = None
    parallel: int | None = None
    workers: int | None = None
    threads: int | None = None
    kv_type: KVType | None = None
    template: str | None = None


AS_CONFIGURED = LoadSettings()
"""Nothing differs from the config."""


def load_settings_of(settings: ModelSettings) -> LoadSettings:
    """Return what of a model's settings makes another load of it."""
    return LoadSettings(**{name: getattr(settings, name) for name in LoadSettings.__struct_fields__})


def overlaid(lower: LoadSettings, upper: LoadSettings) -> LoadSettings:
    """Return `lower` with everything that `upper` sets, such as a model's settings with a request's own."""
    return lower if upper == AS_CONFIGURED else _changed(lower, asdict(upper))


def config_for(config: Config, load: LoadSettings) -> Config:
    """Return the config as it is for one target."""
    if load == AS_CONFIGURED:
        return config
    generation = {name: getattr(load, name) for name in ("context_length", "parallel", "workers")}
    return replace(
        config,
        generation=_changed(config.generation, generation),
        llamacpp=_changed(config.llamacpp, {"kv_type": load.kv_type, "threads": load.threads}),
    )


def _changed(struct: _S, changes: dict[str, Any]) -> _S:
    """Return the Struct with those of the changes that are not None."""
    return replace(struct, **{name: value for name, value in changes.items() if value is not None})
