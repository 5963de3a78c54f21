"""Requests of the Responses API that mlxr understands, exactly typed; unknown fields are refused by the decoder.

Every field has a row in `fields/capabilities.py`. Items and tools are read by their `type` (`items`, `validation`), so
that one that is not understood is refused by its name.

Source: OpenAI API reference, "Create a model response".
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from router.protocols.fields.json_types import JSONObject, JSONSchema, Refused, read_by_type
from router.protocols.fields.tools import FunctionName
from router.protocols.openai.schemas import (
    MAX_CACHE_KEY_CHARS,
    MAX_MESSAGES,
    JsonObjectFormat,
    Penalty,
    PositiveCount,
    RepetitionPenalty,
    ServiceTier,
    TextFormat,
    TopLogprobs,
)

MAX_TOOLS = 128
MAX_ID_CHARS = 256

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
    ),
]
ToolObject = Annotated[JSONObject, read_by_type("Tool", "responses.FunctionTool")]
ChoiceObject = Annotated[
    JSONObject, read_by_type("ToolChoice", "responses.NamedChoice", "responses.AllowedToolsChoice")
]


class JsonSchemaFormat(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="json_schema"):
    """JSON by a schema, whose name has no effect on the answer; nor has `strict`: the schema always holds."""

    name: FunctionName
    schema: JSONSchema
    description: str | None = None
    strict: bool | None = None


class TextConfig(msgspec.Struct, forbid_unknown_fields=True):
    """What the answer's text looks like."""

    format: TextFormat | JsonObjectFormat | JsonSchemaFormat | None = None
    verbosity: str | None = None


class ReasoningConfig(msgspec.Struct, forbid_unknown_fields=True):
    """How the model thinks."""

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    summary: str | None = None
    generate_summary: str | None = None
    context: str | None = None
    mode: str | None = None


class ResponseStreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    """What a stream carries beside the events."""

    include_obfuscation: bool = False


class ResponseRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/responses."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    input: str | Annotated[list[ItemObject], Meta(max_length=MAX_MESSAGES)] | None = None
    instructions: str | None = None
    previous_response_id: ResponseId | None = None
    store: bool | None = None
    background: bool | None = None
    stream: bool | None = None
    stream_options: ResponseStreamOptions | None = None
    include: list[str] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    max_output_tokens: PositiveCount | None = None
    temperature: Annotated[float, Meta(ge=0, le=5)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    top_logprobs: TopLogprobs | None = None
    text: TextConfig | None = None
    reasoning: ReasoningConfig | None = None
    tools: Annotated[list[ToolObject], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: str | ChoiceObject | None = None
    parallel_tool_calls: bool | None = None
    # How it is scheduled, and which conversation it belongs to.
    service_tier: ServiceTier | None = None
    prompt_cache_key: Annotated[str, Meta(max_length=MAX_CACHE_KEY_CHARS)] | None = None
    # Fields of mlxr's own, the same as in chats.
    top_k: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    min_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    frequency_penalty: Penalty | None = None
    presence_penalty: Penalty | None = None
    repetition_penalty: RepetitionPenalty | None = None
    # Labels without an effect on the answer.
    metadata: dict[str, str] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_retention: str | None = None
    max_tool_calls: PositiveCount | None = None
    # Not honoured.
    conversation: Refused = None
    prompt: Refused = None
    moderation: Refused = None
    context_management: Refused = None
    prompt_cache_options: Refused = None
    access_programs: Refused = None
    image: Refused = None


class FunctionTool(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A tool of type function."""

    type: Literal["function"]
    name: FunctionName
    parameters: JSONSchema | None = None
    strict: bool | None = None
    description: str | None = None


class NamedChoice(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="function"):
    """A function by its name; as a choice, the one that must be called."""

    name: str


class AllowedToolsChoice(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="allowed_tools"):
    """Only these tools may be called; `mode` is auto or required."""

    mode: str
    tools: list[NamedChoice]
