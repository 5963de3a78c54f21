"""Answers of the Responses API; the events of its streams are in `event_schemas`.

Source: OpenAI API reference, "The response object", "List input items", "Delete a model response";
Open Responses of 2026-04-24, `ResponseResource`, which has no field that may be left out but those that are UNSET here.
"""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from router.protocols.answers import AnswerBody, Deleted, MlxrAnswer, Page, ReasoningTokens
from router.protocols.fields.logprobs import PositionLogprob
from router.protocols.fields.ranges import ServiceTier
from router.protocols.openai.answer_schemas import Timings
from router.protocols.openai.schemas import JsonObjectFormat, TextFormat
from router.protocols.responses.schemas import (
    AllowedToolsChoice,
    CustomChoice,
    JsonSchemaFormat,
    NamedChoice,
    Truncation,
)
from router.protocols.responses.tools import CustomTool, NamespaceTool, ShownFunction
from router.status.contexts import WoundFacts

ItemStatus = Literal["in_progress", "completed", "incomplete"]
ResponseStatus = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]


# ---- items -----------------------------------------------------------------------------------------------------------


class InputTextContent(AnswerBody, frozen=True, tag_field="type", tag="input_text"):
    """What somebody said."""

    text: str


class InputImageContent(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="input_image"):
    """A picture, as it was sent."""

    image_url: str | None
    file_id: str | None
    detail: str


class InputFileContent(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="input_file"):
    """A document, as what was read of it."""

    filename: str | None
    file_id: str | None
    text: str


class OutputTextContent(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="output_text"):
    """What the model said; `logprobs` are there in answers, not in what clients sent back."""

    text: str
    annotations: Annotated[list[None], Meta(max_length=0)]
    logprobs: list[PositionLogprob] | UnsetType = UNSET


class ReasoningContent(AnswerBody, frozen=True, tag_field="type", tag="reasoning_text"):
    """What the model thought."""

    text: str


class SummaryContent(AnswerBody, frozen=True, tag_field="type", tag="summary_text"):
    """A summary of it, as a client sent it back."""

    text: str


class MessageItem(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="message"):
    """A message."""

    id: str
    role: Literal["user", "assistant", "system", "developer"]
    content: list[InputTextContent | InputImageContent | InputFileContent | OutputTextContent]
    status: ItemStatus
    phase: str | UnsetType = UNSET


class FunctionCallItem(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="function_call"):
    """A call that the model made; the arguments are JSON text."""

    id: str
    call_id: str
    name: str
    arguments: str
    status: ItemStatus
    namespace: str | UnsetType = UNSET


class CustomCallItem(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="custom_tool_call"):
    """A call of a custom tool, with its text."""

    id: str
    call_id: str
    name: str
    input: str
    status: ItemStatus
    namespace: str | UnsetType = UNSET


class FunctionCallOutputItem(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="function_call_output"):
    """What a call came to."""

    id: str
    status: ItemStatus
    call_id: str
    output: str | list[InputTextContent | InputImageContent | InputFileContent]


class CustomCallOutputItem(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="custom_tool_call_output"):
    """What a call of a custom tool came to."""

    id: str
    status: ItemStatus
    call_id: str
    output: str | list[InputTextContent | InputImageContent | InputFileContent]


class ReasoningItem(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="reasoning"):
    """What the model thought."""

    id: str
    summary: list[SummaryContent]
    content: list[ReasoningContent]
    status: ItemStatus
    encrypted_content: str | UnsetType = UNSET


class CompactionItem(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="compaction"):
    """What stands for all before it, to be sent back as it is; in what is kept, that the conversation was wound here.

    With a `context_id`, GET /v1/mlxr/contexts/ID shows what the model was shown.
    """

    id: str
    encrypted_content: str
    created_by: str | UnsetType = UNSET
    context_id: str | UnsetType = UNSET
    wound: WoundFacts | UnsetType = UNSET


OutputItem = MessageItem | FunctionCallItem | CustomCallItem | ReasoningItem | CompactionItem
KeptItem = OutputItem | FunctionCallOutputItem | CustomCallOutputItem


# ---- responses -------------------------------------------------------------------------------------------------------


class ResponseError(AnswerBody, frozen=True):
    """Why a response failed; mlxr's own code stands before the message."""

    code: Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]
    message: str


class IncompleteDetails(AnswerBody, frozen=True):
    """Why an answer was cut."""

    reason: Literal["max_output_tokens"]


class ReasoningShown(AnswerBody, frozen=True):
    """As it was asked for."""

    effort: str | None
    summary: str | None


class TextShown(AnswerBody, frozen=True):
    """As it was asked for."""

    format: TextFormat | JsonObjectFormat | JsonSchemaFormat
    verbosity: str | UnsetType = UNSET


class InputTokensDetails(AnswerBody, frozen=True):
    """Of the input's tokens."""

    cached_tokens: int
    cache_write_tokens: int
    image_tokens: int | UnsetType = UNSET


class ResponseUsage(AnswerBody, frozen=True, kw_only=True):
    """Tokens."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: ReasoningTokens
    total_tokens: int


class ConversationShown(AnswerBody, frozen=True):
    """The conversation that a response is a part of."""

    id: str


class AnswerFacts(AnswerBody, frozen=True, kw_only=True):
    """What is kept of an answer beside its items."""

    model: str
    usage: ResponseUsage | None = None
    timings: Timings | UnsetType = UNSET
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None


class Response(AnswerBody, frozen=True, kw_only=True):
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
    frequency_penalty: float
    parallel_tool_calls: bool
    presence_penalty: float
    previous_response_id: str | None
    prompt_cache_key: str | None
    reasoning: ReasoningShown
    safety_identifier: str | None
    service_tier: ServiceTier
    store: bool
    temperature: float
    text: TextShown
    tool_choice: str | NamedChoice | CustomChoice | AllowedToolsChoice
    tools: list[ShownFunction | CustomTool | NamespaceTool]
    top_logprobs: int
    top_p: float
    truncation: Truncation
    usage: ResponseUsage | None
    user: str | None
    metadata: dict[str, str]
    conversation: ConversationShown | UnsetType = UNSET
    timings: Timings | UnsetType = UNSET
    mlxr: MlxrAnswer | UnsetType = UNSET


class CompactedResponse(AnswerBody, frozen=True, kw_only=True):
    """A conversation in a shorter form: the user's messages, for people, and what stands for all of it.

    The usage has the tokens of the conversation and of what was told of it; zeros where it was short enough already.
    """

    id: str
    object: Literal["response.compaction"]
    created_at: int
    output: list[MessageItem | CompactionItem]
    usage: ResponseUsage


class DeletedResponse(Deleted[Literal["response"]], frozen=True, kw_only=True):
    """A response that is gone."""


class InputItemList(Page[KeptItem], frozen=True):
    """What a response was made from."""
