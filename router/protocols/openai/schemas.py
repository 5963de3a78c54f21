"""Requests of the OpenAI API that mlxr understands, exactly typed; unknown fields are left out (`http.ignored`).

Fields that are not honoured are declared too, so that they can be refused by name, or accept the value that means
"nothing special" (`fields/support.py`). Ranges that are wider than OpenAI's are the engines' own. What a type cannot
say (tool_choice, logit_bias) is any JSON for the decoder, and checked by hand.

Source: OpenAI API reference, "Create chat completion" and "Create completion"; llama.cpp's tools/server/README.md for
`grammar`, `repeat_penalty`, `repeat_last_n`, `return_progress`, `timings_per_token`, `cache_prompt` and `id_slot`;
vLLM's protocol.py for `prompt_logprobs`, `min_tokens`, `stop_token_ids`, `return_token_ids`, `structured_outputs`,
`continuous_usage_stats` and `continue_final_message`.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from registry.engines import EngineKind
from router.protocols.fields import ranges
from router.protocols.fields.constraints import MAX_CONSTRAINT_BYTES
from router.protocols.fields.json_types import JSONObject, JSONSchema, JSONValue, Refused, read_by_type
from router.protocols.fields.support import LABEL, honoured, neutral_only, refused, without_effect
from router.protocols.fields.tools import CalledName, FunctionDefinition, ToolChoiceObject
from router.protocols.images.sent import Detail
from router.protocols.openai.request_fields import PeerFields

MAX_MESSAGES = 10_000
MAX_PROMPTS = 64
MAX_BIASES = 1024
MAX_BIAS = 100
MAX_TEMPLATE_KWARGS_BYTES = 16_384
MAX_CHOICES = 8
MAX_ANSWER_TEXTS = 1024
MAX_STOP_TOKENS = 128

OptionalGrammar = Annotated[str, Meta(max_length=MAX_CONSTRAINT_BYTES)]
GrammarText = Annotated[OptionalGrammar, Meta(min_length=1)]
Bias = Annotated[
    Any, Meta(title="Bias", extra_json_schema={"type": "number", "minimum": -MAX_BIAS, "maximum": MAX_BIAS})
]
BiasPair = Annotated[
    Any, Meta(title="BiasPair", extra_json_schema={"type": "array", "items": {"type": "number"}, "maxItems": 2})
]
ImageObject = Annotated[JSONObject, read_by_type("Image", "openai.ImageURL")]
"""Read by hand, because what cannot be read of earlier turns is no reason to refuse."""
LogitBias = dict[str, Bias] | list[BiasPair]
"""Token id to bias, or pairs of them; read by hand, with what is wrong in words."""

_NOT_HEARD = refused("only texts, images and documents are understood: parts of type text, image_url, file")
ONLY_STREAMED = honoured("only with stream: true")


class ImageURL(msgspec.Struct, forbid_unknown_fields=True):
    """A picture: a data: URI, or an address where `images.fetch` of the config allows it."""

    url: str
    detail: Detail | None = None


class ChatFile(msgspec.Struct, forbid_unknown_fields=True):
    """A document: its data, or the id of a file or of a document that was read."""

    filename: str | None = None
    file_data: str | None = None
    file_id: str | None = None


class TextPart(msgspec.Struct, forbid_unknown_fields=True):
    """One part of a message's content: a text, a picture or a document; what else was said earlier is said in words."""

    type: Annotated[str, honoured("text, image_url, file; in earlier messages also what is then said in words")]
    text: str | None = None
    refusal: str | None = None
    thinking: Annotated[JSONValue, honoured("of assistant messages; a text")] = None
    signature: Annotated[str | None, LABEL] = None
    cache_control: Annotated[JSONObject | None, LABEL] = None
    annotations: Annotated[list[JSONValue] | None, LABEL] = None
    image_url: Annotated[
        str | ImageObject | None, honoured("a data: URI, or an object with such a url; of models that see")
    ] = None
    file_id: Annotated[str | None, honoured("of an image that was uploaded to /v1/files")] = None
    detail: Annotated[str | None, honoured("of images; image_url.detail goes before it")] = None
    input_audio: Annotated[Refused, _NOT_HEARD] = None
    video_url: Annotated[Refused, _NOT_HEARD] = None
    file: Annotated[ChatFile | None, honoured("a document (docs/documents.md)")] = None


class FunctionCall(msgspec.Struct, forbid_unknown_fields=True):
    """What an assistant called: the arguments are JSON text, or what came of it before the answer was cut.

    OpenAI's own client sends `parsed_arguments` back, the same arguments as it read them; they have no effect.
    """

    name: CalledName
    arguments: str | JSONObject | list[JSONValue] | None = None
    parsed_arguments: JSONValue = None


class CustomCall(msgspec.Struct, forbid_unknown_fields=True):
    """What an assistant called by a tool of type custom: its input is a text."""

    name: CalledName
    input: str = ""


class ToolCall(msgspec.Struct, forbid_unknown_fields=True):
    """One call in an assistant's message; `index` is what some clients keep from a stream."""

    function: FunctionCall | None = None
    id: Annotated[str, Meta(max_length=256)] | None = None
    type: Literal["function", "custom"] = "function"
    custom: CustomCall | None = None
    index: int | None = None


class ChatMessage(msgspec.Struct, forbid_unknown_fields=True):
    """One message of the conversation; `parsed` is the content as OpenAI's own client read it, without effect."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Annotated[str | list[TextPart] | None, honoured("may be null in messages of assistants and tools")] = None
    name: Annotated[str | None, honoured("shown where the model's template shows names")] = None
    refusal: Annotated[str | None, honoured("of assistant messages, where they have no content")] = None
    reasoning_content: Annotated[str | None, honoured("of assistant messages")] = None
    reasoning: Annotated[JSONValue, honoured("of assistant messages, a text; another name of reasoning_content")] = None
    reasoning_details: Annotated[
        list[JSONObject] | None, honoured("of assistant messages; what can be read of them")
    ] = None
    tool_calls: Annotated[list[ToolCall] | None, honoured("of assistant messages")] = None
    tool_call_id: Annotated[
        Annotated[str, Meta(max_length=256)] | None, honoured("of tool messages; without it, the first open call's")
    ] = None
    function_call: Annotated[FunctionCall | None, honoured("of assistant messages; the old form of tool_calls")] = None
    audio: Annotated[JSONValue, LABEL] = None
    annotations: Annotated[list[JSONValue] | None, LABEL] = None
    cache_control: Annotated[JSONObject | None, LABEL] = None
    parsed: Annotated[JSONValue, LABEL] = None


class ToolDefinition(msgspec.Struct, forbid_unknown_fields=True):
    """A tool; functions are the only kind. Labels of caches have no effect."""

    type: Literal["function"]
    function: FunctionDefinition
    cache_control: JSONObject | None = None


class TextFormat(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="text"):
    """Any text."""


class JsonObjectFormat(
    msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, tag_field="type", tag="json_object"
):
    """Any JSON object, or JSON by a schema, as llama-server has it."""

    schema: JSONSchema | None = None


class JsonSchema(msgspec.Struct, forbid_unknown_fields=True):
    """A schema; its name has no effect on the answer, nor has `strict`: the schema always holds."""

    schema: JSONSchema
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class JsonSchemaFormat(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="json_schema"):
    """JSON by a schema; the fields of `json_schema` may stand beside the type, as some clients write them."""

    json_schema: JsonSchema | None = None
    schema: JSONSchema | None = None
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class StructuredOutputs(msgspec.Struct, forbid_unknown_fields=True):
    """vLLM's way to say what an answer must match: one of these."""

    json: Annotated[JSONSchema | str | None, honoured("a JSON schema, or the text of one")] = None
    regex: GrammarText | None = None
    choice: Annotated[list[str], Meta(min_length=1, max_length=MAX_ANSWER_TEXTS)] | None = None
    grammar: Annotated[GrammarText | None, honoured("in GBNF")] = None
    json_object: bool | None = None
    structural_tag: Annotated[Refused, refused("send json, regex, choice or grammar, or tools")] = None
    disable_fallback: Annotated[bool | None, LABEL] = None
    disable_any_whitespace: Annotated[bool | None, neutral_only(False)] = None
    disable_additional_properties: Annotated[bool | None, neutral_only(False)] = None
    whitespace_pattern: Annotated[str | None, neutral_only()] = None


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    """What a stream carries beside the text."""

    include_usage: Annotated[bool | None, ONLY_STREAMED] = False
    continuous_usage_stats: Annotated[bool | None, honoured("in every chunk, with include_usage: true")] = False
    include_obfuscation: Annotated[bool | None, neutral_only(False)] = False


class _Completion(PeerFields, kw_only=True):
    """Fields that chats and text completions share."""

    stream_options: StreamOptions | None = None
    typical_p: Annotated[ranges.TypicalP | None, honoured("1 is off")] = None
    repeat_penalty: Annotated[ranges.RepetitionPenalty | None, honoured("the same as repetition_penalty")] = None
    repeat_last_n: Annotated[
        ranges.PenaltyWindow | None, honoured("tokens; 0 = penalties off, -1 = all; also repetition_context_size")
    ] = None
    repetition_context_size: Annotated[ranges.PenaltyWindow | None, honoured("the same as repeat_last_n")] = None
    logit_bias: Annotated[
        LogitBias | None,
        honoured(f"up to {MAX_BIASES} token ids, or pairs of them, each with a number from -{MAX_BIAS} to {MAX_BIAS}"),
    ] = None
    max_tokens: ranges.AnswerLimit | None = None
    stop: ranges.StopText | ranges.StopList | None = None
    n_predict: Annotated[ranges.AnswerLimit | None, honoured("the same as max_tokens")] = None
    ignore_eos: bool | None = None
    min_tokens: Annotated[
        Annotated[int, Meta(ge=0, le=1_000_000_000)] | None,
        honoured("tokens before which nothing but a constraint that is met ends the answer"),
    ] = None
    stop_token_ids: Annotated[list[ranges.TokenId], Meta(max_length=MAX_STOP_TOKENS)] | None = None
    return_token_ids: Annotated[
        bool | None,
        honoured(
            "of prompt and answer; in a stream with the end",
            {EngineKind.UPSTREAM: refused("an upstream tells no ids; leave it out", False)},
        ),
    ] = None
    prompt_logprobs: Annotated[
        ranges.TopLogprobs | None, honoured("likeliest tokens at each place of the prompt; only without stream: true")
    ] = None
    n: Annotated[int, Meta(ge=1, le=MAX_CHOICES)] | None = None
    response_format: TextFormat | JsonObjectFormat | JsonSchemaFormat | None = None
    json_schema: Annotated[JSONSchema | None, honoured("the same as response_format of type json_schema")] = None
    grammar: Annotated[
        OptionalGrammar | None, honoured(f'in GBNF, of up to {MAX_CONSTRAINT_BYTES} bytes; "" is none')
    ] = None
    regex: Annotated[GrammarText | None, honoured(f"of up to {MAX_CONSTRAINT_BYTES} bytes")] = None
    structured_outputs: StructuredOutputs | None = None
    return_progress: Annotated[bool | None, ONLY_STREAMED] = None
    timings_per_token: Annotated[bool | None, ONLY_STREAMED] = None
    cache_prompt: Annotated[bool | None, LABEL] = None
    id_slot: Annotated[int | None, honoured("by which number POST /slots/ID finds it, where that is free")] = None
    use_beam_search: Annotated[bool | None, neutral_only(False)] = None


class ChatRequest(_Completion, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/chat/completions."""

    messages: Annotated[list[ChatMessage], Meta(min_length=1, max_length=MAX_MESSAGES)]
    max_completion_tokens: ranges.AnswerLimit | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[ranges.TopLogprobs | None, honoured("only with logprobs: true")] = None
    tools: Annotated[
        Annotated[list[ToolDefinition], Meta(max_length=ranges.MAX_TOOLS)] | None,
        honoured("functions, each with another name"),
    ] = None
    tool_choice: Annotated[
        str | ToolChoiceObject | None, honoured("none, auto or required; of type function or allowed_tools")
    ] = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: ranges.ReasoningEffort | None = None
    enable_thinking: bool | None = None
    chat_template_kwargs: Annotated[
        JSONObject | None, honoured(f"of up to {MAX_TEMPLATE_KWARGS_BYTES} bytes of JSON")
    ] = None
    reasoning_format: Literal["none", "auto", "deepseek"] | None = None
    add_generation_prompt: Annotated[
        bool | None, honoured("false = the prompt ends with the messages; not true with continue_final_message")
    ] = None
    continue_final_message: Annotated[
        bool | None, honoured("the last message, a text of the assistant, is how the answer begins")
    ] = None
    safety_identifier: Annotated[str | None, LABEL] = None
    prompt_cache_retention: Annotated[str | None, LABEL] = None
    functions: Annotated[list[Refused] | None, refused("it is the old form of tools; send tools", [])] = None
    function_call: Annotated[
        Refused, refused("it is the old form of tool_choice; send tool_choice", "none", "auto")
    ] = None
    verbosity: Annotated[str | None, neutral_only("medium")] = None
    modalities: Annotated[list[str] | None, neutral_only(["text"])] = None
    audio: Annotated[Refused, neutral_only()] = None
    prediction: Annotated[Refused, without_effect()] = None
    web_search_options: Annotated[Refused, neutral_only()] = None
    store: Annotated[bool | None, without_effect(False)] = None


class CompletionRequest(_Completion, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/completions."""

    prompt: Annotated[
        str | Annotated[list[str | ranges.TokenId | list[ranges.TokenId]], Meta(min_length=1)],
        honoured(f"up to {MAX_PROMPTS} prompts, or one of token ids; no mixture"),
    ]
    echo: Annotated[bool | None, honoured("also with logprobs, which are the prompt's then too")] = None
    logprobs: ranges.TopLogprobs | None = None
    suffix: Annotated[str | None, honoured("for models that can infill, with one prompt that is a text")] = None
    best_of: Annotated[int | None, neutral_only(1)] = None
