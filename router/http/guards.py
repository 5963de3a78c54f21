"""ASGI middleware in front of everything: refuses what no route should ever see.

It runs before routing, so that it holds for every path, also for those that do not exist, and a refused request has had
no side effect. It answers CORS for the origins it lets in. What the parser refuses, and how long a client may take, is
the connection's business (`router.http.protocol`); what a body may hold is that of `router.http.body`.
"""

import re
import urllib.parse
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from msgspec.structs import replace

from router.errors import (
    HeadersTooLargeError,
    HostNotAllowedError,
    MalformedRequestError,
    OriginNotAllowedError,
    RequestTooLargeError,
    RouterError,
    URLTooLongError,
)
from router.http.asgi import App, BytesResponse, Receive, Scope, Send, is_over_unix_socket
from router.http.caller import OWNER, Caller, acting_for, check_scope, set_caller
from router.http.dialect import Dialects
from router.http.error_response import error_reply
from router.http.hosts import HostRules
from router.http.limits import UPLOAD_PREFIX, HttpLimits
from router.http.page import PAGE_PATH
from router.http.websocket import SOCKET_SCOPE

# An encoded slash is part of a model's name below this path (the OpenAI client quotes `org/name`), and an attempt to
# slip past a check on paths everywhere else.
_QUOTED_SLASH_PREFIX = b"/v1/models/"

_ODD_PATH = re.compile(r"[\x00-\x1f\x7f\\;]|//|/\.\.?(?:/|$)")
_HEADER_NAMES = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~, -]{0,1024}")
Headers = list[tuple[bytes, bytes]]

_METHODS = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
_PREFLIGHT_MAX_AGE_S = b"600"


class Guards:
    """Checks each request, then passes it on to the app.

    Args:
        limits: Limits of URL, headers and declared body.
        authenticate: Says who sends a request, nobody if need be; what they may is decided by where they come to.
        limit_headers: What an answer tells of a key's limits.
    """

    def __init__(
        self,
        app: App,
        *,
        rules: HostRules,
        limits: HttpLimits,
        dialects: Dialects,
        authenticate: Callable[[Scope], Caller] = lambda _: OWNER,
        limit_headers: Callable[[Caller], Headers] = lambda _: [],
    ) -> None:
        self._app = app
        self._limit_headers = limit_headers
        self._authenticate = authenticate
        self._dialects = dialects
        self._rules = rules
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refused request or a preflight; pass everything else on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await self._pass_socket(scope, receive, send)
            return
        scope = _without_doubled_slash(scope)
        try:
            origin = self._check(scope)
        except RouterError as error:
            await error_reply(error, self._dialects.of(scope["path"])).send(send)
            return
        if origin is not None:
            if _is_preflight(scope):
                await _preflight_reply(scope, origin).send(send)
                return
            cors = _cors_headers(origin)
            send = _with_headers(send, lambda: cors)
        caller = self._caller(scope, origin)
        if caller.key_id is not None:
            send = _with_headers(send, lambda: self._limit_headers(caller))
        with acting_for(caller):
            if scope["method"] == "HEAD":
                await _answer_head(self._app, scope, receive, send)
            else:
                await self._app(scope, receive, send)

    async def _pass_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a WebSocket on whose host and origin are as those of a request must be: no preflight asks before it.

        Who may is judged here, because a handshake is refused with an answer only outside of the app.
        """
        try:
            caller = self._caller(scope, self._check(scope))
            check_scope(caller, SOCKET_SCOPE)
        except RouterError as error:
            reply = error_reply(error, self._dialects.of(scope["path"]))
            await send({"type": "websocket.http.response.start", "status": reply.status, "headers": reply.headers})
            await send({"type": "websocket.http.response.body", "body": reply.body})
            return
        with acting_for(caller):
            await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> bytes | None:
        """Refuse the request by an exception, or return the origin that it came from, if it names one."""
        self._check_sizes(scope)
        _check_path(scope)
        headers = scope["headers"]
        is_upload = scope["raw_path"].startswith(UPLOAD_PREFIX)
        _check_framing(headers, self._limits.max_upload_bytes if is_upload else self._limits.max_body_bytes)
        host = self._checked_host(headers, scope)
        if _is_way_to_page(scope):
            return None
        return self._checked_origin(headers, host, is_encrypted=_is_encrypted(scope))

    def _caller(self, scope: Scope, origin: bytes | None) -> Caller:
        """Find out who asks, and by whose page, and say so in the request's scope."""
        caller = self._authenticate(scope)
        if origin is not None and not self._is_own(scope, origin):
            caller = replace(caller, is_foreign_page=True)
        set_caller(scope, caller)
        return caller

    def _is_own(self, scope: Scope, origin: bytes) -> bool:
        (host,) = _values(scope["headers"], b"host")
        return self._rules.is_own_origin(
            origin.decode("latin-1"), host.decode("latin-1"), is_encrypted=_is_encrypted(scope)
        )

    def _check_sizes(self, scope: Scope) -> None:
        limits = self._limits
        if len(scope["raw_path"]) + len(scope["query_string"]) > limits.max_url_bytes:
            raise URLTooLongError(f"The URL is longer than {limits.max_url_bytes} bytes.")
        headers = scope["headers"]
        if len(headers) > limits.max_headers:
            raise HeadersTooLargeError(f"The request has more than {limits.max_headers} headers.")
        if sum(len(name) + len(value) for name, value in headers) > limits.max_header_bytes:
            raise HeadersTooLargeError(f"The headers are longer than {limits.max_header_bytes} bytes.")

    def _checked_host(self, headers: list[tuple[bytes, bytes]], scope: Scope) -> str:
        hosts = _values(headers, b"host")
        if len(hosts) != 1:
            # RFC 9112 section 3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request
            # message that lacks a Host header field and to any request message that contains more than one".
            raise MalformedRequestError("The request must have exactly one Host header.")
        host = hosts[0].decode("latin-1")
        if not self._rules.allows_host(host, is_local_socket=is_over_unix_socket(scope)):
            raise HostNotAllowedError(
                "The Host header does not name this server. Use localhost or 127.0.0.1, "
                "or add the name to server.allowed_hosts in the config."
            )
        return host

    def _checked_origin(self, headers: list[tuple[bytes, bytes]], host: str, *, is_encrypted: bool) -> bytes | None:
        origins = _values(headers, b"origin")
        if origins:
            origin = origins[0].decode("latin-1")
            if len(origins) == 1 and self._rules.allows_origin(origin, host, is_encrypted=is_encrypted):
                return origins[0]
        elif b"cross-site" not in _values(headers, b"sec-fetch-site"):
            return None
        raise OriginNotAllowedError(
            "Web pages of this origin may not use the server. Add the origin to server.allowed_origins in the config."
        )


def _is_way_to_page(scope: Scope) -> bool:
    """Tell whether a link of any site, or a file, leads a browser to the page, whose files have no secrets.

    Source: Fetch Metadata Request Headers, sections 2.1 and 2.2: `document` is a tab, no frame in another page.
    """
    headers, path = scope["headers"], scope["path"]
    return (
        scope.get("method") == "GET"
        and (path == PAGE_PATH or path.startswith(f"{PAGE_PATH}/"))
        and _values(headers, b"sec-fetch-mode") == [b"navigate"]
        and _values(headers, b"sec-fetch-dest") == [b"document"]
        and not _values(headers, b"origin")
    )


def _is_encrypted(scope: Scope) -> bool:
    return scope.get("scheme") in {"https", "wss"}


def _values(headers: list[tuple[bytes, bytes]], wanted: bytes) -> list[bytes]:
    return [value.strip() for name, value in headers if name == wanted]


def _without_doubled_slash(scope: Scope) -> Scope:
    """Take one leading slash too many off: what a base address with a slash at its end makes of every path.

    Everything behind sees the one path: what is judged is what is routed.
    """
    raw_path: bytes = scope["raw_path"]
    if not raw_path.startswith(b"//") or raw_path.startswith(b"///"):
        return scope
    return {**scope, "raw_path": raw_path[1:], "path": scope["path"][1:]}


def _check_path(scope: Scope) -> None:
    raw_path: bytes = scope["raw_path"]
    # The decoded path is what the router matches, so that is what must be sound. A percent sign that is left was
    # encoded twice; bytes that are not UTF-8 were replaced.
    decoded = urllib.parse.unquote(raw_path.decode("latin-1"))
    is_quoted_slash = b"%2f" in raw_path.lower() and not raw_path.startswith(_QUOTED_SLASH_PREFIX)
    is_asterisk = raw_path == b"*" and scope["method"] == "OPTIONS"
    if is_asterisk:
        return
    if b"//" in raw_path:
        raise MalformedRequestError("The path of the request is malformed: it has two slashes in a row.")
    if (
        not decoded.startswith("/")
        or is_quoted_slash
        or "%" in decoded
        or "\ufffd" in decoded
        or _ODD_PATH.search(decoded)
    ):
        raise MalformedRequestError("The path of the request is malformed.")


def _check_framing(headers: list[tuple[bytes, bytes]], max_body_bytes: int) -> None:
    lengths = _values(headers, b"content-length")
    if lengths and _values(headers, b"transfer-encoding"):
        # RFC 9112 section 6.1: such a message "might indicate an attempt to perform request smuggling".
        raise MalformedRequestError("A request may not have both Content-Length and Transfer-Encoding.")
    if len(lengths) > 1 or not all(length.isdigit() for length in lengths):
        raise MalformedRequestError("The Content-Length is malformed.")
    if lengths and (len(lengths[0]) > len(str(max_body_bytes)) or int(lengths[0]) > max_body_bytes):
        raise RequestTooLargeError(max_body_bytes)


def _is_preflight(scope: Scope) -> bool:
    return scope["method"] == "OPTIONS" and bool(_values(scope["headers"], b"access-control-request-method"))


def _preflight_reply(scope: Scope, origin: bytes) -> BytesResponse:
    """Allow what the page asks for: the origin has been judged, and the answer to the request itself judges the rest.

    Source: Fetch, section 3.2.3 "HTTP responses"; Private Network Access, section 3.1.2.
    """
    headers = [
        *_cors_headers(origin),
        (b"access-control-allow-methods", _METHODS),
        (b"access-control-max-age", _PREFLIGHT_MAX_AGE_S),
    ]
    wanted = b", ".join(_values(scope["headers"], b"access-control-request-headers"))
    if wanted and _HEADER_NAMES.fullmatch(wanted):
        headers.append((b"access-control-allow-headers", wanted))
    if b"true" in _values(scope["headers"], b"access-control-request-private-network"):
        headers.append((b"access-control-allow-private-network", b"true"))
    return BytesResponse(b"", status=204, headers=headers)


def _cors_headers(origin: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (b"access-control-allow-origin", origin),
        (b"access-control-expose-headers", b"*"),
        (b"vary", b"Origin"),
    ]


async def _answer_head(app: App, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer as a route for HEAD does, or else as a GET would be answered, without the body.

    What would be streamed ends where it begins. Source: RFC 9110 section 9.3.2: "The HEAD method is identical to GET
    except that the server MUST NOT send content".
    """
    has_own_route = True

    async def send_own(message: Any) -> None:
        nonlocal has_own_route
        has_own_route &= message.get("status") != HTTPStatus.METHOD_NOT_ALLOWED
        if has_own_route:
            await send(message)

    async def send_head(message: Any) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    await app(scope, receive, send_own)
    if not has_own_route:
        await app({**scope, "method": "GET"}, receive, send_head)


def _with_headers(send: Send, headers: Callable[[], Headers]) -> Send:
    """Add headers to an answer, as they are when it begins."""

    async def send_with_headers(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", []), *headers()]}
        await send(message)

    return send_with_headers
