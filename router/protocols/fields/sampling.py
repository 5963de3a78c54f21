"""How tokens are drawn: what a request wishes, by whatever protocol, over the defaults of its model. Pure.

Not here: how a protocol calls these things, and which values it allows.
"""

from typing import Final

import msgspec

from backends.sequence import SamplingParams
from router.models.defaults import RequestDefaults
from router.requests.generation import NUM_SEEDS

NO_WINDOW: Final = 0
"""A window of the penalties that has no token in it: they are off."""
WHOLE_WINDOW: Final = -1
"""A window of the penalties that has all tokens in it."""
_DEFAULT_REPETITION_WINDOW: Final = 64


class SamplingWishes(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says of it; None = it does not say.

    Attributes:
        temperature, top_p, min_p, typical_p, frequency_penalty, presence_penalty, repetition_penalty: As in
            `SamplingParams`.
        top_k: The k most likely tokens; 0 = all.
        penalty_window: Last tokens that count for the three penalties; NO_WINDOW, WHOLE_WINDOW or >= 1.
        num_logprobs: The likeliest tokens to report with each drawn one; None = no report.
    """

    temperature: float | None = None
    top_k: int | None = None
    typical_p: float | None = None
    top_p: float | None = None
    min_p: float | None = None
    seed: int | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    penalty_window: int | None = None
    logit_bias: tuple[tuple[int, float], ...] = ()
    num_logprobs: int | None = None


def sampling_params(wishes: SamplingWishes, defaults: RequestDefaults) -> SamplingParams:
    """Return how the tokens of a request are drawn."""
    has_penalties = wishes.penalty_window != NO_WINDOW
    repetition_window, penalty_window = _windows(wishes.penalty_window)
    seed = defaults.seed if wishes.seed is None else wishes.seed
    return SamplingParams(
        temperature=_or(wishes.temperature, defaults.temperature),
        top_k=defaults.top_k if wishes.top_k is None else (wishes.top_k or None),
        typical_p=_or(wishes.typical_p, 1.0),
        top_p=_or(wishes.top_p, defaults.top_p),
        min_p=_or(wishes.min_p, defaults.min_p),
        seed=None if seed is None else seed % NUM_SEEDS,
        repetition_penalty=_or(wishes.repetition_penalty, defaults.repetition_penalty) if has_penalties else 1.0,
        repetition_window=repetition_window,
        frequency_penalty=_or(wishes.frequency_penalty if has_penalties else None, 0.0),
        presence_penalty=_or(wishes.presence_penalty if has_penalties else None, 0.0),
        penalty_window=penalty_window,
        logit_bias=wishes.logit_bias,
        num_logprobs=wishes.num_logprobs,
    )


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _windows(window: int | None) -> tuple[int | None, int | None]:
    """Return the windows of the repetition penalty and of the other two: without a wish, they differ."""
    if window is None or window == NO_WINDOW:
        return _DEFAULT_REPETITION_WINDOW, None
    if window == WHOLE_WINDOW:
        return None, None
    return window, window
