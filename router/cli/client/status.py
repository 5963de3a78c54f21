"""What the command line reads of a server's status. Further fields are ignored, and most may be absent.

The other side of `control/schemas.py`: a server may be of another version than the command line.
"""

from typing import Any

import msgspec


class WorkerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One worker process, as `GET /v1/mlxr/status` has it."""

    id: int | str
    pid: int | None = None
    engine: str
    model: str | None = None
    adapter: str | None = None
    state: str
    rss_bytes: int | None = None
    num_running: int = 0
    num_waiting: int | None = None
    load_ms: float | None = None
    load_fraction: float | None = None
    loaded_at: float | None = None
    context_length: int | None = None
    expires_at: float | None = None


class QueueTarget(msgspec.Struct, frozen=True, kw_only=True):
    """How many requests wait for one model on one engine."""

    model: str
    engine: str
    num_waiting: int


class QueueStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The queue of requests."""

    num_waiting: int = 0
    limit: int | None = None
    oldest_wait_s: float | None = None
    by_target: tuple[QueueTarget, ...] = ()


class ChecksumProgress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the checksums of model files are."""

    num_artifacts_left: int
    done_bytes: int
    total_bytes: int


class ServerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of `GET /v1/mlxr/status`, as far as commands use it; further fields are ignored."""

    version: str
    pid: int
    url: str | None = None
    uptime_s: float = 0.0
    engine_setting: str
    config_error: str | None = None
    checksums: ChecksumProgress | None = None
    residency: str = "exclusive"
    standby: bool = False
    workers: tuple[WorkerStatus, ...] = ()
    queue: QueueStatus = QueueStatus()
    swaps: tuple[dict[str, Any], ...] = ()
