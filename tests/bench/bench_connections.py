"""Many clients at once: idle connections beside streams, against the fake engine; nothing may fail.

    python tests/bench/bench_connections.py [--idle 2000] [--streams 500] [--seconds 60]

Idle connections ask once, are silent while the streams run, and ask again. Exit code 1 when any request failed, any
stream ended otherwise than by [DONE] or lacks a token. tests/e2e/test_connections.py is a small form of it.
"""

import argparse
import asyncio
import json
import math
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
import psutil

from registry.scan import register_path
from registry.store import Registry
from router.config.paths import Paths
from tests.support import tiny_model
from tests.support.gateway_process import GatewayProcess

SPARE_FILES = 300
MAX_PARALLEL = 256
"""Sequences of one worker, by the config."""

_HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Load(NamedTuple):
    """What is asked for at once."""

    num_idle: int
    num_streams: int
    seconds: float
    tokens_per_s: float = 2.0

    @property
    def num_tokens(self) -> int:
        """Of each answer."""
        return max(1, round(self.seconds * self.tokens_per_s))


class Seen(NamedTuple):
    """What came of it; times in seconds."""

    errors: list[str]
    first_token_s: list[float]
    gaps_s: list[float]
    duration_s: float
    num_tokens: int
    cpu_s: float
    rss_before_bytes: int
    rss_most_bytes: int
    num_files_most: int


def allow_files(num_files: int) -> None:
    """Raise this process's limit of open files, and so that of what it starts.

    Raises:
        SystemExit: The system does not let it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < num_files:
        if hard != resource.RLIM_INFINITY and hard < num_files:
            raise SystemExit(f"{num_files} open files are needed, the hard limit is {hard}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (num_files, hard))


def measure(load: Load, home: Path) -> Seen:
    """Start a gateway in `home` and put the load on it."""
    paths = Paths.under(home)
    paths.ensure_folders()
    with Registry(paths.registry_db) as registry:
        register_path(registry, tiny_model.write_gguf(home / "tiny.gguf"), name="tiny")
    num_workers = math.ceil(load.num_streams / MAX_PARALLEL)
    config = {
        "server": {"max_connections": load.num_idle + load.num_streams + SPARE_FILES, "idle_timeout_s": 3600},
        "limits": {"max_queue": load.num_streams, "check_memory": False},
        "generation": {"parallel": math.ceil(load.num_streams / num_workers), "workers": num_workers},
        "engine": "llamacpp",
        "llamacpp": {"kv_cells": 1 << 20},  # all answers side by side: nobody waits for another one's end
        "logging": {"level": "warning"},
    }
    options = {"decode_s": 1 / load.tokens_per_s}
    gateway = GatewayProcess(home, config=config, fake_options=options)
    try:
        return asyncio.run(_loaded(gateway, load))
    finally:
        gateway.stop()


async def _loaded(gateway: GatewayProcess, load: Load) -> Seen:
    process, port = psutil.Process(gateway.pid), int(gateway.url.rpartition(":")[2])
    errors: list[str] = []
    first_token_s: list[float] = []
    gaps_s: list[float] = []
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(load.num_idle)]
    await _ask_all(idle, errors)
    before, cpu_before = process.memory_info().rss, sum(process.cpu_times()[:2])
    begun_at = time.monotonic()
    streams = [asyncio.create_task(_stream(port, load, errors, first_token_s, gaps_s)) for _ in range(load.num_streams)]
    most, files = before, process.num_fds()
    while not all(task.done() for task in streams):
        await asyncio.wait(streams, timeout=1.0)
        most, files = max(most, process.memory_info().rss), max(files, process.num_fds())
    num_tokens = sum([task.result() for task in streams])
    duration_s, cpu_s = time.monotonic() - begun_at, sum(process.cpu_times()[:2]) - cpu_before
    await _ask_all(idle, errors)
    for _, writer in idle:
        writer.close()
    return Seen(errors, first_token_s, gaps_s, duration_s, num_tokens, cpu_s, before, most, files)


async def _ask_all(connections: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]], errors: list[str]) -> None:
    for _, writer in connections:
        writer.write(_HEALTH)
    for reader, _ in connections:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(
                next(line for line in head.split(b"\r\n") if line.startswith(b"content-length:")).split(b":")[1]
            )
            await reader.readexactly(length)
        except (OSError, EOFError, asyncio.IncompleteReadError) as exc:
            errors.append(f"an idle connection: {exc!r}")
            continue
        if not head.startswith(b"HTTP/1.1 200"):
            errors.append(f"an idle connection: {head[:40]!r}")


async def _stream(port: int, load: Load, errors: list[str], first_token_s: list[float], gaps_s: list[float]) -> int:
    """Stream one answer; return its number of tokens."""
    body = json.dumps(
        {"model": "tiny", "prompt": "x", "max_tokens": load.num_tokens, "stream": True, "ignore_eos": True}
    )
    head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    sent_at = last_at = time.monotonic()
    num_tokens, is_done = 0, False
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write((head + body).encode())
        while not is_done and (line := await reader.readline()):
            is_done = line.startswith(b"data: [DONE]")
            if line.startswith(b'data: {"error"'):
                errors.append(line.decode(errors="replace")[:200])
            elif b'"text":"' in line and b'"text":""' not in line:
                now = time.monotonic()
                (gaps_s if num_tokens else first_token_s).append(now - last_at)
                last_at, num_tokens = now, num_tokens + 1
        writer.close()
    except OSError as exc:
        errors.append(f"a stream: {exc!r}")
    if not is_done or num_tokens < load.num_tokens:
        errors.append(
            f"a stream ended after {num_tokens} of {load.num_tokens} tokens, {time.monotonic() - sent_at:.1f} s"
        )
    return num_tokens


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--idle", type=int, default=2000)
    parser.add_argument("--streams", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    load = Load(arguments.idle, arguments.streams, arguments.seconds)
    allow_files(load.num_idle + load.num_streams + 2 * SPARE_FILES)
    with tempfile.TemporaryDirectory(prefix="mlxr-bench-") as folder:
        seen = measure(load, Path(folder))
    print(f"{load.num_idle} idle connections and {load.num_streams} streams for {seen.duration_s:.1f} s")
    print(f"errors: {len(seen.errors)}", *seen.errors[:10], sep="\n  ")
    print(f"tokens: {seen.num_tokens}, {seen.num_tokens / seen.duration_s:.0f} tokens/s")
    for name, values in (("first token", seen.first_token_s), ("gap", seen.gaps_s)):
        p50, p99 = statistics.median(values or [0.0]), _percentile(values, 0.99)
        print(f"{name}: p50 {p50 * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, most {max(values or [0.0]) * 1000:.0f} ms")
    print(f"gateway: {seen.cpu_s:.1f} s of CPU, {seen.cpu_s / max(1, seen.num_tokens) * 1e6:.0f} us per token")
    rss = f"{seen.rss_before_bytes / 1e6:.0f} MB with the idle connections, at most {seen.rss_most_bytes / 1e6:.0f} MB"
    print(f"gateway: {rss}, {seen.num_files_most} open files")
    return 1 if seen.errors else 0


if __name__ == "__main__":
    sys.exit(main())
