"""The three shapes of errors as Structs, for the API's document and for tests.

What is sent is made by `error_response`.

Source: OpenAI API reference, "Errors"; Anthropic API reference, "Errors"; Ollama, api/types.go (`StatusError`).
"""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType


class OpenAIErrorObject(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is wrong.

    Attributes:
        code: Stable; null where nothing more is known.
        n_prompt_tokens: Of a prompt that is too long; a lower bound where the message says "at least".
        n_ctx: Tokens that the context holds.
    """

    message: str
    type: Literal["invalid_request_error", "permission_error", "rate_limit_error", "server_error", "unavailable_error"]
    param: str | None
    code: str | None
    n_prompt_tokens: int | UnsetType = UNSET
    n_ctx: int | UnsetType = UNSET
    needed_bytes: int | UnsetType = UNSET
    available_bytes: int | UnsetType = UNSET


class OpenAIError(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An error as OpenAI's clients read it."""

    error: OpenAIErrorObject


class OllamaError(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An error as Ollama's clients read it."""

    error: str


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
