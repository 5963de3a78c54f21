"""Requests of the OpenAI API that mlxr understands, exactly typed; unknown fields are refused by the decoder.

Every field has a row in `fields/capabilities.py`; those that are not honoured are declared too, so that they can be
refused by name, or accept the value that means "nothing special". Ranges that are wider than OpenAI's are the
engines' own. What a type cannot say (tool_choice, logit_bias) is any JSON for the decoder, and checked by hand.

Source: OpenAI API reference, "Create chat completion" and "Create completion"; llama.cpp's tools/server/README.md for
`grammar`, `repeat_penalty`, `repeat_last_n`, `return_progress`, `timings_per_token`, `cache_prompt` and `id_slot`.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from router.protocols.fields.json_types import JSONObject, JSONSchema, JSONValue, Refused
from router.protocols.fields.tools import FunctionDefinition, FunctionName, ToolChoiceObject

MAX_STOPS = 16
MAX_STOP_CHARS = 256
MAX_MESSAGES = 10_000
MAX_PROMPTS = 64
MAX_CHOICES = 8
MAX_TOP_LOGPROBS = 20
MAX_GRAMMAR_CHARS = 65_536
MAX_CACHE_KEY_CHARS = 512

StopText = Annotated[str, Meta(min_length=1, max_length=MAX_STOP_CHARS)]
StopList = Annotated[list[StopText], Meta(max_length=MAX_STOPS)]
PositiveCount = Annotated[int, Meta(ge=1, le=1_000_000_000)]
TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
RepetitionPenalty = Annotated[float, Meta(gt=0, le=10)]
PenaltyWindow = Annotated[int, Meta(ge=-1, le=1_000_000)]
GrammarText = Annotated[str, Meta(min_length=1, max_length=MAX_GRAMMAR_CHARS)]
TopLogprobs = Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)]
ServiceTier = Literal["auto", "default", "priority", "flex"]
CallId = Annotated[str, Meta(min_length=1, max_length=256)]
Bias = Annotated[Any, Meta(title="Bias", extra_json_schema={"type": "number", "minimum": -100, "maximum": 100})]
BiasPair = Annotated[
    Any, Meta(title="BiasPair", extra_json_schema={"type": "array", "items": {"type": "number"}, "maxItems": 2})
]
LogitBias = dict[str, Bias] | list[BiasPair]
"""Token id to bias, or pairs of them; read by `sampling`, with what is wrong in words."""


class TextPart(msgspec.Struct, forbid_unknown_fields=True):
    """One part of a message's content."""

    type: str
    text: str | None = None
    image_url: Refused = None
    input_audio: Refused = None
    file: Refused = None


class FunctionCall(msgspec.Struct, forbid_unknown_fields=True):
    """What an assistant called: the arguments are JSON text.

    OpenAI's own client sends `parsed_arguments` back, the same arguments as it read them; they have no effect.
    """

    name: FunctionName
    arguments: str
    parsed_arguments: JSONValue = None


class ToolCall(msgspec.Struct, forbid_unknown_fields=True):
    """One call in an assistant's message; `index` is what some clients keep from a stream."""

    id: CallId
    function: FunctionCall
    type: Literal["function"] = "function"
    index: int | None = None


class ChatMessage(msgspec.Struct, forbid_unknown_fields=True):
    """One message of the conversation; `parsed` is the content as OpenAI's own client read it, without effect."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: CallId | None = None
    function_call: Refused = None
    audio: Refused = None
    annotations: JSONValue = None
    parsed: JSONValue = None


class ToolDefinition(msgspec.Struct, forbid_unknown_fields=True):
    """A tool; functions are the only kind."""

    type: Literal["function"]
    function: FunctionDefinition


class TextFormat(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="text"):
    """Any text."""


class JsonObjectFormat(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="json_object"):
    """Any JSON object."""


class JsonSchema(msgspec.Struct, forbid_unknown_fields=True):
    """A schema with a name, which has no effect on the answer; nor has `strict`: the schema always holds."""

    name: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.\-]+\Z")]
    schema: JSONSchema
    description: str | None = None
    strict: bool | None = None


class JsonSchemaFormat(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="json_schema"):
    """JSON by a schema."""

    json_schema: JsonSchema


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    """What a stream carries beside the text."""

    include_usage: bool = False
    include_obfuscation: bool = False


class _Generation(msgspec.Struct, kw_only=True):
    """Fields that both endpoints share."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=5)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    typical_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repetition_penalty: RepetitionPenalty | None = None
    repeat_penalty: RepetitionPenalty | None = None
    repeat_last_n: PenaltyWindow | None = None
    repetition_context_size: PenaltyWindow | None = None
    logit_bias: LogitBias | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    max_tokens: PositiveCount | None = None
    stop: StopText | StopList | None = None
    ignore_eos: bool | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None = None
    response_format: TextFormat | JsonObjectFormat | JsonSchemaFormat | None = None
    grammar: GrammarText | None = None
    regex: GrammarText | None = None
    return_progress: bool | None = None
    timings_per_token: bool | None = None
    cache_prompt: bool | None = None
    id_slot: int | None = None
    # How it is scheduled, and which conversation it belongs to.
    service_tier: ServiceTier | None = None
    prompt_cache_key: Annotated[str, Meta(max_length=MAX_CACHE_KEY_CHARS)] | None = None
    # Labels without an effect on the answer, by OpenAI's own definition.
    user: str | None = None
    metadata: dict[str, str] | None = None


class ChatRequest(_Generation, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/chat/completions."""

    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=MAX_MESSAGES)]
    max_completion_tokens: PositiveCount | None = None
    logprobs: bool | None = None
    top_logprobs: TopLogprobs | None = None
    tools: Annotated[list[ToolDefinition], Meta(max_length=128)] | None = None
    tool_choice: str | ToolChoiceObject | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    enable_thinking: bool | None = None
    chat_template_kwargs: JSONObject | None = None
    reasoning_format: Literal["none", "auto", "deepseek"] | None = None
    # Labels and hints without an effect on the answer.
    safety_identifier: str | None = None
    prompt_cache_retention: str | None = None
    # Not honoured.
    functions: list[Refused] | None = None
    function_call: Refused = None
    verbosity: str | None = None
    modalities: list[str] | None = None
    audio: Refused = None
    prediction: Refused = None
    web_search_options: Refused = None
    store: bool | None = None


class CompletionRequest(_Generation, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/completions."""

    # A list is of texts, of token ids (one prompt), or of lists of token ids; `validation` refuses mixtures.
    prompt: str | Annotated[list[str | TokenId | list[TokenId]], Meta(min_length=1)]
    echo: bool | None = None
    logprobs: TopLogprobs | None = None
    suffix: str | None = None
    # Not honoured.
    best_of: int | None = None
