"""One HTTP/1.1 connection: uvicorn's protocol on httptools, with deadlines and bounds on what a client may do to it.

uvicorn alone waits for ever for headers and bodies and bounds neither. Here a connection always has a deadline unless a
request is being worked on: for the headers, for the body, for the next request, and for an answer that is not taken.
The time in which *we* do not read (flow control, pipelining) does not count against the client.

Not here: what a sound request may say (`router.http.guards`), and sockets and signals (`router.http.server`).
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from backends.machine.current import current_platform
from router.errors import (
    HeadersTooLargeError,
    MalformedRequestError,
    PeerNotAllowedError,
    RequestTimeoutError,
    RouterError,
    TooManyConnectionsError,
    UpgradeRefusedError,
    URLTooLongError,
)
from router.http.dialect import Dialect, Dialects
from router.http.error_response import error_app, error_reply
from router.http.limits import UPLOAD_PREFIX, UPLOAD_STEP_BYTES, HttpLimits
from router.http.websocket import SOCKET_PATH
from router.sleep.awake import AwakeTimer

# Method, version and the spaces and line ends around the names and values that the limits count.
_HEAD_SLACK_BYTES = 4096

# websockets reads lines of the handshake up to 8192 bytes.
_MAX_SOCKET_LINE_BYTES = 8000

# What of an answer waits for its client, as without TLS, whose own limit is eight times that.
_MAX_UNSENT_BYTES = 64 << 10

# How long a refused connection may take to say what it wants, so that the refusal reaches it as an answer.
_REFUSAL_TIMEOUT_S = 1.0

# How long the last bytes may take to leave before the connection is reset.
_LINGER_S = 1.0


def _is_from_this_user(transport: asyncio.Transport) -> bool:
    """Tell whether a connection over a unix socket is of this user or of root; over TCP nobody can tell.

    Where the system does not tell, the socket's mode and the token decide, as they do in any case.
    """
    sock = transport.get_extra_info("socket")
    if sock is None or sock.family != socket.AF_UNIX:
        return True
    return current_platform().peer_uid(sock) in {os.getuid(), 0, None}


class DeadlineProtocol(HttpToolsProtocol):
    """A connection that is closed when its client is too slow, too big or malformed.

    Args:
        server_state: What all connections of the server share.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: HttpLimits,
        dialects: Dialects,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.timeout_keep_alive = limits.idle_timeout_s  # type: ignore[assignment]  # call_later takes floats
        self._limits = limits
        self._dialects = dialects
        self._served_app = self.app
        self.clock: Callable[[], float] = time.monotonic
        self._deadline: AwakeTimer | None = None
        self._stall: AwakeTimer | None = None
        self._is_in_head = True
        self._is_in_body = False
        self._num_unframed_bytes = 0
        self._num_step_bytes = 0
        self._is_socket_now = False
        self._refuses_socket = False

    # -- connection ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the deadline of the first request."""
        super().connection_made(transport)
        if self.scheme == "https":
            transport.set_write_buffer_limits(_MAX_UNSENT_BYTES)
        timeout_s = self._limits.header_timeout_s
        if not _is_from_this_user(transport):
            self._served_app = error_app(PeerNotAllowedError(), self._dialects)
            timeout_s = min(timeout_s, _REFUSAL_TIMEOUT_S)
        elif len(self.connections) > self._limits.max_connections:
            self._served_app = error_app(
                TooManyConnectionsError("The server has too many connections."), self._dialects
            )
            timeout_s = min(timeout_s, _REFUSAL_TIMEOUT_S)
        self._set_deadline(timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget all timers; the base class tells the running request."""
        self._clear_deadline()
        self._clear_stall()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, and count what belongs to no header line or body that is complete."""
        self._num_unframed_bytes += len(data)
        self._parse(data)
        if self._is_socket_now or self.transport.is_closing():
            return
        limits = self._limits
        max_bytes = limits.max_header_bytes + _HEAD_SLACK_BYTES + (limits.max_url_bytes if self._is_in_head else 0)
        if (self._is_in_head or self._is_in_body) and self._num_unframed_bytes > max_bytes:
            self._cut(self._too_large_error())
        elif self._deadline is None and self.timeout_keep_alive_task is None and not self._is_busy:
            # Bytes before a request (empty lines) begin nothing, but they have ended the idle timer.
            self._set_deadline(limits.header_timeout_s)

    def _too_large_error(self) -> RouterError:
        limits = self._limits
        if len(getattr(self, "url", b"")) > limits.max_url_bytes:
            return URLTooLongError(f"The URL is longer than {limits.max_url_bytes} bytes.")
        return HeadersTooLargeError(f"The headers are longer than {limits.max_header_bytes} bytes.")

    # -- parser --------------------------------------------------------------------------------------------------

    def _parse(self, data: bytes) -> None:
        """Give data to the parser; a request that offers another protocol is parsed again without the offer.

        RFC 9110 section 7.8: "A server MAY ignore a received Upgrade header field if it wishes to continue using the
        current protocol on that connection." httptools, which sees the header, takes the body for the other protocol's.
        """
        self._unset_keepalive_if_required()
        while not self.transport.is_closing():
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as exc:
                if not self._offers_protocol:
                    return
                if self._is_socket:
                    self._become_socket()
                    return
                (num_parsed,) = exc.args
                self._refuses_socket = self._wants_socket
                data = self._head_without_offer() + data[num_parsed:]
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn sets its own
                continue
            except httptools.HttpParserError as exc:
                self.send_400_response(str(exc))
            return

    @property
    def _is_socket(self) -> bool:
        """Whether the request that is parsed becomes a WebSocket: at its one path, when nothing else is served."""
        return (
            self._wants_socket
            and self.parser.get_method() == b"GET"
            and self.url.partition(b"?")[0] == SOCKET_PATH
            and self._served_app is self.config.loaded_app
            and not self._is_busy
            # What websockets itself bounds with less grace; whatever is longer is refused as a plain request.
            and len(self.headers) <= self._limits.max_headers
            and max(len(name) + len(value) for name, value in self.headers) <= _MAX_SOCKET_LINE_BYTES
            and len(self.url) <= self._limits.max_url_bytes
        )

    @property
    def _wants_socket(self) -> bool:
        return any(name == b"upgrade" and value.lower() == b"websocket" for name, value in self.headers)

    def _become_socket(self) -> None:
        """Hand the connection over, as uvicorn does; what it is told from here on is the other protocol's."""
        self._clear_deadline()
        self._is_socket_now = True
        self.scope["method"] = "GET"
        self.handle_websocket_upgrade()

    @property
    def _offers_protocol(self) -> bool:
        """Whether the request that is parsed has an `Upgrade` header that is meant for us."""
        return bool(self.parser.should_upgrade()) and self.parser.get_method() != b"CONNECT"

    def _head_without_offer(self) -> bytes:
        """Return the request line and the headers that were just parsed, but `Upgrade`."""
        version = self.parser.get_http_version().encode()
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
        lines += [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        return b"\r\n".join([*lines, b"\r\n"])

    def on_message_begin(self) -> None:
        """Start the deadline of the headers, unless it runs since the connection was made."""
        super().on_message_begin()
        self._is_in_head = True
        if self._deadline is None:
            self._set_deadline(self._limits.header_timeout_s)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers after the body are dropped, they could only contradict what was checked."""
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start the request, and the deadline of its body."""
        if self._offers_protocol:
            return  # `_parse` begins again
        self._is_in_head = False
        self._num_unframed_bytes = 0
        self._set_deadline(self._limits.body_timeout_s)
        # RFC 9112 section 3.2.2: the absolute form is for proxies, and its host would overrule the Host header.
        is_our_form = self.url.startswith(b"/") or self.url == b"*"
        refusal = MalformedRequestError("The request target must be a path.")
        self.app = self._served_app if is_our_form and b"#" not in self.url else error_app(refusal, self._dialects)
        if self._refuses_socket and self._served_app is self.config.loaded_app:
            self._refuses_socket = False
            refused = UpgradeRefusedError(f"There is no WebSocket here, only at {SOCKET_PATH.decode()}; send HTTP.")
            self.app = error_app(refused, self._dialects)
        super().on_headers_complete()
        self._is_in_body = True
        self._num_step_bytes = 0

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body; a file's deadline moves on as the file comes."""
        self._num_unframed_bytes = 0
        super().on_body(body)
        self._num_step_bytes += len(body)
        if self._num_step_bytes >= UPLOAD_STEP_BYTES and self.url.startswith(UPLOAD_PREFIX):
            self._num_step_bytes = 0
            self._set_deadline(self._limits.body_timeout_s)

    def on_message_complete(self) -> None:
        """End the deadline: from here on the client waits for us."""
        if self._offers_protocol:
            return
        self._is_in_body = False
        self._num_unframed_bytes = 0
        self._clear_deadline()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser refused, in our shape instead of uvicorn's text."""
        del msg
        # httptools cannot split a URL of 64 KiB and more.
        is_too_long = len(getattr(self, "url", b"")) > self._limits.max_url_bytes
        malformed = MalformedRequestError("The request is not valid HTTP/1.1.")
        self._cut(self._too_large_error() if is_too_long else malformed)

    # -- deadlines -----------------------------------------------------------------------------------------------

    @property
    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _set_deadline(self, timeout_s: float) -> None:
        self._clear_deadline()
        self._deadline = AwakeTimer(timeout_s, lambda: self._on_deadline(timeout_s), clock=self.clock, loop=self.loop)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _on_deadline(self, timeout_s: float) -> None:
        if self.flow.read_paused:
            self._set_deadline(timeout_s)
            return
        part = "headers" if self._is_in_head else "body"
        self._cut(RequestTimeoutError(f"The {part} of the request did not arrive within {timeout_s:g} s."))

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection, even if its client has not taken the last answer."""
        self._close()

    def pause_writing(self) -> None:
        """Start the stall timer: the client takes less than we send."""
        super().pause_writing()
        self._clear_stall()
        self._arm_stall()

    def resume_writing(self) -> None:
        """End the stall timer."""
        self._clear_stall()
        super().resume_writing()

    def _arm_stall(self) -> None:
        num_waiting = self.transport.get_write_buffer_size()
        self._stall = AwakeTimer(
            self._limits.write_stall_s, lambda: self._on_stall(num_waiting), clock=self.clock, loop=self.loop
        )

    def _clear_stall(self) -> None:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None

    def _on_stall(self, num_waiting: int) -> None:
        if self.transport.get_write_buffer_size() < num_waiting:
            self._arm_stall()
        else:
            self.transport.abort()

    # -- ends ----------------------------------------------------------------------------------------------------

    def _cut(self, error: RouterError) -> None:
        """End the connection with an error, as an answer if none has begun."""
        if self.transport.is_closing():
            return
        self._clear_deadline()
        if self._is_busy and self.cycle.response_started:
            self.transport.abort()
            return
        if self._is_busy:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            answer_is_owed = True
        else:
            # The deadline of a body whose answer is out already: nothing more to say.
            answer_is_owed = not self._is_in_body
        if answer_is_owed:
            self.transport.write(_raw_response(error, self._dialects.of(self._path())))
        self._close()

    def _close(self) -> None:
        self.transport.close()
        self.loop.call_later(_LINGER_S, self.transport.abort)

    def _path(self) -> str:
        url: bytes = getattr(self, "url", b"/")
        return url.partition(b"?")[0].decode("latin-1")


def _raw_response(error: RouterError, dialect: Dialect) -> bytes:
    response = error_reply(error, dialect)
    headers = [header for header in response.headers if header[0] != b"connection"]
    lines = [name + b": " + value + b"\r\n" for name, value in headers]
    return b"".join([STATUS_LINE[response.status], *lines, b"connection: close\r\n\r\n", response.body])
