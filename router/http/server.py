"""Runs the gateway's HTTP server inside a running event loop: sockets, start, drain, stop.

The server is uvicorn's HTTP/1.1 protocol and lifespan without uvicorn's own server loop, which polls ten times a
second, re-raises signals (the exit status would be -15) and does not wait for the requests it cancels.
docs/http-server.md has the measurements behind the choice.

Not here: what an app answers, and how one connection behaves (`router.http.protocol`).
"""

import asyncio
import contextlib
import functools
import logging
import socket
import ssl
import time
from collections.abc import Callable, Coroutine
from email.utils import formatdate
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import uvicorn
import uvloop
from uvicorn.lifespan.on import LifespanOn
from uvicorn.server import ServerState

from router.errors import BindError, StartupError
from router.http.access_log import AccessLog
from router.http.asgi import App
from router.http.caller import OWNER, Caller
from router.http.dialect import Dialects
from router.http.exchange import Exchange
from router.http.field_rule import IgnoredFieldsRule
from router.http.guards import Guards
from router.http.hosts import HostRules
from router.http.limits import HttpLimits
from router.http.protocol import DeadlineProtocol
from router.http.sockets import BACKLOG, UnixSocket, bind_tcp, bind_unix
from router.http.websocket import PING_INTERVAL_S, PING_TIMEOUT_S, SocketProtocol
from router.observers import Observers
from router.sleep.awake import awake_timeout
from router.tls.listener import TlsLimits, TlsListener

T = TypeVar("T")

_logger = logging.getLogger(__name__)

_DATE_INTERVAL_S = 1.0

# What a cancelled request may take for its last word and its clean-up, and a connection to send what it has.
_FORCED_END_S = 1.5
_LOOK_AGAIN_S = 0.02


class Addresses(msgspec.Struct, frozen=True):
    """Where a started server listens.

    Attributes:
        tcp: Pairs of address and port; port 0 has become the real one.
        unix_socket: Path, or `None`.
    """

    tcp: tuple[tuple[str, int], ...]
    unix_socket: Path | None


def guarded(
    app: App,
    *,
    rules: HostRules,
    limits: HttpLimits,
    dialects: Dialects,
    access_logger: logging.Logger,
    authenticate: Callable[[Any], Caller] = lambda _: OWNER,
    limit_headers: Callable[[Caller], list[tuple[bytes, bytes]]] = lambda _: [],
    is_strict: Callable[[], bool] = lambda: False,
    ended: Observers[Exchange] | None = None,
) -> App:
    """Put the layers around an app that every request passes: access log, guards, what becomes of unknown fields.

    Args:
        limits: Limits of URL, headers and declared body.
        authenticate: Says by a request's scope who sends it.
        limit_headers: What an answer tells of a key's limits.
        is_strict: Whether a request with a field that nobody knows is refused where it does not say.
        ended: Told of each request that has ended.
    """
    telling = IgnoredFieldsRule(app, is_strict=is_strict)
    guards = Guards(
        telling,
        rules=rules,
        limits=limits,
        dialects=dialects,
        authenticate=authenticate,
        limit_headers=limit_headers,
    )
    return AccessLog(guards, logger=access_logger, dialects=dialects, ended=ended)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run the main coroutine on uvloop, on which a streamed chunk costs less CPU than on asyncio's own loop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


class HttpServer:
    """A server whose life the caller holds: `start`, then `wait_stopped`, which `stop` ends.

    Args:
        port: Port; 0 for a free one.
        unix_socket: A path to listen on as well.
        is_unix_optional: Whether the server starts without it where it cannot be had.
        tls: Gives what a connection is encrypted with that begins now; None = TCP is served as it is. The unix socket
            always is.
        drain_timeout_s: What running requests get to finish after `stop`.
    """

    def __init__(
        self,
        app: App,
        *,
        host: str,
        port: int,
        unix_socket: Path | None = None,
        is_unix_optional: bool = False,
        tls: Callable[[], ssl.SSLContext] | None = None,
        limits: HttpLimits,
        dialects: Dialects,
        drain_timeout_s: float = 30.0,
    ) -> None:
        self._address = (host, port)
        self._unix_path = unix_socket
        self._is_unix_optional = is_unix_optional
        self._tls = tls
        self._limits = limits
        self._dialects = dialects
        self._drain_timeout_s = drain_timeout_s
        self._config = uvicorn.Config(
            app,
            lifespan="on",
            interface="asgi3",
            ws=SocketProtocol,
            ws_max_size=limits.max_body_bytes,
            ws_ping_interval=PING_INTERVAL_S,
            ws_ping_timeout=PING_TIMEOUT_S,
            ws_per_message_deflate=False,
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
        )
        self._state = ServerState()
        self._listeners: list[asyncio.Server | TlsListener] = []
        self._unix: UnixSocket | None = None
        self._should_stop = asyncio.Event()
        self._should_end_now = asyncio.Event()

    def stop(self) -> None:
        """Begin the drain; called again, end it at once. Safe as a signal handler of the loop."""
        if self._should_stop.is_set():
            self._should_end_now.set()
        self._should_stop.set()

    async def start(self) -> Addresses:
        """Bind, start the app, and accept connections.

        Raises:
            AddressInUseError: Another program listens on the address.
            SocketInUseError: A server answers on the unix socket.
            BindError: An address cannot be used.
            StartupError: The app's own start failed; the log has the cause.
        """
        with contextlib.ExitStack() as on_failure:
            tcp = bind_tcp(*self._address)
            for sock in tcp:
                on_failure.callback(sock.close)
            self._unix = self._bound_unix()
            if self._unix is not None:
                on_failure.callback(self._unix.sock.close)
                on_failure.callback(self._unix.unlink)
            self._config.load()
            self._lifespan = LifespanOn(self._config)
            await self._lifespan.startup()
            if self._lifespan.should_exit:
                raise StartupError("The gateway could not start; its log has the cause.")
            on_failure.pop_all()
        self._update_date()
        await self._listen(tcp)
        names = [sock.getsockname() for sock in tcp]
        return Addresses(tuple((name[0], name[1]) for name in names), None if self._unix is None else self._unix.path)

    def _bound_unix(self) -> UnixSocket | None:
        if self._unix_path is None:
            return None
        try:
            return bind_unix(self._unix_path)
        except BindError as exc:
            if not self._is_unix_optional:
                raise
            _logger.warning("there is no unix socket: %s", exc)
            return None

    async def wait_stopped(self) -> None:
        """Serve until `stop` is called, then drain and end. Cancelling it ends at once."""
        try:
            while not self._should_stop.is_set():
                self._update_date()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._should_stop.wait(), _DATE_INTERVAL_S)
            self._stop_listening()
            await self._drain()
        finally:
            self._stop_listening()
            await self._end_now()
            await self._lifespan.shutdown()

    async def _listen(self, tcp: list[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        factory = functools.partial(
            DeadlineProtocol,
            self._config,
            self._state,
            self._lifespan.state,
            limits=self._limits,
            dialects=self._dialects,
        )
        if self._tls is not None:
            self._listeners.append(self._encrypting(tcp, factory, self._tls))
            tcp = []
        for sock in tcp:
            self._listeners.append(await loop.create_server(factory, sock=sock, backlog=BACKLOG))
        if self._unix is not None:
            self._listeners.append(await loop.create_unix_server(factory, sock=self._unix.sock, backlog=BACKLOG))

    def _encrypting(
        self,
        socks: list[socket.socket],
        factory: Callable[[], DeadlineProtocol],
        context: Callable[[], ssl.SSLContext],
    ) -> TlsListener:
        listener = TlsListener(
            socks,
            factory,
            context=context,
            has_room=lambda num: len(self._state.connections) + num < self._limits.max_connections,
            limits=TlsLimits(
                backlog=BACKLOG,
                handshake_timeout_s=self._limits.header_timeout_s,
                shutdown_timeout_s=self._limits.write_stall_s,
            ),
        )
        listener.start()
        return listener

    def _stop_listening(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        if self._unix is not None:
            self._unix.unlink()

    async def _drain(self) -> None:
        """Let running requests finish, until the limit or the second `stop`."""
        for connection in list(self._state.connections):
            connection.shutdown()
        end_now = asyncio.create_task(self._should_end_now.wait())
        try:
            async with awake_timeout(self._drain_timeout_s):
                while self._state.tasks and not end_now.done():
                    await asyncio.wait({*self._state.tasks, end_now}, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            _logger.warning("drain limit reached: %d requests are cut", len(self._state.tasks))
        finally:
            end_now.cancel()

    async def _end_now(self) -> None:
        """Cancel what still runs; each stream says its last word. Then close what is still open."""
        tasks = list(self._state.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_FORCED_END_S)
        for connection in list(self._state.connections):
            connection.transport.close()
        # A closed transport first sends what it has, and over TLS waits for its client's last word. Those that are not
        # through with it are given one more moment.
        await asyncio.sleep(0)
        give_up_at = time.monotonic() + _FORCED_END_S
        while self._state.connections and time.monotonic() < give_up_at:  # noqa: ASYNC110 - uvicorn's set tells nobody
            await asyncio.sleep(_LOOK_AGAIN_S)
        for connection in list(self._state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)

    def _update_date(self) -> None:
        self._state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
