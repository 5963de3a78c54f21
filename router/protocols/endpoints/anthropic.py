"""Endpoints of the Anthropic API. Its `GET /v1/models` is the one of OpenAI's, by a header."""

from typing import Any, Final

from router.http.error_schemas import AnthropicError
from router.protocols.anthropic import answer_schemas as answers
from router.protocols.anthropic.schemas import CountRequest, MessagesRequest, ToolDefinition
from router.protocols.endpoints.base import SSE, Stream, row

READ_BY_TYPE: Final[tuple[Any, ...]] = (ToolDefinition,)
"""Objects within requests that are read by their `type`."""

ANTHROPIC_ENDPOINTS: Final = (
    row(
        "anthropic",
        "POST",
        "/v1/messages",
        "Answer a conversation.",
        answers.AnswerMessage,
        body=MessagesRequest,
        stream=Stream(SSE, (answers.StreamEvent, AnthropicError)),
        has_wishes=True,
    ),
    row(
        "anthropic",
        "POST",
        "/v1/messages/count_tokens",
        "Count a conversation's tokens.",
        answers.InputTokens,
        body=CountRequest,
        has_wishes=True,
    ),
)
