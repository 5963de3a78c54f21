"""What an upstream is asked beside its prompt: a request's wishes as fields of OpenAI's protocol, or a refusal. Pure.

A wish that the upstream does not honour is refused by its name. What nobody wished, because it is how the config or
the model's settings have it, is left out instead: the upstream has defaults of its own.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from backends.wire.request import Constraint, ConstraintKind, SamplingParams, SequenceSpec, ToolChoice, ToolUse
from router.config.upstreams import UpstreamField
from router.errors import UnsupportedFieldError
from router.models.defaults import RequestDefaults

_NEUTRAL: Final = SamplingParams()

_SAMPLING: Final = (
    (UpstreamField.SEED, "seed"),
    (UpstreamField.FREQUENCY_PENALTY, "frequency_penalty"),
    (UpstreamField.PRESENCE_PENALTY, "presence_penalty"),
    (UpstreamField.TOP_K, "top_k"),
    (UpstreamField.MIN_P, "min_p"),
    (UpstreamField.TYPICAL_P, "typical_p"),
    (UpstreamField.REPETITION_PENALTY, "repetition_penalty"),
)
"""Fields that are called alike in requests, in `SamplingParams` and by those who honour them."""

_NO_GRAMMAR: Final = "send response_format of type json_schema, or ask a model that runs here"


class Honoured(msgspec.Struct, frozen=True, kw_only=True):
    """What an upstream does with fields.

    Attributes:
        upstream: Its name, for errors.
        fields: Those that it honours.
        is_mlxr: Whether it has all fields that this server has.
    """

    upstream: str
    fields: frozenset[UpstreamField]
    is_mlxr: bool = False

    def need(self, field: UpstreamField, param: str, way_out: str = "leave it out") -> None:
        """Refuse a request's field that is not honoured.

        Raises:
            UnsupportedFieldError: It names the field, the upstream and the way out.
        """
        if field not in self.fields:
            raise refusal(param, self.upstream, way_out)


def refusal(param: str, upstream: str, way_out: str = "leave it out") -> UnsupportedFieldError:
    """Return the refusal of a field."""
    return UnsupportedFieldError(f"{param}: the upstream '{upstream}' does not honour it; {way_out}", param)


def fields_of(spec: SequenceSpec, honoured: Honoured, defaults: RequestDefaults) -> dict[str, Any]:
    """Return the fields of the body for what a request wants of its answer.

    Args:
        defaults: What requests for the model get that do not say otherwise.

    Raises:
        UnsupportedFieldError: A wish is not honoured.
    """
    if spec.labels:
        words = f"decisions are taken where the model runs; the upstream '{honoured.upstream}' is not asked for them"
        raise UnsupportedFieldError(f"model: {words}; name a model that runs here", "model")
    fields: dict[str, Any] = {"temperature": spec.sampling.temperature, "top_p": spec.sampling.top_p}
    if spec.max_tokens is not None:
        fields["max_tokens"] = spec.max_tokens
    if spec.stop:
        fields["stop"] = list(spec.stop)
    fields |= dict(_sampling(spec.sampling, honoured, defaults))
    if spec.ignore_eos:
        honoured.need(UpstreamField.IGNORE_EOS, "ignore_eos")
        fields["ignore_eos"] = True
    if spec.min_tokens:
        honoured.need(UpstreamField.MIN_TOKENS, "min_tokens")
        fields["min_tokens"] = spec.min_tokens
    if spec.stop_token_ids:
        honoured.need(UpstreamField.STOP_TOKEN_IDS, "stop_token_ids")
        fields["stop_token_ids"] = list(spec.stop_token_ids)
    if spec.constraint is not None:
        fields |= _constraint(spec.constraint, honoured)
    return fields


def _sampling(sampling: SamplingParams, honoured: Honoured, defaults: RequestDefaults) -> Iterator[tuple[str, Any]]:
    for field, name in _SAMPLING:
        value = getattr(sampling, name)
        if value == getattr(_NEUTRAL, name):
            continue
        if field in honoured.fields:
            yield name, value
        elif value != getattr(defaults, name, None):
            raise refusal(name, honoured.upstream)
    if sampling.logit_bias:
        honoured.need(UpstreamField.LOGIT_BIAS, "logit_bias")
        yield "logit_bias", {str(token_id): bias for token_id, bias in sampling.logit_bias}
    if sampling.num_prompt_logprobs is not None:
        raise refusal("prompt_logprobs", honoured.upstream)
    yield from _windows(sampling, honoured)


def _windows(sampling: SamplingParams, honoured: Honoured) -> Iterator[tuple[str, Any]]:
    """Tell over how many tokens penalties count, where there are penalties and it is not as usual."""
    is_usual = sampling.repetition_window == _NEUTRAL.repetition_window and sampling.penalty_window is None
    has_penalties = sampling.repetition_penalty != 1 or sampling.frequency_penalty or sampling.presence_penalty
    if is_usual or not has_penalties:
        return
    if not honoured.is_mlxr:
        raise refusal("repeat_last_n", honoured.upstream)
    yield "repeat_last_n", -1 if sampling.repetition_window is None else sampling.repetition_window


def logprobs_of(sampling: SamplingParams, honoured: Honoured, *, is_chat: bool) -> dict[str, Any]:
    """Return how likelihoods of the answer's tokens are asked for; a chat does it otherwise than a completion."""
    if sampling.num_logprobs is None:
        return {}
    honoured.need(UpstreamField.LOGPROBS, "logprobs")
    return {"logprobs": True, "top_logprobs": sampling.num_logprobs} if is_chat else {"logprobs": sampling.num_logprobs}


def _constraint(constraint: Constraint, honoured: Honoured) -> dict[str, Any]:
    match constraint.kind:
        case ConstraintKind.JSON_OBJECT:
            honoured.need(UpstreamField.RESPONSE_FORMAT, constraint.param)
            return {"response_format": {"type": "json_object"}}
        case ConstraintKind.JSON_SCHEMA:
            honoured.need(UpstreamField.RESPONSE_FORMAT, constraint.param)
            schema = {"name": "answer", "schema": msgspec.json.decode(constraint.text), "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": schema}}
        case ConstraintKind.GBNF:
            honoured.need(UpstreamField.GRAMMAR, constraint.param, _NO_GRAMMAR)
            return {"grammar": constraint.text}
        case ConstraintKind.REGEX:
            honoured.need(UpstreamField.REGEX, constraint.param, _NO_GRAMMAR)
            return {"regex": constraint.text} if honoured.is_mlxr else {"guided_regex": constraint.text}
        case ConstraintKind.LARK:
            raise refusal(constraint.param, honoured.upstream, _NO_GRAMMAR)


def tool_fields(shown: list[dict[str, Any]], use: ToolUse | None, honoured: Honoured) -> dict[str, Any]:
    """Return a chat's tools, and whether it has to call one."""
    if not shown:
        return {}
    honoured.need(UpstreamField.TOOLS, "tools")
    fields: dict[str, Any] = {"tools": shown}
    if use is None or use.choice is ToolChoice.NONE:
        fields["tool_choice"] = "none"
        return fields
    if use.named is not None:
        fields["tool_choice"] = {"type": "function", "function": {"name": use.named}}
    elif use.choice is ToolChoice.REQUIRED:
        fields["tool_choice"] = "required"
    if not use.is_parallel:
        fields["parallel_tool_calls"] = False
    return fields
