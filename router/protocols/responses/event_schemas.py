"""Events of the Responses API's streams as Structs, for the API's document and for tests.

What is sent is made by `output` and `encoding`.

Source: OpenAI API reference, "Streaming events" of the Responses API.
"""

import msgspec

from router.protocols.fields.logprobs import PositionLogprob
from router.protocols.responses.answer_schemas import OutputItem, OutputTextContent, ReasoningContent, Response


class _Event(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
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


class ResponseCreated(_StateEvent, frozen=True, tag_field="type", tag="response.created"):
    """The response is there."""


class ResponseQueued(_StateEvent, frozen=True, tag_field="type", tag="response.queued"):
    """It waits, in the background."""


class ResponseInProgress(_StateEvent, frozen=True, tag_field="type", tag="response.in_progress"):
    """It runs."""


class ResponseCompleted(_StateEvent, frozen=True, tag_field="type", tag="response.completed"):
    """It has ended by itself."""


class ResponseIncomplete(_StateEvent, frozen=True, tag_field="type", tag="response.incomplete"):
    """It was cut."""


class ResponseFailed(_StateEvent, frozen=True, tag_field="type", tag="response.failed"):
    """It ended with an error, or was cancelled; the object says which."""


class OutputItemAdded(_ItemEvent, frozen=True, tag_field="type", tag="response.output_item.added"):
    """An item begins."""


class OutputItemDone(_ItemEvent, frozen=True, tag_field="type", tag="response.output_item.done"):
    """An item is complete."""


class ContentPartAdded(_InPartEvent, frozen=True, kw_only=True, tag_field="type", tag="response.content_part.added"):
    """A part of an item begins."""

    part: OutputTextContent | ReasoningContent


class ContentPartDone(_InPartEvent, frozen=True, kw_only=True, tag_field="type", tag="response.content_part.done"):
    """A part of an item is complete."""

    part: OutputTextContent | ReasoningContent


class OutputTextDelta(_InPartEvent, frozen=True, kw_only=True, tag_field="type", tag="response.output_text.delta"):
    """More text."""

    delta: str
    logprobs: list[PositionLogprob]


class OutputTextDone(_InPartEvent, frozen=True, kw_only=True, tag_field="type", tag="response.output_text.done"):
    """All of the text."""

    text: str
    logprobs: list[PositionLogprob]


class ReasoningTextDelta(
    _InPartEvent, frozen=True, kw_only=True, tag_field="type", tag="response.reasoning_text.delta"
):
    """More thinking."""

    delta: str


class ReasoningTextDone(_InPartEvent, frozen=True, kw_only=True, tag_field="type", tag="response.reasoning_text.done"):
    """All of the thinking."""

    text: str


class ArgumentsDelta(
    _InItemEvent, frozen=True, kw_only=True, tag_field="type", tag="response.function_call_arguments.delta"
):
    """More of a call's arguments."""

    delta: str


class ArgumentsDone(
    _InItemEvent, frozen=True, kw_only=True, tag_field="type", tag="response.function_call_arguments.done"
):
    """All of a call's arguments."""

    name: str
    arguments: str


StreamEvent = (
    ResponseCreated
    | ResponseQueued
    | ResponseInProgress
    | ResponseCompleted
    | ResponseIncomplete
    | ResponseFailed
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
)
