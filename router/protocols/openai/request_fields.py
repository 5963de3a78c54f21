"""Fields that several of OpenAI's endpoints have, and those that other servers add to them and that change the answer.

The latter are refused by name, never left out; each has the value that asks for nothing there.

Source: llama.cpp, tools/server/README.md, "POST /completion"; vLLM, docs "OpenAI-Compatible Server", extra parameters;
mlx-lm, SERVER.md.
"""

from typing import Annotated, Final

import msgspec

from router.protocols.fields import ranges
from router.protocols.fields.json_types import Refused
from router.protocols.fields.mlxr import MlxrFields
from router.protocols.fields.support import LABEL, honoured, refused

_NO_SAMPLER: Final = "neither engine has it; use temperature, top_p, min_p or typical_p"
_CONSTRAINT: Final = "use structured_outputs, response_format, grammar or regex"
_TEXT_AS_IS: Final = "the text is as the model wrote it, without control tokens; leave it out"


class RequestFields(msgspec.Struct, kw_only=True):
    """Fields that all of OpenAI's endpoints share that generate."""

    model: ranges.ModelReference
    stream: bool | None = None
    temperature: ranges.Temperature | None = None
    top_p: ranges.TopP | None = None
    top_k: ranges.TopK | None = None
    min_p: ranges.MinP | None = None
    frequency_penalty: ranges.Penalty | None = None
    presence_penalty: ranges.Penalty | None = None
    repetition_penalty: Annotated[ranges.RepetitionPenalty | None, honoured("1 is off")] = None
    seed: ranges.Seed | None = None
    service_tier: ranges.ServiceTier | None = None
    prompt_cache_key: ranges.CacheKey | None = None
    user: Annotated[str | None, LABEL] = None
    metadata: Annotated[dict[str, str] | None, LABEL] = None
    mlxr: MlxrFields | None = None


class PeerFields(RequestFields, kw_only=True):
    """Fields that other servers add, and that the answer hangs on; one that mlxr comes to honour leaves."""

    # How tokens are drawn.
    dynatemp_range: Annotated[Refused, refused(_NO_SAMPLER, 0)] = None
    dynatemp_exponent: Annotated[float | None, LABEL] = None  # of dynatemp_range, which must be off; so the others
    xtc_probability: Annotated[Refused, refused(_NO_SAMPLER, 0)] = None
    xtc_threshold: Annotated[float | None, LABEL] = None
    dry_multiplier: Annotated[Refused, refused("neither engine has it; use repetition_penalty", 0)] = None
    dry_base: Annotated[float | None, LABEL] = None
    dry_allowed_length: Annotated[int | None, LABEL] = None
    dry_penalty_last_n: Annotated[int | None, LABEL] = None
    dry_sequence_breakers: Annotated[list[str] | None, LABEL] = None
    mirostat: Annotated[Refused, refused(_NO_SAMPLER, 0)] = None
    mirostat_tau: Annotated[float | None, LABEL] = None
    mirostat_eta: Annotated[float | None, LABEL] = None
    tfs_z: Annotated[Refused, refused(_NO_SAMPLER, 1)] = None
    top_n_sigma: Annotated[Refused, refused(_NO_SAMPLER, -1)] = None
    samplers: Annotated[Refused, refused("the filters have one order here (docs/api.md); leave it out", [])] = None
    min_keep: Annotated[Refused, refused("leave it out, or send 0", 0)] = None
    allowed_token_ids: Annotated[Refused, refused("use logit_bias, structured_outputs, grammar or regex", [])] = None
    bad_words: Annotated[Refused, refused("use logit_bias", [])] = None
    length_penalty: Annotated[Refused, refused("it is of beam search; leave it out", 1)] = None
    early_stopping: Annotated[Refused, refused("it is of beam search; leave it out", False)] = None
    # What the answer looks like, and where it ends.
    guided_json: Annotated[Refused, refused(_CONSTRAINT)] = None
    guided_regex: Annotated[Refused, refused(_CONSTRAINT)] = None
    guided_choice: Annotated[Refused, refused(_CONSTRAINT)] = None
    guided_grammar: Annotated[Refused, refused(_CONSTRAINT)] = None
    include_stop_str_in_output: Annotated[Refused, refused("a stop text is no part of the answer", False)] = None
    skip_special_tokens: Annotated[Refused, refused(_TEXT_AS_IS, True)] = None
    spaces_between_special_tokens: Annotated[Refused, refused(_TEXT_AS_IS, True)] = None
    t_max_predict_ms: Annotated[Refused, refused("use the header X-Mlxr-Timeout", 0, -1)] = None
    n_indent: Annotated[Refused, refused("use grammar or regex", 0)] = None
    n_probs: Annotated[Refused, refused("use logprobs", 0)] = None
    post_sampling_probs: Annotated[Refused, refused("use logprobs, which are of the model's own logits", False)] = None
    # What the model is shown, and which one it is.
    chat_template: Annotated[Refused, refused("set it with `mlxr models set NAME template=@FILE`")] = None
    documents: Annotated[Refused, refused("put them into a message, or into chat_template_kwargs", [])] = None
    truncate_prompt_tokens: Annotated[Refused, refused("shorten the prompt yourself; leave it out", -1)] = None
    lora: Annotated[Refused, refused("ask for the model NAME+ADAPTER", [])] = None
    adapters: Annotated[Refused, refused("ask for the model NAME+ADAPTER", "", [])] = None
    draft_model: Annotated[Refused, refused("set it with `mlxr models set NAME draft=OTHER`", "")] = None
    num_draft_tokens: Annotated[int | None, LABEL] = None  # of draft_model
