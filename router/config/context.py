"""The config's section about conversations that fill their context; part of `schema`."""

from typing import Annotated

import msgspec
from msgspec import Meta

from registry.settings import ContextMode, NonEmpty
from router.config.background import Seconds


class ContextConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What becomes of a conversation that fills its context.

    Attributes:
        mode: `error` = a request that is too long is refused; `wind` = older turns are summarised; for models and
            requests that do not say.
        wind_at: Share of the context from which a conversation is wound in the background, once an answer has ended;
            sooner where the next answer would have too little room. 1 = only when it has to be.
        target: Share of the context that it takes afterwards.
        timeout_s: Longest wait for a summary; then the older turns are left out without one.
        summarizer: Name of the model that summarises; None = the conversation's own.
        max_bytes: Upper bound of the summaries that are kept; those that are longest unused go first. 0 keeps none.
        keep_days: How long one is kept after its last use.
    """

    mode: ContextMode = "error"
    wind_at: Annotated[float, Meta(ge=0.2, le=1)] = 0.7
    target: Annotated[float, Meta(ge=0.1, le=0.9)] = 0.35
    timeout_s: Seconds = 120.0
    summarizer: NonEmpty | None = None
    max_bytes: Annotated[int, Meta(ge=0)] = 64 << 20
    keep_days: Annotated[float, Meta(gt=0, le=3650)] = 30.0

    def __post_init__(self) -> None:
        """Refuse what only the two keys together make wrong.

        Raises:
            ValueError: A conversation would be wound again as soon as it is wound.
        """
        if self.target >= self.wind_at:
            raise ValueError(
                f"context.target {self.target:g} is not below context.wind_at {self.wind_at:g}; a conversation would "
                "be wound again at once"
            )
