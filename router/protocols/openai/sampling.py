"""The fields of a request that say how tokens are drawn, to `SamplingParams`. Pure.

Ranges of plain numbers are the schema's, defaults and the penalties' windows those of every protocol
(`router.protocols.fields.sampling`); here are the aliases, and what logit_bias may look like.
"""

import math
from typing import Any, Final

from backends.sequence import SamplingParams
from router.errors import InvalidRequestError
from router.models.defaults import RequestDefaults
from router.protocols.fields import sampling
from router.protocols.fields.sampling import SamplingWishes
from router.protocols.openai.schemas import MAX_BIAS, MAX_BIASES, ChatRequest, CompletionRequest

_MAX_TOKEN_ID: Final = 2**31 - 1
_MAX_ID_CHARS: Final = 10
_PAIR: Final = 2


def sampling_params(
    request: ChatRequest | CompletionRequest, defaults: RequestDefaults, *, num_logprobs: int | None
) -> SamplingParams:
    """Return how the tokens of a request are drawn.

    Args:
        num_logprobs: The likeliest tokens to report with each drawn one; None = no report.

    Raises:
        InvalidRequestError: Two names of one field differ, or logit_bias is not of its form.
    """
    wishes = SamplingWishes(
        temperature=request.temperature,
        top_k=request.top_k,
        typical_p=request.typical_p,
        top_p=request.top_p,
        min_p=request.min_p,
        seed=request.seed,
        penalty_window=_either(request, "repeat_last_n", "repetition_context_size"),
        repetition_penalty=_either(request, "repetition_penalty", "repeat_penalty"),
        frequency_penalty=request.frequency_penalty,
        presence_penalty=request.presence_penalty,
        logit_bias=_logit_bias(request.logit_bias),
        num_logprobs=num_logprobs,
    )
    return sampling.sampling_params(wishes, defaults)


def _either(request: ChatRequest | CompletionRequest, name: str, alias: str) -> Any:
    value, other = getattr(request, name), getattr(request, alias)
    if value is not None and other is not None and value != other:
        raise InvalidRequestError(f"{alias} is another name of {name} and has another value; send one of them", alias)
    return other if value is None else value


def _logit_bias(bias: dict[str, Any] | list[Any] | None) -> tuple[tuple[int, float], ...]:
    """Read OpenAI's object of token id to bias, or llama-server's list of pairs."""
    if not bias:
        return ()
    if len(bias) > MAX_BIASES:
        raise _bias_error(f"at most {MAX_BIASES} tokens, got {len(bias)}")
    if isinstance(bias, dict):
        return tuple((_token_id(key), _bias(value)) for key, value in bias.items())
    pairs: dict[int, float] = {}
    for pair in bias:
        if not isinstance(pair, list) or len(pair) != _PAIR:
            raise _bias_error("a list must have pairs [token id, bias]")
        if not isinstance(pair[0], int) or isinstance(pair[0], bool):
            raise _bias_error(f"a token id is a whole number, got {pair[0]!r:.40}")
        token_id = _token_id(str(pair[0]))
        if token_id in pairs:
            raise _bias_error(f"token id {token_id} is there twice")
        pairs[token_id] = _bias(pair[1])
    return tuple(pairs.items())


def _token_id(text: str) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) <= _MAX_ID_CHARS
    if not is_number or int(text) > _MAX_TOKEN_ID:
        raise _bias_error(f"a token id is a whole number from 0 to {_MAX_TOKEN_ID}, got {text!r:.40}")
    if text != str(int(text)):
        raise _bias_error(f"a token id has no leading zeros, got {text!r}")
    return int(text)


def _bias(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _bias_error(f"a bias is a number, got {value!r:.40}")
    if abs(value) > MAX_BIAS:
        raise _bias_error(f"a bias is a number from -{MAX_BIAS} to {MAX_BIAS}, got {value!r:.40}")
    return float(value)


def _bias_error(problem: str) -> InvalidRequestError:
    return InvalidRequestError(f"logit_bias: {problem}", "logit_bias")
