"""The ASGI types that this package uses, and the plainest response there is. No framework, no server.

Source: ASGI specification 3.0, "HTTP & WebSocket ASGI Message Format".
"""

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any

import msgspec

from router.http.ignored import ignored_headers

# `Any`, because every framework has TypedDicts of its own for the same messages.
Scope = Any
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def is_over_unix_socket(scope: Scope) -> bool:
    """Tell whether a request came by a unix socket, which no web page and no other machine reaches."""
    server = scope.get("server")
    return server is None or server[1] is None


class BytesResponse:
    """A complete response whose body is ready. An ASGI app; a Litestar handler annotated `-> ASGIApp` may return it.

    It tells what had no effect of the request that it answers (`router.http.ignored`).

    Args:
        headers: Lower-case names; content-length is added when absent.
    """

    def __init__(self, body: bytes = b"", *, status: int = 200, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        self.body = body
        self.status = status
        self.headers = [*headers, *ignored_headers()]
        # RFC 9110 section 8.6: no Content-Length "in any response with a status code of 1xx [...] or 204".
        if status != HTTPStatus.NO_CONTENT and not any(name == b"content-length" for name, _ in headers):
            self.headers.append((b"content-length", str(len(body)).encode()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send it as an ASGI app."""
        await self.send(send)

    async def send(self, send: Send) -> None:
        """Send it where only the channel is at hand."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


def json_reply(value: Any, *, status: int = 200, headers: Sequence[tuple[bytes, bytes]] = ()) -> BytesResponse:
    """Answer with a JSON value.

    Args:
        value: Anything that msgspec encodes; `bytes` are taken as JSON that is ready.
    """
    body = value if isinstance(value, bytes) else msgspec.json.encode(value)
    return BytesResponse(body, status=status, headers=[(b"content-type", b"application/json"), *headers])
