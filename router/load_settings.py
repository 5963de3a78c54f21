"""What of a load one model, or one request, has otherwise than the config says. Pure.

These values are part of the `Target`: the same files loaded otherwise are another target, so that a changed setting
makes the next request swap as it would for another model, and nothing else has to know of it. What the config itself
says is no part of it: an edit of the config counts from the next load. Not here: settings that need no load
(`request_defaults`), and the load itself (`load_spec`).
"""

import msgspec

from registry.settings import ModelSettings
from router.config import Config


class LoadSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a load; None leaves a thing to the level below.

    Attributes:
        context_length: Tokens one request may use.
        parallel: Sequences that a worker may run at a time.
        workers: Worker processes of the model.
    """

    context_length: int | None = None
    parallel: int | None = None
    workers: int | None = None


AS_CONFIGURED = LoadSettings()
"""Nothing differs from the config."""


def load_settings_of(settings: ModelSettings) -> LoadSettings:
    """Return what of a model's settings makes another load of it."""
    return LoadSettings(**{name: getattr(settings, name) for name in LoadSettings.__struct_fields__})


def overlaid(lower: LoadSettings, upper: LoadSettings) -> LoadSettings:
    """Return `lower` with everything that `upper` sets, such as a model's settings with a request's own."""
    changes = {name: value for name, value in msgspec.structs.asdict(upper).items() if value is not None}
    return msgspec.structs.replace(lower, **changes) if changes else lower


def config_for(config: Config, load: LoadSettings) -> Config:
    """Return the config as it is for one target.

    Args:
        config: In force.
        load: The target's.
    """
    changes = {
        name: value for name in ("context_length", "parallel", "workers") if (value := getattr(load, name)) is not None
    }
    if not changes:
        return config
    return msgspec.structs.replace(config, generation=msgspec.structs.replace(config.generation, **changes))
