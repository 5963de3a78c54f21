"""Turns an error into what a client expects: status, headers and body, all from one table."""

import math
from typing import Final

import msgspec

from router.errors import InternalError
from router.http.asgi import App, BytesResponse, Receive, Scope, Send, json_reply
from router.http.dialect import OPENAI, Dialect, Dialects, ShownError, printable
from router.http.error_table import ERROR_ROWS, row_for
from router.http.exchange import note_error

_INTERNAL: Final = InternalError()


def error_chunk(error: BaseException, dialect: Dialect) -> bytes:
    """Encode an error as one chunk of a stream; anything but our errors is a defect, shown without its text."""
    shown = shown_error(error)
    note(shown, dialect)
    return dialect.chunk_head + msgspec.json.encode(dialect.body(shown)) + dialect.chunk_tail


def error_reply(error: BaseException, dialect: Dialect) -> BytesResponse:
    """Answer with an error; anything but our errors becomes a 500 that says nothing of its cause.

    Beside the body's, it has the headers `retry-after` when the error carries a delay, and `connection: close` when its
    row says so.
    """
    shown = shown_error(error)
    note(shown, dialect)
    headers = []
    retry_after_s = getattr(shown.error, "retry_after_s", None)
    if retry_after_s is not None:
        # RFC 9110 section 10.2.3: "delay-seconds = 1*DIGIT": whole seconds, and 0 would mean "at once".
        headers.append((b"retry-after", str(max(1, math.ceil(retry_after_s))).encode()))
    if shown.row.challenge is not None:
        headers.append((b"www-authenticate", shown.row.challenge))
    if shown.row.closes:
        headers.append((b"connection", b"close"))
    return json_reply(dialect.body(shown), status=dialect.status(shown.row), headers=headers)


def error_app(error: BaseException, dialects: Dialects) -> App:
    """Make an app that answers every request with one error, in the dialect of its path."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's signature
        await error_reply(error, dialects.of(scope["path"])).send(send)

    return app


def note(shown: ShownError, dialect: Dialect = OPENAI) -> None:
    """Let the exchange at hand know how it went wrong."""
    note_error(dialect.status(shown.row), getattr(shown.error, "code", _INTERNAL.code))


def shown_error(error: BaseException) -> ShownError:
    """Return an error as a dialect shows it; a defect is an `InternalError`, without its text."""
    row = row_for(type(error))
    if row is None:
        return ShownError(_INTERNAL, ERROR_ROWS[InternalError], str(_INTERNAL))
    return ShownError(error, row, printable(str(error)))
