"""The outermost layer around the app: one log record per request, those in a WebSocket included, and last words.

A last word is said where the server must end a request. A record cannot be forged from outside: every text of the
client is quoted as JSON, with control characters escaped (CVE-2020-7694). The query and what is asked are not logged,
and what looks like a key is masked.
"""

import asyncio
import contextlib
import json
import logging
import re
import time
from collections.abc import Iterator
from typing import Any, Final

from router.errors import ShuttingDownError
from router.http.asgi import App, Receive, Scope, Send
from router.http.caller import caller_of
from router.http.dialect import Dialects
from router.http.error_response import error_reply
from router.http.exchange import (
    RECORD_STATE,
    Account,
    Exchange,
    begin_exchange,
    end_exchange,
    note_status,
    sane_request_id,
)
from router.http.headers import REQUEST_ID_HEADER
from router.http.trace_context import trace_context
from router.observers import Observers

_MAX_FIELD_CHARS = 200
_SECRET = re.compile(r"\b(?:sk-|hf_|mlxr-|Bearer\s+)[A-Za-z0-9_\-.]{4,}", re.IGNORECASE)

# A request that is cut at the end of a drain gets this long to take its last chunk.
_LAST_WORD_S = 1.0

_HANDSHAKE_METHOD: Final = "GET"
_SOCKET_METHOD: Final = "WEBSOCKET"

POLLED_PATHS: Final = frozenset(
    {"/health", "/v1/health", "/ready", "/metrics", "/v1/metrics", "/v1/mlxr/status", "/v1/mlxr/requests"}
)
POLLED_FOLDER: Final = "/v1/mlxr/ui/codes/"
"""Asked for again and again by monitors, by the page and by our own commands: at INFO they would bury the rest."""


class AccessLog:
    """Passes requests on, gives each its id, and logs it when it has ended.

    Args:
        logger: Where the records go, at INFO, or DEBUG for what is polled; their fields are in `record.http`, too.
        ended: Told of each request that has ended, well or not.
    """

    def __init__(
        self, app: App, *, logger: logging.Logger, dialects: Dialects, ended: Observers[Exchange] | None = None
    ) -> None:
        self._app = app
        self._dialects = dialects
        self._logger = logger
        self._ended = ended or Observers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})  # shared by the copies of the scope that are made later, so that all know it
        if scope["type"] == "websocket":
            await self._pass_socket(scope, receive, send)
            return
        exchange = _exchange_of(scope, scope["method"])

        async def noting_send(message: Any) -> None:
            if exchange.status is None and message["type"] == "http.response.start":
                note_status(exchange, message["status"])
                message = _with_ids(message, exchange)
            await send(message)

        with self._recorded(scope, exchange):
            try:
                await self._app(scope, receive, noting_send)
            except asyncio.CancelledError:
                # Only the end of a drain cancels a request's task, which ends here either way. A stream has said its
                # last word by itself; passing the cancellation on would be logged as a defect.
                if exchange.status is None:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_LAST_WORD_S):
                            dialect = self._dialects.of(scope["path"])
                            await error_reply(ShuttingDownError(), dialect).send(noting_send)

    async def _pass_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Record a WebSocket's requests one by one, as its route says; a handshake only where it is refused."""
        scope["state"][RECORD_STATE] = lambda: self._recorded(scope, _exchange_of(scope, _SOCKET_METHOD))

        async def noting_send(message: Any) -> None:
            if message["type"] != "websocket.http.response.start":
                await send(message)
                return
            exchange = _exchange_of(scope, _HANDSHAKE_METHOD)
            note_status(exchange, message["status"])
            with self._recorded(scope, exchange):
                await send(_with_ids(message, exchange))

        await self._app(scope, receive, noting_send)

    @contextlib.contextmanager
    def _recorded(self, scope: Scope, exchange: Exchange) -> Iterator[Exchange]:
        """Make an exchange the current one, log it when it has ended, and tell of it."""
        started_at = time.monotonic()
        token = begin_exchange(exchange)
        try:
            yield exchange
        finally:
            end_exchange(token)
            exchange.key = caller_of(scope).name
            exchange.duration_s = time.monotonic() - started_at
            self._log(scope, exchange)
            self._ended.tell(exchange)

    def _log(self, scope: Scope, exchange: Exchange) -> None:
        is_polled = scope["path"] in POLLED_PATHS or scope["path"].startswith(POLLED_FOLDER)
        level = logging.DEBUG if is_polled else logging.INFO
        if not self._logger.isEnabledFor(level):
            return
        client = scope.get("client")
        fields = {
            "request_id": exchange.request_id,
            "method": exchange.method,
            "path": exchange.path,
            "status": exchange.status,
            "duration_ms": round(exchange.duration_s * 1000, 1),
            "client": client[0] if client else "unix",
            "key": exchange.key,
            "user_agent": dict(scope["headers"]).get(b"user-agent", b"").decode("latin-1"),
            **_served_fields(exchange),
        }
        shown = {name: _masked(value) if isinstance(value, str) else value for name, value in fields.items()}
        line = " ".join(f"{name}={quoted(value)}" for name, value in shown.items())
        self._logger.log(level, "%s", line, extra={"http": shown, "request_id": exchange.request_id})


def _exchange_of(scope: Scope, method: str) -> Exchange:
    is_message = method == _SOCKET_METHOD  # the id of a handshake is that of no request in it
    return Exchange(
        method=method,
        path=scope["path"],
        sent_id=None if is_message else sane_request_id(scope["headers"]),
        trace=trace_context(scope["headers"]),
    )


def _served_fields(exchange: Exchange) -> dict[str, Any]:
    """Return what there is to say of the model that was asked; nothing is said of what is not known."""
    account = None if exchange.account is None else exchange.account()
    fields = {
        "trace_id": None if exchange.trace is None else exchange.trace.trace_id,
        "protocol": exchange.protocol,
        "model": exchange.model,
        "error": None if exchange.error is None else exchange.error.code,
        **({} if account is None else _account_fields(account)),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _account_fields(account: Account) -> dict[str, Any]:
    num_prefilled, prefill_s = account.num_prefilled_tokens, account.prefill_s
    return {
        "model": account.model,
        "engine": account.engine,
        "tokens_in": account.num_prompt_tokens,
        "tokens_cached": account.num_cached_tokens,
        "tokens_out": account.num_output_tokens,
        "queue_ms": _milliseconds(account.queue_s),
        "load_ms": _milliseconds(account.load_s),
        "ttft_ms": _milliseconds(account.first_token_s),
        "prefill_tokens": num_prefilled,
        "prefill_ms": _milliseconds(prefill_s),
        "prefill_tokens_per_s": round(num_prefilled / prefill_s, 1) if num_prefilled and prefill_s else None,
    }


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)


def _with_ids(message: Any, exchange: Exchange) -> Any:
    """Return the head of an answer with the request's id, and no other, and with our span where the client traces."""
    headers = [pair for pair in message.get("headers", ()) if pair[0] != REQUEST_ID_HEADER]
    headers.append((REQUEST_ID_HEADER, exchange.request_id.encode()))
    if exchange.trace is not None:
        headers.append((b"traceresponse", exchange.trace.response))
    return {**message, "headers": headers}


def quoted(value: Any) -> str:
    """Write a value on one line of printable ASCII.

    Args:
        value: A text, a number or `None`.

    Returns:
        JSON; a simple word keeps no quotes.
    """
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9_./:@+-]+", value):
        return value
    # JSON escapes what is below the space and, in ASCII, what is above the tilde, except DEL.
    return json.dumps(value, ensure_ascii=True).replace("\x7f", "\\u007f")


def _masked(text: str) -> str:
    return _SECRET.sub("***", text[:_MAX_FIELD_CHARS])
