"""Anthropic's API, as its endpoints name it, and errors as its clients read them.

Its `GET /v1/models` is OpenAI's, by a header.

RouterError
    InvalidRequestError
        UnsupportedFieldError
            ThreadsUnsupportedError

Source: Anthropic API reference, "Errors".
"""

from typing import Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from router.errors import UnsupportedFieldError
from router.http.dialect import Dialect, ShownError
from router.protocols.anthropic.schemas import (
    CompactionBlock,
    ContentSource,
    DataSource,
    DocumentBlock,
    FileSource,
    ImageBlock,
    PlainTextSource,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolDefinition,
    ToolResultBlock,
    ToolUseBlock,
    URLSource,
)
from router.protocols.endpoint import Api

_FIRST_SERVER_STATUS: Final = 500
_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}


class AnthropicErrorDetails(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What Anthropic's clients act upon."""

    error_code: str
    unsupported: list[str]


class AnthropicErrorObject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is wrong."""

    type: Literal[
        "api_error",
        "authentication_error",
        "invalid_request_error",
        "not_found_error",
        "overloaded_error",
        "permission_error",
        "rate_limit_error",
        "request_too_large",
        "timeout_error",
    ]
    message: str
    details: AnthropicErrorDetails | UnsetType = UNSET


class AnthropicError(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An error as Anthropic's clients read it."""

    type: Literal["error"]
    error: AnthropicErrorObject


class ThreadsUnsupportedError(UnsupportedFieldError):
    """A conversation was to be stored; clients that read the details send all of it from then on.

    Source: Anthropic's Python client 2.12, lib/threads: `error.details.error_code`.
    """

    anthropic_details: Final = AnthropicErrorDetails("thread_unsupported_request", ["thread"])


def anthropic_error(shown: ShownError) -> AnthropicError:
    """Return Anthropic's error body."""
    status = shown.row.status
    fallback = "api_error" if status >= _FIRST_SERVER_STATUS else "invalid_request_error"
    return AnthropicError(
        "error",
        AnthropicErrorObject(
            type=_TYPES.get(status, fallback),  # type: ignore[arg-type]  # the table's values are the literals
            message=_context_words(shown.error) + shown.message,
            details=getattr(shown.error, "anthropic_details", UNSET),
        ),
    )


def _context_words(error: BaseException) -> str:
    """Return the words by which agents know that they have to shorten the conversation; "" for other errors.

    Source: Claude Code 2.1, which looks for `prompt is too long: N tokens > M` in the message.
    """
    num_tokens = getattr(error, "num_prompt_tokens", None)
    context_length = getattr(error, "context_length", None)
    if num_tokens is None or context_length is None:
        return ""
    return f"prompt is too long: {num_tokens} tokens > {context_length} maximum; "


ANTHROPIC_ERRORS: Final = Dialect("anthropic", AnthropicError, anthropic_error, chunk_head=b"event: error\ndata: ")

ANTHROPIC_API: Final = Api(
    "anthropic",
    "Anthropic's Messages API.",
    dialect=ANTHROPIC_ERRORS,
    prefixes=("/v1/messages",),
    read_by_type=(
        ToolDefinition,
        *(TextBlock, ThinkingBlock, RedactedThinkingBlock, ToolUseBlock, ToolResultBlock, DocumentBlock, ImageBlock),
        CompactionBlock,
        *(DataSource, PlainTextSource, ContentSource, FileSource, URLSource),
    ),
)
