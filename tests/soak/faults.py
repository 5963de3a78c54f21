"""The faults, each a function that does its harm, undoes it, and returns what was done; all block, on a thread."""

import contextlib
import json
import os
import random
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx
import psutil

from tests.soak.ground import REPO, Ground, Outage
from tests.support.plain_http import NO_TLS
from tests.support.waiting import wait_until

PULLED: Final = "pulled"

FAULT_S = 6.0
"""How long a fault that lasts, lasts: longer than `limits.stall_timeout_s` of the soak's config."""


def kill_worker(ground: Ground, rng: random.Random) -> str:
    """SIGKILL to a worker."""
    worker = _worker(ground, rng)
    if worker is not None:
        worker.kill()
    return "none was there" if worker is None else f"process {worker.pid}"


def stop_worker(ground: Ground, rng: random.Random) -> str:
    """SIGSTOP to a worker, for so short that it may go on, or for so long that it is given up; then SIGCONT."""
    worker, duration_s = _worker(ground, rng), rng.choice([1.0, FAULT_S])
    if worker is None:
        return "none was there"
    with contextlib.suppress(psutil.NoSuchProcess):
        worker.suspend()
        time.sleep(duration_s)
        worker.resume()
    return f"process {worker.pid} for {duration_s:g} s"


def fill_disk(ground: Ground, rng: random.Random) -> str:
    """Leave no byte on the disk of the data folder, with a pull and an edit of the config meanwhile."""
    if not ground.has_small_disk:
        return "left out: the folder is no disk of its own here"
    ballast = ground.home / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 65536)
    try:
        said = _pull(ground)
        with contextlib.suppress(OSError):
            _edit(ground, {"engine": "mlx"})
        time.sleep(rng.uniform(1, FAULT_S))
    finally:
        ballast.unlink()
        _edit(ground, {})
    return f"a pull meanwhile: {said}"


def storm(ground: Ground, rng: random.Random) -> str:
    """Many clients at once: half requests, garbage, streams that are left, more than the queue takes."""
    port = int(ground.url.rpartition(":")[2])
    body = json.dumps(
        {"model": "tiny", "messages": [{"role": "user", "content": "x"}], "stream": True, "max_tokens": 64}
    )
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    texts = [
        (head + body).encode(),
        (head + body[: len(body) // 2]).encode(),
        head[:30].encode(),
        b"\x16\x03\x01 no request at all\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ]
    connections = []
    with contextlib.suppress(OSError):
        for _ in range(300):
            connections.append(socket.create_connection(("127.0.0.1", port), timeout=5))
            connections[-1].sendall(rng.choice(texts))
    time.sleep(1)
    for connection in connections:
        connection.close()
    return f"{len(connections)} connections"


def edit_config(ground: Ground, rng: random.Random) -> str:
    """Edit the config: another engine, other limits, a mistake, nothing at all; SIGHUP after some."""
    broken = "engine: [\n"
    edits: dict[str, dict[str, object] | str] = {
        "mlx": {"engine": "mlx"},
        "two at a time": {"generation": {"parallel": 2}},
        "mistake": broken,
    }
    name = rng.choice(list(edits))
    _edit(ground, edits[name])
    time.sleep(0.5)
    if rng.random() < 0.5:
        _signal(ground, signal.SIGHUP)
    time.sleep(2)
    ground.config_file.unlink()
    time.sleep(0.5)
    _edit(ground, {})
    return name


def pull(ground: Ground, rng: random.Random) -> str:
    """Pull a model from the hub, or begin to, and remove it again."""
    ground.hub.held_after = rng.choice([None, 20_000])
    try:
        said = _pull(ground)
    finally:
        ground.hub.held_after = None
    with contextlib.suppress(httpx.HTTPError):
        httpx.delete(f"{ground.url}/v1/models/{PULLED}", timeout=30, trust_env=False, verify=NO_TLS)
    return said


def kill_gateway(ground: Ground, rng: random.Random) -> str:
    """SIGKILL to the gateway."""
    return _away(ground, lambda: _signal(ground, signal.SIGKILL), rng)


def hang_gateway(ground: Ground, rng: random.Random) -> str:
    """SIGSTOP to the gateway, until the watchdog finds it."""
    return _away(ground, lambda: _signal(ground, signal.SIGSTOP), rng)


def restart_gateway(ground: Ground, rng: random.Random) -> str:
    """Stop the gateway in order, and start it."""
    del rng
    begun_at = time.monotonic()
    ground.supervisor.stop()
    ground.supervisor.start()
    return _back(ground, begun_at, is_drain=True)


Fault = Callable[[Ground, random.Random], str]

GENTLE: Final = (kill_worker, stop_worker, fill_disk, storm, edit_config, pull)
HARD: Final = (kill_gateway, hang_gateway, restart_gateway)


def _worker(ground: Ground, rng: random.Random) -> psutil.Process | None:
    workers = ground.workers()
    return rng.choice(workers) if workers else None


def _signal(ground: Ground, number: signal.Signals) -> None:
    pid = ground.supervisor.pid
    if pid is not None:
        os.kill(pid, number)


def _away(ground: Ground, harm: Callable[[], None], rng: random.Random) -> str:
    del rng
    begun_at, pid = time.monotonic(), ground.supervisor.pid
    harm()
    wait_until(lambda: ground.supervisor.pid not in {pid, None}, "the supervisor has started another one")
    return _back(ground, begun_at, is_drain=False)


def _back(ground: Ground, begun_at: float, *, is_drain: bool) -> str:
    wait_until(ground.is_ready, "the gateway is ready again")
    ground.outages.append(Outage(begun_at, time.monotonic(), is_drain))
    return f"away for {time.monotonic() - begun_at:.1f} s"


def _edit(ground: Ground, sections: dict[str, object] | str) -> None:
    text = sections if isinstance(sections, str) else json.dumps(ground.config(**sections))
    temporary = Path(f"{ground.config_file}.new")
    temporary.write_text(text)
    temporary.replace(ground.config_file)


def _pull(ground: Ground) -> str:
    """Begin a pull and follow it for a moment; say how far it came."""
    last = "nothing"
    with contextlib.suppress(httpx.HTTPError):
        body = {"reference": REPO, "name": PULLED}
        url = f"{ground.url}/v1/mlxr/models/pull"
        timeout = httpx.Timeout(FAULT_S, connect=5)
        with httpx.stream("POST", url, json=body, timeout=timeout, trust_env=False, verify=NO_TLS) as response:
            until = time.monotonic() + FAULT_S
            if response.status_code != httpx.codes.OK:
                return f"{response.status_code} {json.loads(response.read())['error']['code']}"
            for line in response.iter_lines():
                if line.startswith("data: {"):
                    event = json.loads(line.removeprefix("data: "))
                    last = f"{event.get('type')} {event.get('error') or event.get('message') or ''}"
                if time.monotonic() > until:
                    break
    return last
