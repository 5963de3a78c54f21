"""What may serve a request where the engine that is set cannot. Pure."""

from typing import Final, Literal

from registry.engines import EngineSetting
from router.config.schema import EngineFallback

REFUSE: Final = "refuse"
OTHER: Final = "other"


def fallback_for(configured: EngineFallback | None, requested: EngineSetting | None) -> EngineFallback:
    """Return the word that counts for a request.

    Where the config has none, an engine that the request itself names is meant, and another one would be a surprise;
    a setting, or `auto`, is about what usually serves.

    Args:
        requested: The request's own setting, or None.
    """
    if configured is not None:
        return configured
    is_named = requested is not None and requested.engine is not None
    word: Literal["refuse", "other"] = REFUSE if is_named else OTHER
    return word
