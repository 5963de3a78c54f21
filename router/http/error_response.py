"""Turns an error into what a client expects: status, headers and body, all from one table. Pure; it sends nothing."""

import math
from typing import Final

import msgspec

from router.errors import InternalError
from router.http.dialect import Dialect, ShownError, printable
from router.http.error_table import ERROR_ROWS, row_for

__all__ = ["ErrorResponse", "error_body", "error_chunk", "render", "shown_error"]

_INTERNAL: Final = InternalError()


class ErrorResponse(msgspec.Struct, frozen=True):
    """A complete answer for one error.

    Attributes:
        headers: Lower-case names, ready for ASGI; content-length included.
        body: UTF-8 JSON.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


def error_body(error: BaseException, dialect: Dialect) -> msgspec.Struct:
    """Build a dialect's error body, for a whole answer or for an event within a stream.

    Args:
        error: One of our errors. Anything else is a defect and shown as `InternalError`, without its text.
    """
    return dialect.body(shown_error(error))


def error_chunk(error: BaseException, dialect: Dialect) -> bytes:
    """Encode an error as one chunk of a stream; errors as of `error_body`."""
    return dialect.chunk_head + msgspec.json.encode(error_body(error, dialect)) + dialect.chunk_tail


def render(error: BaseException, dialect: Dialect) -> ErrorResponse:
    """Build the complete HTTP answer for an error.

    Args:
        error: One of our errors; anything else becomes a 500 that says nothing of its cause.

    Returns:
        Status, headers (`retry-after` when the error carries a delay, `connection: close` when its row says so), body.
    """
    shown = shown_error(error)
    body = msgspec.json.encode(dialect.body(shown))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    retry_after_s = getattr(shown.error, "retry_after_s", None)
    if retry_after_s is not None:
        # RFC 9110 section 10.2.3: "delay-seconds = 1*DIGIT": whole seconds, and 0 would mean "at once".
        headers.append((b"retry-after", str(max(1, math.ceil(retry_after_s))).encode()))
    if shown.row.closes:
        headers.append((b"connection", b"close"))
    return ErrorResponse(shown.row.status, headers, body)


def shown_error(error: BaseException) -> ShownError:
    """Return an error as a dialect shows it; a defect is an `InternalError`, without its text."""
    row = row_for(type(error))
    if row is None:
        return ShownError(_INTERNAL, ERROR_ROWS[InternalError], str(_INTERNAL))
    return ShownError(error, row, printable(str(error)))
