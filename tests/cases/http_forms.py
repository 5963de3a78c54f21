"""HTTP as clients and tools write it: bytes on a socket (F3, F5, F11, M11; c02)."""

import gzip
import json
import socket
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from tests.cases.case import CHAT, FAKE, HI, Case, Server, ask
from tests.support.waiting import WITHIN_S

_PATH: Final = CHAT + "/input_tokens"
_BODY: Final = json.dumps({"model": "tooled", "messages": [HI]}).encode()
_CHUNKED: Final = f"{len(_BODY):x}\r\n".encode() + _BODY + b"\r\n0\r\n\r\n"
_H2C: Final = (
    "Connection: Upgrade, HTTP2-Settings",
    "Upgrade: h2c",
    "HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA",
)


def _post(
    *headers: str, body: bytes = _BODY, path: str = _PATH, version: str = "1.1", has_length: bool = True
) -> bytes:
    lines = [f"POST {path} HTTP/{version}", "Host: 127.0.0.1", *headers]
    if has_length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _get(path: str, *headers: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers]).encode() + b"\r\n\r\n"


def _read_answer(stream: socket.socket) -> tuple[int, bytes]:
    """Read one answer with a Content-Length; informational ones before it are skipped."""
    with stream.makefile("rb") as reader:
        while True:
            status = int(reader.readline().split()[1])
            length = 0
            while line := reader.readline().strip():
                name, _, value = line.partition(b":")
                if name.lower() == b"content-length":
                    length = int(value)
            if status >= 200:
                return status, reader.read(length)


def _connection(server: Server) -> socket.socket:
    address = urlsplit(server.gateway.url)
    stream = socket.create_connection((address.hostname or "", address.port or 80), timeout=WITHIN_S)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream


def _sent(server: Server, *packets: bytes) -> tuple[int, bytes]:
    with _connection(server) as stream:
        for packet in packets[:-1]:
            stream.sendall(packet)
            # The head is read before the rest is sent: another request is answered by the same loop.
            server.ask("/health")
        stream.sendall(packets[-1])
        return _read_answer(stream)


def _raw(row: str, name: str, *packets: bytes, status: int = 200, check: Callable[[bytes], None] | None = None) -> Case:
    def run(server: Server) -> None:
        got, body = _sent(server, *packets)
        assert got == status, (got, body[:300])
        if check is not None:
            check(body)

    return Case(row=row, name=name, run=run, engines=FAKE)


def _split(request: bytes) -> tuple[bytes, bytes]:
    head = request.index(b"\r\n\r\n") + 4
    return request[:head], request[head:]


def _counts(body: bytes) -> None:
    assert json.loads(body)["input_tokens"] > 0


def _head(path: str) -> Case:
    """Return the case of a HEAD: the status and the headers of GET, and no body."""

    def run(server: Server) -> None:
        told = server.client.head(path)
        assert told.status_code == 200, told.status_code
        assert not told.content
        assert told.headers["content-type"] == server.client.get(path).headers["content-type"]

    return Case(row="F11", name=f"HEAD {path}", run=run)


def _pipelined(server: Server) -> None:
    with _connection(server) as stream:
        stream.sendall(_post() + _post("Connection: close"))
        answer = b""
        while received := stream.recv(65536):
            answer += received
    assert answer.count(b"HTTP/1.1 200") == 2, answer


def _goes_on_after_h2c(server: Server) -> None:
    """The connection of an upgrade that was ignored serves the next request."""
    head, body = _split(_post(*_H2C))
    with _connection(server) as stream:
        stream.sendall(head)
        server.ask("/health")
        stream.sendall(body)
        assert _read_answer(stream)[0] == 200
        stream.sendall(_post())
        status, body = _read_answer(stream)
        assert status == 200
        _counts(body)


def _both_loopbacks(server: Server) -> None:
    address = urlsplit(server.gateway.url)
    for host in ("127.0.0.1", "::1"):
        with socket.create_connection((host, address.port or 80), timeout=WITHIN_S) as stream:
            stream.sendall(_get("/health"))
            assert _read_answer(stream)[0] == 200


def _large(megabytes: int, status: int) -> Case:
    """Return the case of a message of so many megabytes on a context of a few thousand tokens."""
    message = {"role": "user", "content": "word " * (megabytes * 200_000)}
    return ask("held", f"{megabytes} MB", CHAT, {"messages": [message]}, status=status, says=("error",))


def _preflight(origin: str, status: int, row: str = "held") -> Case:
    def run(server: Server) -> None:
        asked = "content-type,authorization,x-stainless-os,anthropic-version"
        headers = {
            "Origin": origin,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": asked,
        }
        answer = server.client.options(CHAT, headers=headers)
        assert answer.status_code == status, answer.text
        if status == 204:
            assert answer.headers["Access-Control-Allow-Origin"] == origin
            assert "x-stainless-os" in answer.headers["Access-Control-Allow-Headers"].lower()

    return Case(row=row, name=f"a preflight from {origin}", run=run)


CASES: Final[list[Case]] = [
    # Kludex/uvicorn#2722, langchain4j/langchain4j#3682, vllm-project/vllm#57203: the JDK's client
    _raw("F3", "h2c with Content-Length", _post(*_H2C), check=_counts),
    _raw(
        "F3",
        "h2c in chunks",
        _post(*_H2C, "Transfer-Encoding: chunked", body=_CHUNKED, has_length=False),
        check=_counts,
    ),
    _raw("F3", "h2c with the body in a second packet", *_split(_post(*_H2C)), check=_counts),
    _raw("held", "h2c on a GET", _get("/v1/models", *_H2C)),
    _raw("held", "in chunks", _post("Transfer-Encoding: chunked", body=_CHUNKED, has_length=False), check=_counts),
    _raw("held", "Expect: 100-continue", *_split(_post("Expect: 100-continue")), check=_counts),
    _raw("held", "HTTP/1.0", _post(version="1.0"), check=_counts),
    _raw("held", "CRLF round the body", _post(body=b"\r\n" + _BODY + b"\r\n"), check=_counts),
    _raw("held", "text/plain", _post("Content-Type: text/plain; charset=utf-8"), check=_counts),
    _raw("held", "no content type", _post(), check=_counts),
    _raw("held", "identity encoding", _post("Content-Encoding: identity"), check=_counts),
    _raw("held", "gzip is refused", _post("Content-Encoding: gzip", body=gzip.compress(_BODY)), status=415),
    Case(row="held", name="two requests in one packet", run=_pipelined),
    _raw("F11", "a BOM before the body", _post(body=b"\xef\xbb\xbf" + _BODY), check=_counts),
    # lfnovo/esperanto#113, RooCodeInc/Roo-Code#6078, open-webui/open-webui#7491
    _raw("F11", "GET //v1/models", _get("//v1/models")),
    _raw("F11", "GET //api/tags", _get("//api/tags")),
    _raw("F11", "POST //v1", _post(path="/" + _PATH), check=_counts),
    *(_head(path) for path in ("/v1/models", "/v1/models/tooled", "/api/tags", "/api/version", "/health")),
    # ollama/ollama#8788, #433
    *(_preflight(origin, 204) for origin in ("http://localhost:3000", "http://127.0.0.1:8080", "http://[::1]:5173")),
    *(_preflight(origin, 403) for origin in ("https://evil.example", "null", "file://")),
    *(_preflight(origin, 403) for origin in ("capacitor://localhost", "chrome-extension://abcdef", "app://other")),
    # ollama/ollama#4385, logancyang/obsidian-copilot#333, open-octo/octo-agent#1310
    *(
        _preflight(origin, 204, row="F5")
        for origin in ("app://obsidian.md", "tauri://localhost", "moz-extension://1-2")
    ),
    # ollama/ollama#1153, ollama/ollama-js#102
    Case(row="M11", name="both loopbacks", run=_both_loopbacks),
    Case(row="F3", name="the next request behind an upgrade", run=_goes_on_after_h2c),
    _large(5, status=400),
    _large(34, status=413),
    ask("held", "Ollama's greeting", "/", says=("Ollama is running",)),
    ask("held", "Ollama's greeting by HEAD", "/", method="HEAD"),
    *(
        ask("held", f"Host {host}", "/health", headers={"Host": host}, status=status)
        for host, status in {"localhost": 200, "LOCALHOST:1": 200, "[::1]:1": 200, "evil.example": 403}.items()
    ),
]
