"""A small real HTTP server with the gateway's shapes, for what a real gateway would not do on command."""

import http.server
import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from router.config.instance import InstanceLock, RunningInstance
from router.config.paths import Paths


def chunk(text: str | None = None, **fields: Any) -> str:
    """One `chat.completion.chunk` as an SSE event; `fields` go to the choice, `timings` to the top."""
    timings = fields.pop("timings", None)
    delta = {"content": text} if text is not None else {}
    body: dict[str, Any] = {"choices": [{"index": 0, "delta": delta, "finish_reason": None} | fields]}
    if timings is not None:
        body["timings"] = timings
    return f"data: {json.dumps(body)}\n\n"


def worker(model: str | None, **fields: Any) -> dict[str, Any]:
    facts = {"id": 1, "pid": 42, "engine": "llamacpp", "model": model, "state": "ready", "rss_bytes": 350_000_000}
    return facts | {"num_running": 0, "num_waiting": None, "context_length": 512, "loaded_at": 0.0} | fields


class StubGateway:
    """What the server answers, settable while it runs, and what it was asked."""

    def __init__(self) -> None:
        self.status: dict[str, Any] = {
            "version": "0.1.0",
            "pid": 7,
            "url": None,
            "uptime_s": 1.0,
            "engine_setting": "auto",
            "config_error": None,
            "workers": [],
            "queue": {"num_waiting": 0, "limit": 64, "oldest_wait_s": None, "by_target": []},
            "swaps": [],
            "further": "fields are ignored",
        }
        self.status_of: Callable[[], dict[str, Any]] = lambda: self.status
        self.answers: dict[str, tuple[int, str]] = {}
        self.events: list[str] = []
        self.requests: list[tuple[str, Any, dict[str, str]]] = []
        self.was_hung_up = threading.Event()
        self.is_endless = False


class _Handler(http.server.BaseHTTPRequestHandler):
    stub: StubGateway

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        del format, args

    def address_string(self) -> str:
        return "unix"

    def do_GET(self) -> None:
        self._answer(None)

    def do_POST(self) -> None:
        self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _answer(self, body: Any) -> None:
        stub = self.stub
        stub.requests.append((self.path, body, dict(self.headers)))
        if self.path in stub.answers:
            status, text = stub.answers[self.path]
            self._send(status, "application/json", text)
        elif self.path == "/v1/mlxr/status":
            self._send(200, "application/json", json.dumps(stub.status_of()))
        elif self.path == "/v1/chat/completions":
            self._stream()
        else:
            self._send(404, "text/plain", "no such route")

    def _send(self, status: int, kind: str, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for event in self.stub.events:
            self.wfile.write(event.encode())
            self.wfile.flush()
        try:
            while self.stub.is_endless:
                self.wfile.write(chunk("more ").encode())
                self.wfile.flush()
        except (BrokenPipeError, ConnectionResetError):
            self.stub.was_hung_up.set()
        self.close_connection = True


class _UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


@contextmanager
def running_stub(paths: Paths, *, unix_socket: Path | None = None) -> Iterator[StubGateway]:
    """Serve, and hold the data folder's lock as a gateway does."""
    stub = StubGateway()
    handler = type("Handler", (_Handler,), {"stub": stub})
    paths.ensure_folders()
    server: socketserver.BaseServer
    if unix_socket is None:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        url = f"http://127.0.0.1:{server.server_address[1]}"
    else:
        server = _UnixServer(str(unix_socket), handler)
        url = "http://127.0.0.1:9"
    stub.status["url"] = url
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with InstanceLock.acquire(paths) as lock:
            socket_path = None if unix_socket is None else str(unix_socket)
            lock.publish(RunningInstance(pid=7, url=url, unix_socket=socket_path, version="0.1.0", started_at=0.0))
            yield stub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
