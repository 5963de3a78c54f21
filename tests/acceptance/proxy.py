"""A proxy on the loopback between a client and the server, which keeps what both said."""

import contextlib
import http.client
import http.server
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

_DROPPED: Final = frozenset({"host", "connection", "keep-alive", "transfer-encoding", "content-length", "upgrade"})
"""What concerns one connection only. Source: RFC 9110, section 7.6.1; and the host, which is another one behind."""

FORWARD_TIMEOUT_S: Final = 300.0
_PIECE: Final = 65_536
_LOOK_S: Final = 0.05


@dataclass
class Exchange:
    """A request and its answer, as far as that came.

    Attributes:
        status: 0 until there is one.
        is_whole: Whether the answer came to its end and the client took all of it.
        times: When the request came and when each piece of the answer did, monotonic seconds.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int = 0
    answer: bytearray = field(default_factory=bytearray)
    is_whole: bool = False
    times: list[float] = field(default_factory=lambda: [time.monotonic()])


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream: str
    exchanges: list[Exchange]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        del format, args

    def _forward(self) -> None:
        exchange = Exchange(self.command, self.path, dict(self.headers.items()), self._body())
        self.exchanges.append(exchange)
        address = urlsplit(self.upstream)
        upstream = http.client.HTTPConnection(address.hostname or "", address.port, timeout=FORWARD_TIMEOUT_S)
        is_over = threading.Event()
        try:
            headers = {name: value for name, value in exchange.headers.items() if name.lower() not in _DROPPED}
            headers["Host"] = address.netloc
            upstream.request(self.command, self.path, exchange.body or None, headers)
            threading.Thread(target=self._hang_up_with_client, args=(upstream.sock, is_over), daemon=True).start()
            self._answer(exchange, upstream.getresponse())
        finally:
            is_over.set()
            upstream.close()

    def _hang_up_with_client(self, upstream: socket.socket, is_over: threading.Event) -> None:
        """Leave the server as soon as the client has gone, also where neither says anything."""
        while not is_over.wait(_LOOK_S):
            with contextlib.suppress(OSError, ValueError):
                if select.select([self.connection], [], [], 0)[0] and not self.connection.recv(1, socket.MSG_PEEK):
                    upstream.shutdown(socket.SHUT_RDWR)
                    return

    do_GET = do_POST = do_HEAD = do_PUT = do_DELETE = do_OPTIONS = _forward  # noqa: N815 - the base class's names

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _answer(self, exchange: Exchange, response: http.client.HTTPResponse) -> None:
        """Pass an answer on as it comes: a stream's events one by one."""
        exchange.status = response.status
        has_body = self.command != "HEAD" and response.status not in {204, 304}
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in _DROPPED:
                self.send_header(name, value)
        if has_body:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while has_body and (piece := response.read1(_PIECE)):
            exchange.answer += piece
            exchange.times.append(time.monotonic())
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.flush()
        if has_body:
            self.wfile.write(b"0\r\n\r\n")
            self.wfile.flush()
        exchange.is_whole = True


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of connections that the client closes."""
        del request, client_address


@contextmanager
def recording_proxy(upstream: str) -> Iterator[tuple[str, list[Exchange]]]:
    """Stand before a server; give the proxy's address, and the exchanges as they come."""
    exchanges: list[Exchange] = []
    handler = type("Handler", (_Handler,), {"upstream": upstream, "exchanges": exchanges})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", exchanges
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
