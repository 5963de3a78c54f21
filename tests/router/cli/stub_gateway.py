"""A small real HTTP server with the gateway's shapes, for what a real gateway would not do on command."""

import http.server
import json
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from backends.wire.output import FinishReason
from registry.engines import EngineKind
from router.config.instance import InstanceLock, RunningInstance
from router.config.paths import Paths
from router.protocols.answers import sse_event
from router.protocols.openai.answer_schemas import ChatChunk, ChatChunkChoice, Delta, Timings
from router.status import QueueStatus, Status, WaitingTarget, WorkerStatus

TIMINGS: Final = Timings(
    cache_n=0,
    prompt_n=12,
    prompt_ms=1.0,
    prompt_per_token_ms=None,
    prompt_per_second=245.14,
    predicted_n=64,
    predicted_ms=1.0,
    predicted_per_token_ms=None,
    predicted_per_second=90.2,
    engine=EngineKind.LLAMACPP,
    engine_reason=None,
    load_ms=310.0,
    queue_ms=0.0,
)


def chunk(
    text: str | UnsetType = UNSET,
    *,
    reasoning: str | UnsetType = UNSET,
    reason: FinishReason | None = None,
    timings: Timings | UnsetType = UNSET,
) -> ChatChunk:
    delta = Delta(content=text, reasoning_content=reasoning)
    return ChatChunk(
        id="chatcmpl-1",
        object="chat.completion.chunk",
        created=7,
        model="m",
        choices=[ChatChunkChoice(index=0, delta=delta, logprobs=None, finish_reason=reason)],
        timings=timings,
    )


def worker(model: str | None, **fields: Any) -> dict[str, Any]:
    status = WorkerStatus(
        id=1,
        pid=42,
        engine="llamacpp",
        model=model,
        adapter=None,
        state="ready",
        rss_bytes=350_000_000,
        num_running=0,
        num_background=0,
        num_waiting=None,
        load_ms=None,
        load_fraction=None,
        loaded_at=0.0,
        context_length=512,
        devices=[],
        engine_versions={},
        features="",
        path=None,
        load={},
        num_threads=None,
        expires_at=None,
    )
    return msgspec.to_builtins(status) | fields  # type: ignore[no-any-return]


def queue(*targets: WaitingTarget) -> dict[str, Any]:
    num_waiting = sum(target.num_waiting for target in targets)
    status = QueueStatus(
        num_waiting=num_waiting,
        num_background=0,
        limit=64,
        limit_background=1024,
        oldest_wait_s=None,
        by_target=list(targets),
    )
    return msgspec.to_builtins(status)  # type: ignore[no-any-return]


STATUS: Final = Status(
    version="0.1.0",
    pid=7,
    uptime_s=1.0,
    url=None,
    engine_setting="auto",
    config_error=None,
    residency="exclusive",
    standby=False,
    workers=[],
    queue=msgspec.convert(queue(), QueueStatus),
    swaps=[],
    memory_total_bytes=16 << 30,
    memory_available_bytes=8 << 30,
    gateway_rss_bytes=None,
    checksums=None,
)


class StubGateway:
    """What the server answers, settable while it runs, and what it was asked."""

    def __init__(self) -> None:
        self.status: dict[str, Any] = msgspec.to_builtins(STATUS) | {"further": "fields are ignored"}
        self.status_of: Callable[[], dict[str, Any]] = lambda: self.status
        self.answers: dict[str, tuple[int, str] | Callable[[Any], tuple[int, str]]] = {}
        self.events: list[ChatChunk | str] = []
        self.requests: list[tuple[str, Any, dict[str, str]]] = []
        self.was_hung_up = threading.Event()
        self.is_endless = False
        self.ends: Callable[[], None] = lambda: None


class _Handler(http.server.BaseHTTPRequestHandler):
    stub: StubGateway

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        del format, args

    def address_string(self) -> str:
        return "unix"

    def do_GET(self) -> None:
        self._answer(None)

    def do_DELETE(self) -> None:
        self._answer("deleted")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_json = self.headers.get("Content-Type") == "application/json"
        self._answer(json.loads(body) if is_json else body)

    def _answer(self, body: Any) -> None:
        stub = self.stub
        stub.requests.append((self.path, body, dict(self.headers)))
        if self.path in stub.answers:
            answer = stub.answers[self.path]
            status, text = answer(body) if callable(answer) else answer
            self._send(status, "application/json", text)
        elif self.path == "/v1/mlxr/status":
            self._send(200, "application/json", json.dumps(stub.status_of()))
        elif self.path in {"/v1/chat/completions", "/v1/completions"}:
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
            self.wfile.write(event.encode() if isinstance(event, str) else sse_event(event))
            self.wfile.flush()
        try:
            while self.stub.is_endless:
                self.wfile.write(sse_event(chunk("more ")))
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
            stub.ends = paths.instance_file.unlink
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
