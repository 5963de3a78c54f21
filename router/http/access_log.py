"""The outermost layer around the app: one log record per request, and a last word when the server must end a request.

A record cannot be forged from outside: every text of the client is quoted as JSON, with control characters escaped
(CVE-2020-7694). The query is not logged, and what looks like a key is masked.
"""

import asyncio
import contextlib
import json
import logging
import re
import time
from typing import Any

from router.errors import ShuttingDownError
from router.http.asgi import App, Receive, Scope, Send
from router.http.dialect import Dialects
from router.http.error_response import error_reply

_MAX_FIELD_CHARS = 200
_SECRET = re.compile(r"\b(?:sk-|hf_|Bearer\s+)[A-Za-z0-9_\-.]{4,}", re.IGNORECASE)

# A request that is cut at the end of a drain gets this long to take its last chunk.
_LAST_WORD_S = 1.0

POLLED_PATHS = frozenset({"/health", "/ready", "/v1/mlxr/status"})
"""Asked for again and again by monitors and by our own commands: at level INFO they would bury the rest."""


class AccessLog:
    """Passes requests on and logs each when it has ended.

    Args:
        logger: Where the records go, at INFO, or DEBUG for what is polled; their fields are in `record.http`, too.
    """

    def __init__(self, app: App, *, logger: logging.Logger, dialects: Dialects) -> None:
        self._app = app
        self._dialects = dialects
        self._logger = logger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_at = time.monotonic()
        status: int | None = None

        async def noting_send(message: Any) -> None:
            nonlocal status
            if status is None and message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting_send)
        except asyncio.CancelledError:
            # Only the end of a drain cancels a request's task, which ends here either way. A stream has said its
            # last word by itself; passing the cancellation on would be logged as a defect.
            if status is None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LAST_WORD_S):
                        dialect = self._dialects.of(scope["path"])
                        await error_reply(ShuttingDownError(), dialect).send(noting_send)
        finally:
            self._log(scope, status, time.monotonic() - started_at)

    def _log(self, scope: Scope, status: int | None, duration_s: float) -> None:
        level = logging.DEBUG if scope["path"] in POLLED_PATHS else logging.INFO
        if not self._logger.isEnabledFor(level):
            return
        client = scope.get("client")
        fields = {
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "duration_ms": round(duration_s * 1000, 1),
            "client": client[0] if client else "unix",
            "user_agent": dict(scope["headers"]).get(b"user-agent", b"").decode("latin-1"),
        }
        shown = {name: _masked(value) if isinstance(value, str) else value for name, value in fields.items()}
        line = " ".join(f"{name}={quoted(value)}" for name, value in shown.items())
        self._logger.log(level, "%s", line, extra={"http": shown})


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
