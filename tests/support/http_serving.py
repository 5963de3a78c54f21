"""Serves an app on the real server in a process of its own, until a signal."""

from collections.abc import Callable
from pathlib import Path

from router.http.asgi import App
from router.http.dialect import Dialects
from router.http.limits import HttpLimits
from router.http.server import Addresses, HttpServer
from router.signals import on_signals


async def serve(
    app: App, *, unix_socket: Path, limits: HttpLimits, on_started: Callable[[Addresses], None] = lambda _: None
) -> None:
    """Serve on a free port and a unix socket until SIGTERM or SIGINT, then drain; a second signal ends at once."""
    server = HttpServer(app, host="127.0.0.1", port=0, unix_socket=unix_socket, limits=limits, dialects=Dialects({}))
    with on_signals(stop=server.stop, end_now=server.stop, reload=lambda: None):
        on_started(await server.start())
        await server.wait_stopped()
