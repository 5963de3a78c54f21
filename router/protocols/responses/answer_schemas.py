"""Answers of the Responses API as Structs, for the API's document and for tests.

What is sent is made by `head`, `output`, `encoding` and `lookup`.

Source: OpenAI API reference, "The response object", "List input items", "Delete a model response".
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from router.protocols.fields.logprobs import PositionLogprob
from router.protocols.openai.answer_schemas import Timings
from router.protocols.openai.schemas import JsonObjectFormat, ServiceTier, TextFormat
from router.protocols.responses.schemas import AllowedToolsChoice, FunctionTool, JsonSchemaFormat, NamedChoice

ItemStatus = Literal["in_progress", "completed", "incomplete"]
ResponseStatus = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]


class _Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all of them have in common."""


# ---- items -----------------------------------------------------------------------------------------------------------


class InputTextContent(_Answer, frozen=True, tag_field="type", tag="input_text"):
    """What somebody said."""

    text: str


class OutputTextContent(_Answer, frozen=True, kw_only=True, tag_field="type", tag="output_text"):
    """What the model said; `logprobs` are there in answers, not in what clients sent back."""

    text: str
    annotations: Annotated[list[None], Meta(max_length=0)]
    logprobs: list[PositionLogprob] | UnsetType = UNSET


class ReasoningContent(_Answer, frozen=True, tag_field="type", tag="reasoning_text"):
    """What the model thought."""

    text: str


class SummaryContent(_Answer, frozen=True, tag_field="type", tag="summary_text"):
    """A summary of it, as a client sent it back."""

    text: str


class MessageItem(_Answer, frozen=True, kw_only=True, tag_field="type", tag="message"):
    """A message."""

    id: str
    role: Literal["user", "assistant", "system", "developer"]
    status: ItemStatus
    content: list[InputTextContent | OutputTextContent]
    phase: str | UnsetType = UNSET


class FunctionCallItem(_Answer, frozen=True, kw_only=True, tag_field="type", tag="function_call"):
    """A call that the model made; the arguments are JSON text."""

    id: str
    status: ItemStatus
    call_id: str
    name: str
    arguments: str


class FunctionCallOutputItem(_Answer, frozen=True, kw_only=True, tag_field="type", tag="function_call_output"):
    """What a call came to."""

    id: str
    status: ItemStatus
    call_id: str
    output: str


class ReasoningItem(_Answer, frozen=True, kw_only=True, tag_field="type", tag="reasoning"):
    """What the model thought."""

    id: str
    status: ItemStatus
    summary: list[SummaryContent]
    content: list[ReasoningContent]
    encrypted_content: str | UnsetType = UNSET


OutputItem = MessageItem | FunctionCallItem | ReasoningItem
KeptItem = OutputItem | FunctionCallOutputItem


# ---- responses -------------------------------------------------------------------------------------------------------


class ResponseError(_Answer, frozen=True):
    """Why a response failed; mlxr's own code stands before the message."""

    code: Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]
    message: str


class IncompleteDetails(_Answer, frozen=True):
    """Why an answer was cut."""

    reason: Literal["max_output_tokens"]


class ReasoningShown(_Answer, frozen=True):
    """As it was asked for."""

    effort: str | None
    summary: str | None


class TextShown(_Answer, frozen=True):
    """As it was asked for."""

    format: TextFormat | JsonObjectFormat | JsonSchemaFormat
    verbosity: str | None


class InputTokensDetails(_Answer, frozen=True):
    """Of the input's tokens."""

    cached_tokens: int
    cache_write_tokens: int


class OutputTokensDetails(_Answer, frozen=True):
    """Of the output's tokens."""

    reasoning_tokens: int


class ResponseUsage(_Answer, frozen=True, kw_only=True):
    """Tokens."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class Response(_Answer, frozen=True, kw_only=True):
    """A response, in any of its states."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: ResponseStatus
    background: bool
    error: ResponseError | None
    incomplete_details: IncompleteDetails | None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: int | None
    model: str
    output: list[OutputItem]
    parallel_tool_calls: bool
    previous_response_id: str | None
    prompt_cache_key: str | None
    reasoning: ReasoningShown
    safety_identifier: str | None
    service_tier: ServiceTier | None
    store: bool
    temperature: float
    text: TextShown
    tool_choice: str | NamedChoice | AllowedToolsChoice
    tools: list[FunctionTool]
    top_logprobs: int
    top_p: float
    truncation: Literal["auto", "disabled"]
    usage: ResponseUsage | None
    user: str | None
    metadata: dict[str, str]
    timings: Timings | UnsetType = UNSET


class DeletedResponse(_Answer, frozen=True, kw_only=True):
    """A response that is gone."""

    id: str
    object: Literal["response"]
    deleted: Literal[True]


class InputItemList(_Answer, frozen=True, kw_only=True):
    """What a response was made from."""

    object: Literal["list"]
    data: list[KeptItem]
    first_id: str | None
    last_id: str | None
    has_more: bool
