"""Requests of llama-server's own completions, exactly typed.

Samplers that no engine here has (dynamic temperature, XTC, DRY, Mirostat) are accepted where they are off; what only
asks for speed or for a place in memory is accepted and has no effect on the answer.

Source: llama.cpp, tools/server/README.md, "POST /completion", "POST /infill", "POST /embedding".
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from registry.engines import EngineKind
from router.protocols.fields import ranges
from router.protocols.fields.json_types import JSONSchema, JSONValue, Refused
from router.protocols.fields.mlxr import MlxrFields
from router.protocols.fields.support import LABEL, honoured, neutral_only, refused, without_effect
from router.protocols.openai.embeddings import MAX_INPUT_TOKENS
from router.protocols.openai.schemas import MAX_CHOICES, MAX_PROMPTS, LogitBias, OptionalGrammar

MAX_FILES = 64
MAX_RESPONSE_FIELDS = 64

_OFF_ONLY = neutral_only(0)
Inputs = Annotated[list[str | ranges.TokenId | list[ranges.TokenId]], Meta(min_length=1, max_length=MAX_INPUT_TOKENS)]
Count = Annotated[int, Meta(ge=-1, le=1_000_000_000)]
Number = Annotated[float, Meta(ge=-1e9, le=1e9)]
Sampler = Literal[
    "penalties",
    "dry",
    "top_n_sigma",
    "top_k",
    "typ_p",
    "typical_p",
    "top_p",
    "min_p",
    "xtc",
    "temperature",
    "infill",
    "adaptive_p",
]


class PromptString(msgspec.Struct, forbid_unknown_fields=True):
    """A prompt as an object."""

    prompt_string: str
    multimodal_data: Annotated[
        list[JSONValue] | None, honoured("images in base64, of models that see; one for each media_marker of /props")
    ] = None


class CompletionFields(msgspec.Struct, kw_only=True):
    """Fields that all of llama-server's completions share."""

    model: ranges.ModelReference | None = None
    stream: bool | None = None
    n_predict: Annotated[Count | None, honoured("-1 = what the context leaves; 0 = the prompt is only read in")] = None
    max_tokens: Annotated[Count | None, honoured("the same as n_predict")] = None
    n_cmpl: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None = None
    n: Annotated[Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None, honoured("the same as n_cmpl")] = None
    temperature: Annotated[Number | None, honoured("0 and less is greedy")] = None
    top_k: Annotated[Annotated[int, Meta(ge=-1_000_000, le=1_000_000)] | None, honoured("0 and less is off")] = None
    top_p: ranges.TopP | None = None
    min_p: ranges.MinP | None = None
    typical_p: Annotated[ranges.TypicalP | None, honoured("1 is off")] = None
    repeat_penalty: Annotated[ranges.RepetitionPenalty | None, honoured("0 and 1 are off")] = None
    repeat_last_n: Annotated[ranges.PenaltyWindow | None, honoured("tokens; 0 = penalties off, -1 = all")] = None
    presence_penalty: ranges.Penalty | None = None
    frequency_penalty: ranges.Penalty | None = None
    seed: Annotated[ranges.Seed | None, honoured("-1 and 4294967295 = another one each time")] = None
    ignore_eos: bool | None = None
    logit_bias: Annotated[LogitBias | None, honoured("as of POST /v1/completions; false = never")] = None
    stop: ranges.StopText | ranges.StopList | None = None
    grammar: Annotated[OptionalGrammar | None, honoured('in GBNF; "" is none')] = None
    json_schema: JSONSchema | None = None
    n_probs: ranges.TopLogprobs | None = None
    return_tokens: Annotated[
        bool | None,
        honoured("", {EngineKind.UPSTREAM: refused("an upstream tells no ids; leave it out", False)}),
    ] = None
    timings_per_token: Annotated[bool | None, honoured("only with stream: true")] = None
    return_progress: Annotated[bool | None, honoured("only with stream: true")] = None
    response_fields: Annotated[
        Annotated[list[str], Meta(max_length=MAX_RESPONSE_FIELDS)] | None,
        honoured("fields of the answer, a/b for b in a; not of streams"),
    ] = None
    samplers: Annotated[
        list[Sampler] | str | None, honoured("those not in it are off; their order is mlxr's own, infill has no effect")
    ] = None
    n_indent: Annotated[
        Annotated[int, Meta(ge=0, le=1000)] | None, honoured("the text ends before a line that is indented less")
    ] = None
    dynatemp_range: Annotated[Number | None, _OFF_ONLY] = None
    xtc_probability: Annotated[Number | None, _OFF_ONLY] = None
    dry_multiplier: Annotated[Number | None, _OFF_ONLY] = None
    mirostat: Annotated[int | None, _OFF_ONLY] = None
    top_n_sigma: Annotated[Number | None, neutral_only(-1, 0)] = None
    min_keep: Annotated[int | None, neutral_only(0, 1)] = None
    post_sampling_probs: Annotated[bool | None, neutral_only(False)] = None
    lora: Annotated[list[JSONValue] | None, refused("name the adapter: NAME+ADAPTER", [])] = None
    dynatemp_exponent: Annotated[Number | None, LABEL] = None
    xtc_threshold: Annotated[Number | None, LABEL] = None
    dry_base: Annotated[Number | None, LABEL] = None
    dry_allowed_length: Annotated[int | None, LABEL] = None
    dry_penalty_last_n: Annotated[int | None, LABEL] = None
    dry_sequence_breakers: Annotated[list[str] | None, LABEL] = None
    mirostat_tau: Annotated[Number | None, LABEL] = None
    mirostat_eta: Annotated[Number | None, LABEL] = None
    n_keep: Annotated[int | None, LABEL] = None
    n_discard: Annotated[int | None, LABEL] = None
    n_cache_reuse: Annotated[int | None, LABEL] = None
    t_max_prompt_ms: Annotated[Number | None, without_effect(0, -1)] = None
    t_max_predict_ms: Annotated[Number | None, without_effect(0, -1)] = None
    sse_ping_interval: Annotated[Number | None, LABEL] = None
    id_slot: Annotated[int | None, honoured("by which number POST /slots/ID finds it, where that is free")] = None
    cache_prompt: Annotated[bool | None, LABEL] = None
    mlxr: MlxrFields | None = None


class NativeCompletionRequest(CompletionFields, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /completion."""

    prompt: Annotated[
        str
        | PromptString
        | Annotated[list[str | ranges.TokenId | PromptString | list[ranges.TokenId | str]], Meta(min_length=1)],
        honoured(f"up to {MAX_PROMPTS} prompts, or one of token ids"),
    ]
    suffix: Annotated[Refused, refused("send input_prefix and input_suffix to POST /infill", "")] = None


class ExtraFile(msgspec.Struct, forbid_unknown_fields=True):
    """A text that stands before what is to be filled in."""

    text: str
    filename: str | None = None
    time: Annotated[JSONValue, LABEL] = None


class InfillRequest(CompletionFields, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /infill."""

    input_prefix: str
    input_suffix: str
    input_extra: Annotated[list[ExtraFile], Meta(max_length=MAX_FILES)] | None = None
    prompt: Annotated[str | None, honoured("how the text that is filled in begins")] = None


class NativeEmbeddingRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /embedding and POST /embeddings: one of `content` and `input`."""

    content: str | Inputs | None = None
    input: str | Inputs | None = None
    model: ranges.ModelReference | None = None
    embd_normalize: Annotated[int | None, refused("vectors have the length 1 here; send 2", 2)] = None
    encoding_format: Annotated[Literal["float"] | None, LABEL] = None
    user: Annotated[str | None, LABEL] = None


class SlotFile(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /slots/ID: a plain name, without a folder; not of action=erase."""

    filename: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")] | None = None
    model: ranges.ModelReference | None = None
