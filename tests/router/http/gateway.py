"""A small Litestar app behind the real server, raw-socket clients for it, and the clock of its connections."""

import asyncio
import contextlib
import inspect
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

import msgspec
from litestar import Litestar, Request, get, head, post
from litestar.params import FromPath
from litestar.types import ASGIApp

from router.errors import EngineCrashedError, QueueFullError
from router.http.asgi import json_reply
from router.http.body import decode_json, read_body
from router.http.dialect import OPENAI, Dialects
from router.http.hosts import HostRules
from router.http.limits import HttpLimits
from router.http.litestar_errors import exception_handlers
from router.http.protocol import DeadlineProtocol
from router.http.server import Addresses, HttpServer, guarded, run
from router.http.streaming import EventStream, until_disconnect
from router.protocols.anthropic.api import ANTHROPIC_ERRORS
from router.protocols.ollama.api import OLLAMA_ERRORS
from tests.support.waiting import WITHIN_S, until

LIMITS = HttpLimits(
    max_body_bytes=1 << 20,
    max_header_bytes=8 << 10,
    max_headers=50,
    max_url_bytes=2 << 10,
    max_connections=200,
)


DIALECTS = Dialects({"/api": OLLAMA_ERRORS, "/v1/messages": ANTHROPIC_ERRORS})


class Echo(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    extra: Any = None


class Events:
    """What the app saw, for tests to wait on."""

    def __init__(self) -> None:
        self.is_streaming = asyncio.Event()
        self.is_closed = asyncio.Event()
        self.go_on = asyncio.Event()
        self.num_side_effects = 0
        self.num_chunks = 0


async def chunks_of(kind: str, events: Events) -> AsyncIterator[bytes]:
    if kind == "early":
        raise QueueFullError(retry_after_s=2)
    try:
        yield b"data: first\n\n"
        events.is_streaming.set()
        if kind == "late":
            raise EngineCrashedError("the worker is gone")
        if kind == "defect":
            raise ValueError("secret")
        while kind == "flood":
            yield b"x" * 65536
            events.num_chunks += 1
        await events.go_on.wait()
        yield b"data: [DONE]\n\n"
    finally:
        events.is_closed.set()


def make_app(events: Events) -> Litestar:
    @get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @post("/v1/echo", status_code=200)
    async def echo(request: Request[Any, Any, Any]) -> dict[str, str]:
        body = decode_json(await read_body(request.scope, request.receive, limit_bytes=LIMITS.max_body_bytes), Echo)
        events.num_side_effects += 1
        return {"text": body.text}

    @get("/v1/wait")
    async def wait(request: Request[Any, Any, Any]) -> ASGIApp:
        async def work() -> None:
            events.is_streaming.set()
            try:
                await events.go_on.wait()
            finally:
                events.is_closed.set()

        await until_disconnect(request.receive, work())
        return json_reply({"done": True})

    @get("/v1/stream/{kind:str}")
    async def stream(kind: FromPath[str]) -> ASGIApp:
        return EventStream(chunks_of(kind, events), dialect=OPENAI)

    @head("/v1/only-head")
    async def only_head() -> None:
        events.num_side_effects += 1

    @get(["/v1/boom", "/api/boom"])
    async def boom() -> None:
        raise ValueError("secret path /root/.ssh")

    return Litestar(
        [health, echo, wait, stream, only_head, boom],
        exception_handlers=exception_handlers(DIALECTS),
        debug=False,
        logging_config=None,
        request_max_body_size=LIMITS.max_body_bytes,
    )


class Reply(msgspec.Struct):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> Any:
        return msgspec.json.decode(self.body)["error"]["code"]


class Peer:
    """One raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def read_head(self) -> tuple[int, dict[str, str]]:
        async with asyncio.timeout(WITHIN_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head.rstrip().split("\r\n")
        return int(status_line.split()[1]), dict(line.lower().split(": ", 1) for line in lines)

    async def reply(self) -> Reply:
        """Read one reply whose length is declared."""
        status, headers = await self.read_head()
        async with asyncio.timeout(WITHIN_S):
            return Reply(status, headers, await self.reader.readexactly(int(headers["content-length"])))

    async def until(self, data: bytes) -> bytes:
        async with asyncio.timeout(WITHIN_S):
            return await self.reader.readuntil(data)

    async def rest(self) -> bytes:
        """Read until the server closes; a reset is an end as well."""
        received = b""
        async with asyncio.timeout(WITHIN_S):
            with contextlib.suppress(ConnectionResetError):
                while chunk := await self.reader.read(65536):
                    received += chunk
        return received

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


class Timer:
    """What a connection has asked for; `args` are those of its call."""

    def __init__(self, due: float, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.due = due
        self.callback = callback
        self.args = args
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Clock:
    """The time of the server's connections: it stands still until a test moves it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._timers: list[Timer] = []
        self._now = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def call_later(self, delay_s: float, callback: Callable[..., object], *args: Any) -> Timer:
        self._timers.append(Timer(self._now + delay_s, callback, args))
        return self._timers[-1]

    def seconds(self) -> float:
        return self._now

    def move(self, seconds: float) -> None:
        end = self._now + seconds
        while due := [timer for timer in self._timers if timer.due <= end and not timer.is_cancelled]:
            first = min(due, key=lambda timer: timer.due)
            self._timers.remove(first)
            self._now = first.due
            first.callback(*first.args)
        self._now = end


class Gateway:
    """A running server with its app; what its limits say in seconds counts by `clock`, unless that is None.

    Args:
        trusting: What connections of tests are encrypted with; None = they are not.
    """

    def __init__(
        self,
        *,
        limits: HttpLimits = LIMITS,
        unix_socket: Path | None = None,
        drain_s: float = 3600.0,
        has_clock: bool = True,
        tls: Callable[[], ssl.SSLContext] | None = None,
        trusting: ssl.SSLContext | None = None,
        rules: HostRules | None = None,
    ) -> None:
        self.clock = Clock(asyncio.get_running_loop())
        self._has_clock = has_clock
        self.events = Events()
        self.logger = logging.getLogger("tests.access")
        app = guarded(
            make_app(self.events),
            rules=rules or HostRules(),
            limits=limits,
            dialects=DIALECTS,
            access_logger=self.logger,
        )
        self.server = HttpServer(
            app,
            host="127.0.0.1",
            port=0,
            unix_socket=unix_socket,
            tls=tls,
            limits=limits,
            dialects=DIALECTS,
            drain_timeout_s=drain_s,
        )
        self.addresses = Addresses((), None)
        self.trusting = trusting
        self._peers: list[Peer] = []
        self._ended: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        with patch("router.http.server.DeadlineProtocol", self._protocol if self._has_clock else DeadlineProtocol):
            self.addresses = await self.server.start()
        self._ended = asyncio.create_task(self.server.wait_stopped())
        return self

    async def __aexit__(self, *_: object) -> None:
        for peer in self._peers:
            await peer.close()
        self.server.stop()
        self.server.stop()
        await self.stopped()

    async def stopped(self) -> None:
        assert self._ended is not None
        async with asyncio.timeout(WITHIN_S):
            await asyncio.shield(self._ended)

    def _protocol(self, *arguments: Any, **options: Any) -> DeadlineProtocol:
        connection = DeadlineProtocol(*arguments, **options)
        connection.loop = self.clock  # type: ignore[assignment]  # what it is asked for, it is or has
        connection.clock = self.clock.seconds
        return connection

    @property
    def num_connections(self) -> int:
        return len(self.server._state.connections)

    async def connection_of(self, peer: Peer) -> DeadlineProtocol:
        """The server's end, once it is there."""
        name = peer.writer.get_extra_info("sockname")

        def found() -> list[Any]:
            return [
                each for each in self.server._state.connections if each.transport.get_extra_info("peername") == name
            ]

        await until(found, "the server has the connection")
        connection: DeadlineProtocol = found()[0]
        return connection

    async def connect(self, data: bytes = b"", *, receive_buffer_bytes: int | None = None) -> Peer:
        sock = socket.socket()
        if receive_buffer_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, self.addresses.tcp[0])
        except ConnectionError:
            sock.close()
            raise
        name = None if self.trusting is None else "localhost"
        reader, writer = await asyncio.open_connection(
            sock=sock, limit=1 << 16, ssl=self.trusting, server_hostname=name
        )
        peer = Peer(reader, writer)
        self._peers.append(peer)
        peer.send(data)
        return peer

    async def get(self, path: str, *headers: str, host: str = "localhost") -> Peer:
        return await self.connect(request("GET", path, *headers, host=host))

    async def is_healthy(self) -> bool:
        peer = await self.get("/health")
        return (await peer.reply()).body == b'{"status":"ok"}'


def served(**options: Any) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Callable[..., None]]:
    """Give a test a running gateway as its first argument, on the event loop that the program uses.

    A decorator and not a fixture, because the plugin for asynchronous tests runs them on asyncio's own loop, whose
    transports differ from uvloop's in exactly what these tests look at.
    """

    def decorate(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
        async def main(**arguments: Any) -> None:
            async with Gateway(**options) as gateway:
                await test(gateway, **arguments)

        def run_test(**arguments: Any) -> None:
            run(main(**arguments))

        signature = inspect.signature(test)
        run_test.__signature__ = signature.replace(  # type: ignore[attr-defined]  # what pytest reads
            parameters=list(signature.parameters.values())[1:], return_annotation=None
        )
        run_test.__name__ = test.__name__
        return run_test

    return decorate


def request(method: str, path: str, *headers: str, body: bytes = b"", host: str = "localhost") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
    if body and not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
