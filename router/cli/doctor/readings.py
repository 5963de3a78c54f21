"""What `mlxr doctor --json` adds: everything as the system tells it, so that one copy of it answers what went wrong.

There are no names of users, folders or models among these. Not here: judging it (`installation.py`).
"""

import os
import platform
import resource
import socket
import time
from typing import Any

import psutil

from backends.machine.current import current_platform
from registry.engines import EngineKind
from router.cli.client.base import Client
from router.cli.client.errors import ClientError
from router.cli.doctor.installation import lifeline, probe_of, start_probe
from router.config.instance import read_instance
from router.config.paths import Paths
from router.placement.memory import read_budget


def readings(paths: Paths) -> dict[str, Any]:
    """Read everything; takes some seconds on a Mac, where MLX is asked for its device."""
    system = current_platform()
    return {
        "system": platform.platform(),
        "has_metal": system.has_metal,
        "memory": system.memory(),
        "budget": read_budget(paths.working_set_file),
        "pressure": system.pressure(),
        "swapped_bytes": system.swapped_bytes(),
        "num_throttled": system.num_throttled(),
        "num_compute_threads": system.num_compute_threads(),
        "psutil_memory": psutil.virtual_memory()._asdict(),
        "psutil_swap": psutil.swap_memory()._asdict(),
        "open_files_limits": resource.getrlimit(resource.RLIMIT_NOFILE),
        "socket_buffers": _socket_buffers(),
        "clocks": _clocks(),
        "machine": system.readings(),
        "processes": _processes(paths),
        "mlx_device": _mlx_device() if system.has_metal else None,
    }


def _mlx_device() -> dict[str, str | int]:
    """Let MLX tell what its library says of the GPU."""
    with lifeline() as stdin:
        return probe_of(start_probe(EngineKind.MLX, stdin)).device


def _socket_buffers() -> list[int]:
    """Return what a pair of unix sockets has for sending and receiving."""
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with one, other:
        return [one.getsockopt(socket.SOL_SOCKET, option) for option in (socket.SO_SNDBUF, socket.SO_RCVBUF)]


def _clocks() -> dict[str, float]:
    """Return the clocks that differ by the time that the machine was asleep."""
    import uvloop  # noqa: PLC0415 - for this alone

    loop = uvloop.new_event_loop()
    try:
        return {"monotonic_s": time.monotonic(), "event_loop_s": loop.time(), "boot_s": psutil.boot_time()}
    finally:
        loop.close()


def _processes(paths: Paths) -> list[dict[str, Any]]:
    """Measure this process, the running server and its workers; `problem` is why a server does not name its workers."""
    own = _process("doctor", os.getpid())
    instance = read_instance(paths)
    if instance is None:
        return [own]
    server = _process("server", instance.pid)
    try:
        with Client(instance) as client:
            workers = client.status().workers
    except ClientError as exc:
        return [own, server | {"problem": str(exc)}]
    return [own, server, *(_process(f"worker of {each.engine}", each.pid) for each in workers if each.pid is not None)]


def _process(what: str, pid: int) -> dict[str, Any]:
    system = current_platform()
    try:
        resident = psutil.Process(pid).memory_info().rss
    except psutil.Error:
        resident = None
    return {
        "what": what,
        "pid": pid,
        "footprint": system.footprint_of(pid),
        "peak_bytes": system.peak_bytes_of(pid),
        "psutil_rss_bytes": resident,
        "raw": system.process_readings(pid),
    }
