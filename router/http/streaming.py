"""Sends a stream of ready chunks, and ends work at once when the client has gone away.

The chunks are bytes that a route's encoder has made; nothing here knows SSE from NDJSON. That a client does not read is
noticed below, by the connection (`router.http.protocol`), which then reports it as a disconnect.

A stream's status is decided by its first chunk: an error before it is a plain HTTP error, an error after it becomes a
chunk of the protocol, and the stream ends there. Two tasks serve a stream: the request's own, which iterates and sends,
and one that waits for the disconnect. Keep-alives hang on a timer, so that a chunk costs one `send` and no task switch.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import TypeVar

from backends.errors import BackendError
from registry.errors import RegistryError
from router.errors import ClientDisconnectedError, RouterError, ShuttingDownError
from router.http.asgi import Receive, Scope, Send
from router.http.dialect import Dialect
from router.http.error_response import error_chunk, error_reply, note, shown_error
from router.http.ignored import ignored_headers

T = TypeVar("T")

SSE = b"text/event-stream"
NDJSON = b"application/x-ndjson"

# Source: WHATWG HTML, section 9.2.6: a line that starts with a colon is ignored; the empty line ends the block.
SSE_KEEP_ALIVE = b": keep-alive\n\n"

# Neither a source with chunks at hand nor `send` to a client that reads, or has gone, lets other tasks run. After this
# many chunks they may, the one that learns of the disconnect among them.
_CHUNKS_PER_TURN = 32

# A stream that the server cuts gets this long to take its last chunk.
_LAST_WORD_S = 1.0

_OUR_ERRORS = (RouterError, BackendError, RegistryError)


@contextlib.asynccontextmanager
async def cancelled_on_disconnect(receive: Receive) -> AsyncIterator[None]:
    """Cancel the body of the `async with` as soon as the client goes away.

    Args:
        receive: The ASGI channel of a request whose body has been read.

    Raises:
        ClientDisconnectedError: The client went away; the body has been cancelled and has ended.
    """
    try:
        # A timeout without a deadline is a cancel scope: expiring it cancels this task, and tells that cancellation
        # from one that came from outside.
        async with asyncio.timeout(None) as scope:
            watcher = asyncio.create_task(_expire_on_disconnect(receive, scope))
            try:
                yield
            finally:
                watcher.cancel()
                await asyncio.wait([watcher])
    except TimeoutError:
        if scope.expired():
            raise ClientDisconnectedError from None
        raise


async def until_disconnect(receive: Receive, work: Awaitable[T]) -> T:
    """Await the work of a handler that does not stream, or cancel it when the client goes away.

    Args:
        receive: The ASGI channel of a request whose body has been read.

    Raises:
        ClientDisconnectedError: The client went away; the work has been cancelled and has ended.
    """
    async with cancelled_on_disconnect(receive):
        return await work


class EventStream:
    """A streamed response. An ASGI app; a Litestar handler annotated `-> ASGIApp` may return it.

    The iterator is always closed when the response ends, for whatever reason. It is iterated and closed in the task of
    the request.

    Args:
        chunks: Ready bytes; each becomes one write. Before the first it may raise one of our errors.
        dialect: Of errors, before the first chunk and after it.
        media_type: `SSE` or `NDJSON`.
        keep_alive: What to send when nothing was sent for a while; `None` for nothing.
        keep_alive_s: Seconds of silence before a keep-alive, and between two. Before the first chunk, the status 200 is
            sent with it, so that no client or proxy gives up; from then on errors are chunks.
    """

    def __init__(
        self,
        chunks: AsyncIterator[bytes],
        *,
        dialect: Dialect,
        media_type: bytes = SSE,
        headers: Sequence[tuple[bytes, bytes]] = (),
        keep_alive: bytes | None = None,
        keep_alive_s: float = 15.0,
    ) -> None:
        self._chunks = chunks
        self._dialect = dialect
        self._headers = [
            (b"content-type", media_type),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),  # nginx: do not collect the stream before passing it on
            *headers,
            *ignored_headers(),
        ]
        self._keep_alive = keep_alive
        self._keep_alive_s = keep_alive_s
        self._is_started = False
        self._sent_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._ping: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI's signature
        """Send the stream until it ends, fails or loses its client."""
        try:
            async with cancelled_on_disconnect(receive):
                await self._send_all(send)
        except ClientDisconnectedError as error:
            note(shown_error(error))
        except asyncio.CancelledError:
            # A disconnect is handled above: this is the server, which ends what has not ended by itself.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORD_S):
                    await self._end_with_error(ShuttingDownError(), send)
            raise
        finally:
            self._stop_timer()
            if self._ping is not None:
                self._ping.cancel()
            close = getattr(self._chunks, "aclose", None)
            if close is not None:
                await close()

    async def _send_all(self, send: Send) -> None:
        loop = asyncio.get_running_loop()
        self._sent_at = loop.time()
        num_sent = 0
        self._arm_timer(send)
        try:
            async for chunk in self._chunks:
                if self._ping is not None:
                    await self._finish_ping()
                if not self._is_started:
                    await self._start(send)
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                self._sent_at = loop.time()
                num_sent += 1
                if num_sent % _CHUNKS_PER_TURN == 0:
                    await asyncio.sleep(0)
        except _OUR_ERRORS as error:
            await self._end_with_error(error, send)
            return
        await self._end(b"", send)

    async def _end_with_error(self, error: BaseException, send: Send) -> None:
        self._stop_timer()
        await self._finish_ping()
        if self._is_started:
            await self._end(error_chunk(error, self._dialect), send)
        else:
            await error_reply(error, self._dialect).send(send)

    async def _end(self, last_chunk: bytes, send: Send) -> None:
        self._stop_timer()
        await self._finish_ping()
        if not self._is_started:
            await self._start(send)
        self._stop_timer()
        await send({"type": "http.response.body", "body": last_chunk, "more_body": False})

    async def _start(self, send: Send) -> None:
        self._is_started = True
        await send({"type": "http.response.start", "status": 200, "headers": self._headers})

    def _arm_timer(self, send: Send) -> None:
        """Set the timer to the moment at which the silence will have lasted long enough."""
        if self._keep_alive is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self._sent_at + self._keep_alive_s, self._on_timer, send)

    def _on_timer(self, send: Send) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._sent_at + self._keep_alive_s:
            # A ping that is still under way waits for the client to read: a second one would wait with it.
            if self._ping is None or self._ping.done():
                self._ping = asyncio.create_task(self._send_keep_alive(send))
            self._sent_at = now
        self._arm_timer(send)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    async def _send_keep_alive(self, send: Send) -> None:
        if not self._is_started:
            await self._start(send)
        await send({"type": "http.response.body", "body": self._keep_alive, "more_body": True})

    async def _finish_ping(self) -> None:
        if self._ping is not None:
            await self._ping
            self._ping = None


async def _expire_on_disconnect(receive: Receive, scope: asyncio.Timeout) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.reschedule(asyncio.get_running_loop().time())
