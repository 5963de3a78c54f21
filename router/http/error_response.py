"""Turns an error into what a client of each protocol expects: status, headers and body, all from one table.

Pure functions; nothing is sent here. Which dialect a request speaks follows from its path.
"""

import enum
import math
from typing import Any

import msgspec

from router.errors import InternalError
from router.http.error_table import ERROR_ROWS, ErrorRow, row_for

__all__ = ["Dialect", "ErrorResponse", "dialect_of", "error_object", "render"]


class Dialect(enum.Enum):
    """The protocol whose error shape the client expects."""

    OPENAI = "openai"
    OLLAMA = "ollama"
    ANTHROPIC = "anthropic"


class ErrorResponse(msgspec.Struct, frozen=True):
    """A complete answer for one error.

    Attributes:
        headers: Lower-case names, ready for ASGI; content-length included.
        body: UTF-8 JSON.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


# Attribute of an error -> key inside OpenAI's error object. `n_prompt_tokens` and `n_ctx` are llama-server's names,
# which its clients read. A closed list, so that no attribute reaches a client by accident.
_DETAIL_KEYS = {
    "num_prompt_tokens": "n_prompt_tokens",
    "context_length": "n_ctx",
    "needed_bytes": "needed_bytes",
    "available_bytes": "available_bytes",
}

# Source: Anthropic API reference, "Errors".
_ANTHROPIC_TYPES = {
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
_FIRST_SERVER_STATUS = 500


def dialect_of(path: str) -> Dialect:
    """Tell the dialect of a request from its path.

    Args:
        path: The request's path, without the query.

    Returns:
        Ollama below `/api/`, Anthropic for `/v1/messages`, OpenAI everywhere else.
    """
    if path.startswith("/api/") or path == "/api":
        return Dialect.OLLAMA
    if path == "/v1/messages" or path.startswith("/v1/messages/"):
        return Dialect.ANTHROPIC
    return Dialect.OPENAI


def error_object(error: BaseException, dialect: Dialect) -> dict[str, Any]:
    """Build the protocol's error object, for a body or for an event within a stream.

    Args:
        error: One of our errors. Anything else is a defect and shown as `InternalError`, without its text.
        dialect: Whose shape.

    Returns:
        OpenAI `{"error": {"message", "type", "param", "code", ...}}`, Ollama `{"error": "message"}`, Anthropic
        `{"type": "error", "error": {"type", "message"}}`, with `details` where its clients read them.
    """
    shown, row = _shown(error)
    message = _printable(str(shown))
    match dialect:
        case Dialect.OLLAMA:
            return {"error": message}
        case Dialect.ANTHROPIC:
            details = getattr(shown, "anthropic_details", None)
            extra = {} if details is None else {"details": details}
            shown_message = _context_words(shown) + message
            return {"type": "error", "error": {"type": _anthropic_type(row.status), "message": shown_message, **extra}}
        case Dialect.OPENAI:
            param = getattr(shown, "param", None)
            body: dict[str, Any] = {
                "message": message,
                "type": row.type,
                "param": None if param is None else _printable(param),
                "code": getattr(shown, "code", None),
            }
            for attribute, key in _DETAIL_KEYS.items():
                value = getattr(shown, attribute, None)
                if isinstance(value, int):
                    body[key] = value
            return {"error": body}


def render(error: BaseException, dialect: Dialect) -> ErrorResponse:
    """Build the complete HTTP answer for an error.

    Args:
        error: One of our errors; anything else becomes a 500 that says nothing of its cause.
        dialect: Whose shape.

    Returns:
        Status, headers (`retry-after` when the error carries a delay, `connection: close` when its row says so), body.
    """
    shown, row = _shown(error)
    body = msgspec.json.encode(error_object(shown, dialect))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    retry_after_s = getattr(shown, "retry_after_s", None)
    if retry_after_s is not None:
        # RFC 9110 section 10.2.3: "delay-seconds = 1*DIGIT": whole seconds, and 0 would mean "at once".
        headers.append((b"retry-after", str(max(1, math.ceil(retry_after_s))).encode()))
    if row.closes:
        headers.append((b"connection", b"close"))
    return ErrorResponse(row.status, headers, body)


def _shown(error: BaseException) -> tuple[BaseException, ErrorRow]:
    row = row_for(type(error))
    if row is not None:
        return error, row
    return InternalError(), ERROR_ROWS[InternalError]


def _context_words(error: BaseException) -> str:
    """Return the words by which agents know that they have to shorten the conversation; "" for other errors.

    Source: Claude Code 2.1, which looks for `prompt is too long: N tokens > M` in the message.
    """
    num_tokens = getattr(error, "num_prompt_tokens", None)
    context_length = getattr(error, "context_length", None)
    if num_tokens is None or context_length is None:
        return ""
    return f"prompt is too long: {num_tokens} tokens > {context_length} maximum; "


def _anthropic_type(status: int) -> str:
    fallback = "api_error" if status >= _FIRST_SERVER_STATUS else "invalid_request_error"
    return _ANTHROPIC_TYPES.get(status, fallback)


def _printable(text: str) -> str:
    """Make any text encodable: what a client sent may hold lone surrogates, which UTF-8 cannot carry."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
