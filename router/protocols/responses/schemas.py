"""Requests of the Responses API that mlxr understands, exactly typed; unknown fields are left out (`http.ignored`).

Fields that are not honoured are declared too, to be refused by name (`fields/support.py`). Items and tools are read by
their `type` (`items`, `validation`), so that one that is not understood is refused by its name.

Source: OpenAI API reference, "Create a model response".
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from router.protocols.fields import ranges
from router.protocols.fields.json_types import JSONObject, JSONValue, Refused, read_by_type
from router.protocols.fields.support import LABEL, honoured, neutral_only, refused
from router.protocols.openai.request_fields import RequestFields
from router.protocols.openai.schemas import (
    MAX_MESSAGES,
    MAX_TEMPLATE_KWARGS_BYTES,
    ONLY_STREAMED,
    JsonObjectFormat,
    JsonSchema,
    TextFormat,
)
from router.protocols.responses.tools import ToolObject

MAX_ID_CHARS = 256
LOGPROBS = "message.output_text.logprobs"
ENCRYPTED_REASONING = "reasoning.encrypted_content"
INCLUDABLE = (LOGPROBS, ENCRYPTED_REASONING)

Truncation = Literal["auto", "disabled", "wind"]
ResponseId = Annotated[str, Meta(min_length=1, max_length=MAX_ID_CHARS)]
ItemObject = Annotated[
    JSONObject,
    read_by_type(
        "InputItem",
        "responses.InputMessage",
        "responses.InputFunctionCall",
        "responses.InputFunctionCallOutput",
        "responses.InputReasoning",
        "responses.InputReference",
        "responses.InputCustomCall",
        "responses.InputCustomCallOutput",
        "responses.InputAgentMessage",
        "responses.InputHostedItem",
        "responses.InputCompaction",
        "responses.InputCompactionTrigger",
    ),
]
ChoiceObject = Annotated[
    JSONObject,
    read_by_type("ToolChoice", "responses.NamedChoice", "responses.CustomChoice", "responses.AllowedToolsChoice"),
]


class JsonSchemaFormat(JsonSchema, forbid_unknown_fields=True, tag_field="type", tag="json_schema"):
    """JSON by a schema, whose name has no effect on the answer; nor has `strict`: the schema always holds."""

    name: str = "response"


class TextConfig(msgspec.Struct, forbid_unknown_fields=True):
    """What the answer's text looks like."""

    format: TextFormat | JsonObjectFormat | JsonSchemaFormat | None = None
    verbosity: Annotated[str | None, neutral_only("medium")] = None


class ReasoningConfig(msgspec.Struct, forbid_unknown_fields=True):
    """How the model thinks."""

    effort: ranges.ReasoningEffort | None = None
    summary: Annotated[str | None, neutral_only("auto")] = None
    generate_summary: Annotated[str | None, refused("it is the old form of reasoning.summary", "auto")] = None
    context: Annotated[str | None, neutral_only("auto")] = None
    mode: Annotated[str | None, neutral_only("standard")] = None


class ResponseStreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    """What a stream carries beside the events."""

    include_obfuscation: Annotated[bool | None, neutral_only(False)] = False


class Compaction(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="compaction"):
    """Summarise older turns where the prompt has more tokens than this; null = where the context has no room."""

    compact_threshold: ranges.PositiveCount | None = None


class ConversationPlace(msgspec.Struct, forbid_unknown_fields=True):
    """A kept conversation, and the item in it that is gone on from: its head where none is named, null = none."""

    id: ResponseId
    after: ResponseId | UnsetType | None = UNSET


class ResponseRequest(RequestFields, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/responses."""

    input: Annotated[
        str | Annotated[list[ItemObject], Meta(max_length=MAX_MESSAGES)] | None,
        honoured("messages, calls, their outputs, reasoning; texts, and images of models that see"),
    ] = None
    instructions: Annotated[str | None, honoured("of this response only")] = None
    previous_response_id: Annotated[ResponseId | None, honoured("of a stored response")] = None
    store: Annotated[bool | None, honoured("true where nothing is sent")] = None
    background: Annotated[bool | None, honoured("true needs a response that is stored")] = None
    stream_options: ResponseStreamOptions | None = None
    return_progress: Annotated[bool | None, ONLY_STREAMED] = None
    timings_per_token: Annotated[bool | None, ONLY_STREAMED] = None
    include: Annotated[list[str] | None, honoured(", ".join(INCLUDABLE))] = None
    truncation: Annotated[
        Truncation | None,
        honoured(
            "where there is no room, auto: the oldest turns go, unless the model's setting is to wind; wind: they are "
            "summarised; disabled: a 400"
        ),
    ] = None
    max_output_tokens: ranges.AnswerLimit | None = None
    top_logprobs: Annotated[ranges.TopLogprobs | None, honoured(f"only with include: {LOGPROBS}")] = None
    text: TextConfig | None = None
    reasoning: ReasoningConfig | None = None
    chat_template_kwargs: Annotated[
        JSONObject | None, honoured(f"of up to {MAX_TEMPLATE_KWARGS_BYTES} bytes of JSON")
    ] = None
    tools: Annotated[
        Annotated[list[ToolObject], Meta(max_length=ranges.MAX_TOOLS)] | None,
        honoured("functions, custom tools and namespaces of them; others are left out, and named in the answer"),
    ] = None
    tool_choice: Annotated[
        str | ChoiceObject | None, honoured("none, auto or required; of type function, custom or allowed_tools")
    ] = None
    parallel_tool_calls: bool | None = None
    safety_identifier: Annotated[str | None, LABEL] = None
    prompt_cache_retention: Annotated[str | None, LABEL] = None
    max_tool_calls: Annotated[ranges.PositiveCount | None, honoured("of built-in tools, which are none")] = None
    conversation: Annotated[
        ResponseId | ConversationPlace | None,
        honoured("a kept one: its items go before the input, input and answer become a part of it"),
    ] = None
    prompt: Annotated[Refused, refused("there are no stored prompts; send instructions and input")] = None
    moderation: Annotated[Refused, neutral_only()] = None
    context_management: Annotated[
        Annotated[list[Compaction], Meta(max_length=1)] | None,
        honoured("one entry of type compaction: the answer begins with an item of that type where one was made"),
    ] = None
    prompt_cache_options: Annotated[Refused, neutral_only()] = None
    access_programs: Annotated[JSONValue, LABEL] = None
    client_metadata: Annotated[JSONValue, LABEL] = None
    image: Annotated[Refused, neutral_only()] = None


class NamedChoice(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="function"):
    """A function by its name; as a choice, the one that must be called."""

    name: str
    namespace: str | None = None


class CustomChoice(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="custom"):
    """A custom tool by its name, like a function."""

    name: str
    namespace: str | None = None


ChosenToolObject = Annotated[JSONObject, read_by_type("ChosenTool", "responses.NamedChoice", "responses.CustomChoice")]


class AllowedToolsChoice(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="allowed_tools"):
    """Only these tools may be called; `mode` is auto or required. Those that nobody runs here are left out."""

    tools: list[ChosenToolObject]
    mode: str = "auto"
