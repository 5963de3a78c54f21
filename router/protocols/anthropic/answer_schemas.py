"""Answers of the Anthropic API, as they are sent and as the API's document shows them.

Source: Anthropic API reference, "Create a Message", "Streaming Messages", "Count tokens in a Message", "List Models".
"""

from typing import Literal

from msgspec import UNSET, UnsetType

from router.protocols.answers import AnswerBody, ContextUse, MlxrAnswer
from router.protocols.fields.json_types import JSONObject

StopReason = Literal[
    "end_turn", "max_tokens", "stop_sequence", "tool_use", "compaction", "model_context_window_exceeded"
]


# ---- messages --------------------------------------------------------------------------------------------------------


class OutputTokensDetails(AnswerBody, frozen=True):
    """Of the answer's tokens."""

    thinking_tokens: int


class Usage(AnswerBody, frozen=True, kw_only=True):
    """Tokens; the prompt's are the sum of the three kinds of input."""

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    service_tier: Literal["standard"]


class AnswerText(AnswerBody, frozen=True, tag_field="type", tag="text"):
    """Text."""

    text: str


class AnswerThinking(AnswerBody, frozen=True, tag_field="type", tag="thinking"):
    """What the model thought; the signature proves nothing."""

    thinking: str
    signature: str


class AnswerToolUse(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="tool_use"):
    """A call that the model made."""

    id: str
    name: str
    input: JSONObject


class AnswerCompaction(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="compaction"):
    """What stands for all that was said before, to be sent back as it is; without `content` nobody could tell it."""

    content: str | None
    encrypted_content: str | None


AnswerBlock = AnswerText | AnswerThinking | AnswerToolUse | AnswerCompaction


class ClearedToolUses(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="clear_tool_uses_20250919"):
    """Results of tools that the model was not shown."""

    cleared_tool_uses: int
    cleared_input_tokens: int


class ClearedThinking(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="clear_thinking_20251015"):
    """Thinking that the model was not shown."""

    cleared_thinking_turns: int
    cleared_input_tokens: int


AppliedEdit = ClearedToolUses | ClearedThinking


class AppliedEdits(AnswerBody, frozen=True):
    """What was cleared; a compaction is told by its block."""

    applied_edits: list[AppliedEdit]


class AnswerMessage(AnswerBody, frozen=True, kw_only=True):
    """The answer of POST /v1/messages."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[AnswerBlock]
    stop_reason: StopReason | None
    stop_sequence: str | None
    usage: Usage
    context_management: AppliedEdits | UnsetType = UNSET
    mlxr: MlxrAnswer | UnsetType = UNSET


# ---- events ----------------------------------------------------------------------------------------------------------


class MessageStart(AnswerBody, frozen=True, tag_field="type", tag="message_start"):
    """The message, empty."""

    message: AnswerMessage


class ContentBlockStart(AnswerBody, frozen=True, tag_field="type", tag="content_block_start"):
    """A block opens, empty."""

    index: int
    content_block: AnswerBlock


class TextDelta(AnswerBody, frozen=True, tag_field="type", tag="text_delta"):
    """More text."""

    text: str


class ThinkingDelta(AnswerBody, frozen=True, tag_field="type", tag="thinking_delta"):
    """More thinking."""

    thinking: str


class SignatureDelta(AnswerBody, frozen=True, tag_field="type", tag="signature_delta"):
    """The end of thinking."""

    signature: str


class InputJsonDelta(AnswerBody, frozen=True, tag_field="type", tag="input_json_delta"):
    """More of a call's arguments, as JSON text."""

    partial_json: str


class CompactionDelta(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="compaction_delta"):
    """All of a compaction block."""

    content: str | None
    encrypted_content: str | None


BlockPart = TextDelta | ThinkingDelta | SignatureDelta | InputJsonDelta | CompactionDelta


class ContentBlockDelta(AnswerBody, frozen=True, tag_field="type", tag="content_block_delta"):
    """The open block grows."""

    index: int
    delta: BlockPart


class ContentBlockStop(AnswerBody, frozen=True, tag_field="type", tag="content_block_stop"):
    """The open block is complete."""

    index: int


class Stop(AnswerBody, frozen=True):
    """Why the answer ended."""

    stop_reason: StopReason
    stop_sequence: str | None


class MessageDelta(AnswerBody, frozen=True, tag_field="type", tag="message_delta"):
    """The answer has ended."""

    delta: Stop
    usage: Usage
    context_management: AppliedEdits | UnsetType = UNSET
    mlxr: MlxrAnswer | UnsetType = UNSET


class MessageStop(AnswerBody, frozen=True, tag_field="type", tag="message_stop"):
    """The last event."""


class Ping(AnswerBody, frozen=True, tag_field="type", tag="ping"):
    """Nothing, while nothing else comes."""


class ContextWound(AnswerBody, frozen=True, tag_field="type", tag="context_wound"):
    """The conversation was wound before this answer; Anthropic's clients pass it over."""

    context: ContextUse


BlockEvent = ContentBlockStart | ContentBlockDelta | ContentBlockStop
StreamEvent = MessageStart | ContextWound | BlockEvent | MessageDelta | MessageStop | Ping


# ---- others ----------------------------------------------------------------------------------------------------------


class OriginalTokens(AnswerBody, frozen=True):
    """Of the conversation as it was sent."""

    original_input_tokens: int


class InputTokens(AnswerBody, frozen=True):
    """The answer of POST /v1/messages/count_tokens; with `context_management`, of what is left after its edits."""

    input_tokens: int
    context_management: OriginalTokens | UnsetType = UNSET


class ModelInfo(AnswerBody, frozen=True, kw_only=True):
    """A model, or one with an adapter over it."""

    id: str
    type: Literal["model"]
    display_name: str
    created_at: str
    lifecycle: Literal["active"]
    max_input_tokens: int | None
    max_tokens: None


class ModelPage(AnswerBody, frozen=True, kw_only=True):
    """A page of models, for clients that send `anthropic-version`."""

    data: list[ModelInfo]
    has_more: bool
    first_id: str | None
    last_id: str | None
