"""The MCP server over streamable HTTP: who may ask, then the package `mcp`'s own transport on uvicorn.

Source: Model Context Protocol, revision 2025-11-25, "Transports", security warning: "Servers MUST validate the Origin
header"; "SHOULD bind only to localhost". Not here: tools (`tools.py`).
"""

import hmac
import socket
from http import HTTPStatus
from typing import Any, Final

import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from router.cli.terminal.context import CommandError
from router.http.hosts import HostRules

MCP_PATH: Final = "/mcp"
MAX_BODY_BYTES: Final = 1 << 20
MAX_SESSIONS: Final = 64
STOP_TIMEOUT_S: Final = 3


class Guarded:
    """Lets only those in who may ask: by Host and Origin, and by the key where there is one.

    Args:
        app: Behind it.
        key: What is to come as a bearer; None = nobody is asked for one.
    """

    def __init__(self, app: ASGIApp, rules: HostRules, key: str | None) -> None:
        self._app = app
        self._rules = rules
        self._key = None if key is None else key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        refusal = self._refusal(scope)
        await (self._app if refusal is None else refusal)(scope, receive, send)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._rules.allows_host(hosts[0]):
            return _refused(
                HTTPStatus.MISDIRECTED_REQUEST,
                "This host name is not ours; add it to server.allowed_hosts in mlxr's config.",
            )
        origins = headers.getlist("origin")
        if not all(self._rules.is_own_origin(origin, hosts[0]) for origin in origins):
            return _refused(
                HTTPStatus.FORBIDDEN, "Pages of other origins may not ask; see server.allowed_origins in mlxr's config."
            )
        if self._key is not None and not self._is_known(headers):
            return _refused(HTTPStatus.UNAUTHORIZED, "Send the key of this MCP server as `Authorization: Bearer KEY`.")
        if scope["path"] != MCP_PATH:
            return _refused(HTTPStatus.NOT_FOUND, f"There is only {MCP_PATH} here.")
        return None

    def _is_known(self, headers: Headers) -> bool:
        assert self._key is not None
        scheme, _, sent = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(sent.strip().encode(), self._key)


def bound(host: str, port: int) -> socket.socket:
    """Listen at an address.

    Args:
        port: 0 = any free one.

    Raises:
        CommandError: It is taken, or not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as exc:
        why = str(exc.strerror).partition(" (")[0]
        raise CommandError(f"{host}:{port} cannot be listened at: {why}; choose another --port.") from exc


async def serve_http(server: Server[Any], listening: socket.socket, rules: HostRules, key: str | None) -> None:
    """Serve many clients, until a signal ends it."""
    manager = StreamableHTTPSessionManager(
        server, max_request_body_size=MAX_BODY_BYTES, max_sessions=MAX_SESSIONS, security_settings=None
    )
    config = uvicorn.Config(
        Guarded(manager.handle_request, rules, key),
        lifespan="off",
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_TIMEOUT_S,
    )
    async with manager.run():
        await uvicorn.Server(config).serve(sockets=[listening])


def _refused(status: HTTPStatus, message: str) -> JSONResponse:
    headers = {"WWW-Authenticate": "Bearer"} if status == HTTPStatus.UNAUTHORIZED else None
    return JSONResponse({"error": {"message": message}}, status, headers)
