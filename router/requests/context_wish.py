"""What a request wants where its conversation fills the context, and what holds then. Pure.

Not here: doing it (`router.context`).
"""

import msgspec

from registry.settings import ContextMode, ModelSettings
from router.config import ContextConfig


class ContextWish(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says of a full context; it goes before the model's setting and the config.

    Attributes:
        threshold: Tokens of a prompt above which a conversation is wound although the context could hold it; None =
            only where it could not.
        instructions: What a summary is to heed, in the request's own words; None = nothing beside what it always does.
    """

    mode: ContextMode
    threshold: int | None = None
    instructions: str | None = None


def context_mode(wish: ContextWish | None, of_model: ModelSettings, config: ContextConfig) -> ContextMode:
    """Return what becomes of a conversation that fills its context: by its request, its model, or the config."""
    return (None if wish is None else wish.mode) or of_model.context or config.mode
