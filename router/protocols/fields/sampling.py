"""How tokens are drawn: what a request says of it, by whatever protocol, over the defaults of its model. Pure."""

from typing import Any, Final

import msgspec

from backends.wire.request import SamplingParams
from router.models.defaults import RequestDefaults
from router.requests.request import NUM_SEEDS

NO_WINDOW: Final = 0
"""A window of the penalties that has no token in it: they are off."""
_ALL_TOKENS: Final = (0, -1)
_NO_LIMIT: Final = -1
WHOLE_WINDOW: Final = -1
"""A window of the penalties that has all tokens in it."""


def sampling_params(
    request: msgspec.Struct, defaults: RequestDefaults, *, penalty_window: int | None = None, **own: Any
) -> SamplingParams:
    """Return how the tokens of a request are drawn, by its fields that are called as in `SamplingParams`.

    Args:
        request: A field that is None, or that it has not, is left to the defaults; top_k: 0 and -1 = all.
        penalty_window: Last tokens that count for the three penalties; NO_WINDOW, WHOLE_WINDOW or >= 1. None = those
            of `SamplingParams`, which are not the same for all three.
        **own: In the place of the request's fields, where these are called or meant otherwise.
    """
    params: dict[str, Any] = {}
    for name in SamplingParams.__struct_fields__:
        said = own[name] if name in own else getattr(request, name, None)
        value = getattr(defaults, name, None) if said is None else said
        if value is not None:
            params[name] = value
    if penalty_window == NO_WINDOW:
        params |= {"repetition_penalty": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0}
    elif penalty_window is not None:
        window = None if penalty_window == WHOLE_WINDOW else penalty_window
        params |= {"repetition_window": window, "penalty_window": window}
    if params.get("top_k") in _ALL_TOKENS:
        params["top_k"] = None
    if params.get("top_p") == 0:
        params |= {"top_k": 1, "top_p": 1.0}  # the most probable token alone
    if params.get("repetition_penalty") == 0:
        params["repetition_penalty"] = 1.0  # forms with an empty field
    if "seed" in params:
        params["seed"] %= NUM_SEEDS
    return SamplingParams(**params)


def answer_limit(said: int | None, defaults: RequestDefaults) -> int | None:
    """Return the most tokens that an answer may have; None = what the context leaves.

    Args:
        said: By the request; -1 = it wants no limit.
    """
    if said is None:
        return defaults.max_tokens
    return None if said == _NO_LIMIT else said
