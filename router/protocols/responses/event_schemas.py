"""The events of streams of the Responses API. Source: OpenAI API reference, "Streaming events"."""

from msgspec import UNSET, UnsetType

from router.protocols.answers import AnswerBody, ContextUse
from router.protocols.fields.logprobs import PositionLogprob
from router.protocols.openai.answer_schemas import PromptProgress, Timings
from router.protocols.responses.answer_schemas import OutputItem, OutputTextContent, ReasoningContent, Response


class _Event(AnswerBody, frozen=True, kw_only=True, tag_field="type"):
    """What all of them have in common: their number, from 0."""

    sequence_number: int


class _StateEvent(_Event, frozen=True, kw_only=True):
    response: Response


class _ItemEvent(_Event, frozen=True, kw_only=True):
    output_index: int
    item: OutputItem


class _InItemEvent(_Event, frozen=True, kw_only=True):
    item_id: str
    output_index: int


class _InPartEvent(_InItemEvent, frozen=True, kw_only=True):
    content_index: int


class ResponseCreated(_StateEvent, frozen=True, tag="response.created"):
    """The response is there."""


class ResponseQueued(_StateEvent, frozen=True, tag="response.queued"):
    """It waits, in the background."""


class ResponseInProgress(_StateEvent, frozen=True, kw_only=True, tag="response.in_progress"):
    """It runs; again where its conversation was wound, and for how far the prompt is if `return_progress` asks for it.

    OpenAI's client on Node breaks on events that it does not know.
    """

    context_wound: ContextUse | UnsetType = UNSET
    prompt_progress: PromptProgress | UnsetType = UNSET


class ResponseCompleted(_StateEvent, frozen=True, kw_only=True, tag="response.completed"):
    """It has ended by itself; `timings` as those of texts."""

    timings: Timings | UnsetType = UNSET


class ResponseIncomplete(_StateEvent, frozen=True, kw_only=True, tag="response.incomplete"):
    """It was cut; `timings` as those of texts."""

    timings: Timings | UnsetType = UNSET


class ResponseFailed(_StateEvent, frozen=True, tag="response.failed"):
    """It ended with an error, or was cancelled; the object says which."""


class OutputItemAdded(_ItemEvent, frozen=True, tag="response.output_item.added"):
    """An item begins."""


class OutputItemDone(_ItemEvent, frozen=True, tag="response.output_item.done"):
    """An item is complete."""


class ContentPartAdded(_InPartEvent, frozen=True, kw_only=True, tag="response.content_part.added"):
    """A part of an item begins."""

    part: OutputTextContent | ReasoningContent


class ContentPartDone(_InPartEvent, frozen=True, kw_only=True, tag="response.content_part.done"):
    """A part of an item is complete."""

    part: OutputTextContent | ReasoningContent


class OutputTextDelta(_InItemEvent, frozen=True, kw_only=True, tag="response.output_text.delta"):
    """More text; with `timings` so far where `timings_per_token` asks for them."""

    delta: str
    content_index: int
    logprobs: list[PositionLogprob]
    timings: Timings | UnsetType = UNSET


class OutputTextDone(_InPartEvent, frozen=True, kw_only=True, tag="response.output_text.done"):
    """All of the text."""

    text: str
    logprobs: list[PositionLogprob]


class ReasoningTextDelta(_InItemEvent, frozen=True, kw_only=True, tag="response.reasoning_text.delta"):
    """More thinking."""

    delta: str
    content_index: int


class ReasoningTextDone(_InPartEvent, frozen=True, kw_only=True, tag="response.reasoning_text.done"):
    """All of the thinking."""

    text: str


class ArgumentsDelta(_InItemEvent, frozen=True, kw_only=True, tag="response.function_call_arguments.delta"):
    """More of a call's arguments."""

    delta: str


class ArgumentsDone(_InItemEvent, frozen=True, kw_only=True, tag="response.function_call_arguments.done"):
    """All of a call's arguments."""

    name: str
    arguments: str


class CustomInputDelta(_InItemEvent, frozen=True, kw_only=True, tag="response.custom_tool_call_input.delta"):
    """More of a custom tool's text."""

    delta: str


class CustomInputDone(_InItemEvent, frozen=True, kw_only=True, tag="response.custom_tool_call_input.done"):
    """All of a custom tool's text."""

    input: str


StateEvent = (
    ResponseCreated | ResponseQueued | ResponseInProgress | ResponseCompleted | ResponseIncomplete | ResponseFailed
)
StreamEvent = (
    StateEvent
    | OutputItemAdded
    | OutputItemDone
    | ContentPartAdded
    | ContentPartDone
    | OutputTextDelta
    | OutputTextDone
    | ReasoningTextDelta
    | ReasoningTextDone
    | ArgumentsDelta
    | ArgumentsDone
    | CustomInputDelta
    | CustomInputDone
)
