"""Compare HTTP servers for the gateway: `PYTHONPATH=. python tests/bench/bench_http_servers.py`. Prints one table.

The same Litestar app streams the same chunks from each server, a process of its own; the clients are raw
sockets in this process. CPU is the server's own (user + system, all its processes), without the clients'.
Granian is measured only if it is installed; it is no dependency.
"""

import asyncio
import contextlib
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psutil

HERE = Path(__file__)
CHUNK = (
    b'data: {"id":"chatcmpl-0123456789","object":"chat.completion.chunk","created":1700000000,"model":"m",'
    b'"choices":[{"index":0,"delta":{"content":" token"},"finish_reason":null}]}\n\n'
)
NUM_CHUNKS = 200
LOADS = ((1, 40), (20, 200), (200, 400))  # concurrent streams, streams in all
SLOW_CLIENT_S = 8.0
SERVERS = ("mlxr", "uvicorn-httptools", "uvicorn-h11", "granian")


def make_app() -> Any:
    """Build the app: a health check, an endless and a finite stream, and a body that is read."""
    from litestar import Litestar, Request, get, post
    from litestar.types import ASGIApp

    from router.http.dialect import OPENAI
    from router.http.streaming import EventStream

    async def chunks(num_chunks: int, pause_s: float) -> AsyncIterator[bytes]:
        for _ in range(num_chunks):
            await asyncio.sleep(pause_s)
            yield CHUNK

    def stream_of(num_chunks: int, pause_s: float) -> EventStream:
        return EventStream(chunks(num_chunks, pause_s), dialect=OPENAI)

    @get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @get("/stream")
    async def stream() -> ASGIApp:
        return stream_of(NUM_CHUNKS, 0)

    @get("/two-seconds")
    async def two_seconds() -> ASGIApp:
        return stream_of(40, 0.05)

    @post("/body", status_code=200)
    async def body(request: Request[Any, Any, Any]) -> dict[str, int]:
        return {"length": len(await request.body())}

    return Litestar([health, stream, two_seconds, body], logging_config=None)


def serve(kind: str, path: str) -> None:
    """Run one server on a unix socket until it is stopped. Runs in the child process."""
    if kind == "granian":
        from granian import Granian
        from granian.constants import Interfaces
        from granian.http import HTTP1Settings

        Granian(
            f"{HERE.stem}:make_app",
            factory=True,
            uds=Path(path),
            interface=Interfaces.ASGI,
            log_enabled=False,
            http1_settings=HTTP1Settings(header_read_timeout=3000),
            workers_kill_timeout=10,
        ).serve()
    elif kind == "mlxr":
        from router.http.limits import HttpLimits
        from router.http.server import run
        from tests.support.http_serving import serve as serve_here

        limits = HttpLimits(header_timeout_s=3.0, body_timeout_s=3.0)
        run(serve_here(make_app(), unix_socket=Path(path), limits=limits))
    else:
        import uvicorn

        uvicorn.run(make_app(), uds=path, http=kind.removeprefix("uvicorn-"), log_level="critical", access_log=False)


class Server:
    """One server process and what is measured on it."""

    def __init__(self, kind: str, path: Path) -> None:
        self.path = path
        self.started_at = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, str(HERE), kind, str(path)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parents[2]), str(HERE.parent)])},
            stderr=subprocess.DEVNULL,
        )

    async def until_ready(self) -> float:
        while time.perf_counter() - self.started_at < 20:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                if b"200 OK" in await self.ask("GET /health"):
                    return time.perf_counter() - self.started_at
            await asyncio.sleep(0.01)
        raise TimeoutError(f"{self.path.name} did not start")

    async def connect(self, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_unix_connection(self.path)
        writer.write(data)
        return reader, writer

    async def ask(self, line: str) -> bytes:
        reader, writer = await self.connect(f"{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        received = await reader.read(-1)
        writer.close()
        return received

    def _processes(self) -> list[psutil.Process]:
        root = psutil.Process(self.process.pid)
        return [root, *root.children(recursive=True)]

    def cpu_s(self) -> float:
        times = [process.cpu_times() for process in self._processes()]
        return sum(t.user + t.system for t in times)

    def rss_mb(self) -> float:
        return float(sum(process.memory_info().rss for process in self._processes())) / 1e6


async def stream_load(server: Server, concurrent: int, total: int) -> str:
    """Read streams to their end; return streams per second and CPU per chunk."""
    left = iter(range(total))

    async def client() -> None:
        for _ in left:
            received = await server.ask("GET /stream")
            assert received.count(CHUNK) == NUM_CHUNKS, len(received)

    cpu_s, started_at = server.cpu_s(), time.perf_counter()
    await asyncio.gather(*(client() for _ in range(concurrent)))
    wall_s, cpu_s = time.perf_counter() - started_at, server.cpu_s() - cpu_s
    return f"{total / wall_s:6.0f}/s {cpu_s / total / NUM_CHUNKS * 1e6:5.1f} us"


async def closed_after(server: Server, data: bytes) -> str:
    """Send part of a request and say when the server lost its patience."""
    reader, writer = await server.connect(data)
    started_at = time.perf_counter()
    try:
        async with asyncio.timeout(SLOW_CLIENT_S):
            answer = await reader.read(-1)
    except TimeoutError:
        return f"open after {SLOW_CLIENT_S:.0f} s"
    finally:
        writer.close()
    status = answer[9:12].decode() or "no answer"
    return f"{status} after {time.perf_counter() - started_at:.1f} s"


async def drain(server: Server) -> str:
    """Stop the server while it streams; say whether the stream ended whole, and the exit status."""
    stream = asyncio.create_task(server.ask("GET /two-seconds"))
    await asyncio.sleep(0.5)
    server.process.send_signal(signal.SIGTERM)
    received = await stream
    exit_status = await asyncio.to_thread(server.process.wait, 20)
    whole = "whole" if received.count(CHUNK) == 40 and received.endswith(b"0\r\n\r\n") else "cut"
    return f"{whole}, exit {exit_status}"


async def measure(kind: str, folder: Path) -> dict[str, str]:
    """Measure one server from start to stop."""
    server = Server(kind, folder / f"{kind}.sock")
    try:
        figures = {"ready": f"{await server.until_ready():.2f} s", "RSS idle": f"{server.rss_mb():.0f} MB"}
        for concurrent, total in LOADS:
            figures[f"{concurrent} streams"] = await stream_load(server, concurrent, total)
        figures["RSS after"] = f"{server.rss_mb():.0f} MB"
        header, body = await asyncio.gather(
            closed_after(server, b"GET /health HTTP/1.1\r\nHost: loc"),
            closed_after(server, b"POST /body HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx"),
        )
        figures |= {"half a header": header, "half a body": body}
        figures["socket mode"] = oct(stat.S_IMODE(server.path.stat().st_mode))
        figures["SIGTERM, 1 stream"] = await drain(server)
        return figures
    finally:
        stop(server.process)


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a server that is still there, and wait for it."""
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    process.kill()
    process.wait()


def servers_here() -> Iterator[str]:
    """Name the servers that can be measured."""
    for kind in SERVERS:
        if kind != "granian" or (Path(sys.executable).parent / "granian").exists():
            yield kind


def main() -> None:
    """Measure all servers and print a Markdown table."""
    with tempfile.TemporaryDirectory() as folder:
        results = {kind: asyncio.run(measure(kind, Path(folder))) for kind in servers_here()}
    print("| | " + " | ".join(results) + " |")
    print("|---" * (len(results) + 1) + "|")
    for name in next(iter(results.values())):
        print(f"| {name} | " + " | ".join(result[name] for result in results.values()) + " |")
    print(f"\n{NUM_CHUNKS} chunks of {len(CHUNK)} bytes a stream; Python {sys.version.split()[0]}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(sys.argv[1], sys.argv[2])
    else:
        main()
