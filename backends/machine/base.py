"""What both systems tell of the machine and of processes, as one interface; thin, and the same for gateway and workers.

Figures are measured, never derived from a table. No call needs a privilege. Those of memory are made on threads by who
has an event loop: they are system calls and small files, but a machine that is short of memory answers late. Not here:
what follows from the figures (`router.placement`).
"""

import abc
import enum
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

import msgspec
import psutil

MLX_DEVICE_VARIABLE: Final = "MLXR_MLX_DEVICE"
"""Environment variable: `cpu` makes MLX compute on the CPU of a Mac, where there is no GPU or it is not to be used."""


class Footprint(msgspec.Struct, frozen=True):
    """Memory of one process, bytes.

    Attributes:
        rss_bytes: All that it has of the machine's memory, with mapped files (a GGUF's weights) and Metal's buffers.
        anonymous_bytes: The part that no file backs: what the system has back as free memory when the process ends.
            Pages of mapped files stay in the page cache, which counts as available anyway.
    """

    rss_bytes: int
    anonymous_bytes: int


class MachineMemory(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of the machine, bytes.

    Attributes:
        available_bytes: What new work could take without swapping.
        held_bytes: What falls by a process's `anonymous_bytes` when it ends.
    """

    total_bytes: int
    available_bytes: int
    held_bytes: int


class GPUUse(msgspec.Struct, frozen=True):
    """What the GPU does; None = it does not tell.

    Attributes:
        busy_share: Share of the last moments in which it had work, 0..1.
        used_bytes: Memory of the machine that its driver has in use.
    """

    busy_share: float | None
    used_bytes: int | None


class Pressure(enum.StrEnum):
    """How short of memory the system thinks it is; its own judgement, no threshold of ours."""

    NORMAL = "normal"
    WARNING = "warning"
    CRITICAL = "critical"


class ThermalState(enum.StrEnum):
    """How hot the machine is, in macOS' words. Source: NSProcessInfoThermalState."""

    NOMINAL = "nominal"
    FAIR = "fair"
    SERIOUS = "serious"
    CRITICAL = "critical"


class ThermalReading(msgspec.Struct, frozen=True):
    """How hot the machine is, and by what that is known, in words."""

    state: ThermalState
    reason: str


class Platform(abc.ABC):
    """The system that this runs on.

    Attributes:
        has_metal: MLX computes on a GPU.
        has_own_level: `pressure` alone says how short memory is: a healthy machine has most of it in use.
        memory_age_s: How old what `memory` tells may be.
        settling_s: How long `memory` may tell the same after a process's end before waiting for more makes no sense.
    """

    has_metal: bool = False
    has_own_level: ClassVar[bool] = False
    memory_age_s: ClassVar[float] = 0.0
    settling_s: ClassVar[float]

    @abc.abstractmethod
    def memory(self) -> MachineMemory:
        """Measure the machine's memory."""

    @abc.abstractmethod
    def footprint_of(self, pid: int) -> Footprint | None:
        """Measure a process of this user; None when it is gone."""

    @abc.abstractmethod
    def peak_bytes_of(self, pid: int) -> int | None:
        """Return the most that a process has had; None when it is gone."""

    @abc.abstractmethod
    def swapped_bytes(self) -> int:
        """Return what was written to or read from swap since the system was started."""

    @abc.abstractmethod
    def pressure(self) -> Pressure | None:
        """Return what the system says of its memory; None where it does not judge."""

    def stall_share(self) -> float | None:
        """Return the share of the last 10 s in which everything waited for memory, 0..1; None = it is not told."""
        return None

    def gpu_use(self) -> GPUUse | None:
        """Return what the GPU that MLX computes on does; None = there is none. May take some tens of milliseconds."""
        return None

    @abc.abstractmethod
    def peer_uid(self, sock: socket.socket) -> int | None:
        """Return the user whose process is at the other end of a unix socket; None where the system does not tell."""

    @abc.abstractmethod
    def give_back_free_memory(self) -> None:
        """Let this process's allocator return to the system what was freed in it."""

    def use_one_heap(self) -> None:  # noqa: B027 - most systems have one already
        """Let the threads that are started from now on share the heap of the first, where each would get its own."""

    @abc.abstractmethod
    def wired_limit_bytes(self) -> int | None:
        """Return what somebody has set as the most that Metal may keep wired; None = nobody has."""

    @abc.abstractmethod
    def num_throttled(self) -> int | None:
        """Return a count that grows when the processor is slowed down for heat; None = the system does not tell.

        May wait for a daemon of the system for a moment: for benchmarks and for people, not for the gateway.
        """

    @abc.abstractmethod
    def thermal(self) -> ThermalReading | None:
        """Return how hot the machine is; None = the system does not tell."""

    @abc.abstractmethod
    def cpu_name(self) -> str | None:
        """Return the processor's name."""

    @abc.abstractmethod
    def machine_secret(self) -> str | None:
        """Return what names this machine and no other; to be hashed, never to be shown."""

    def num_compute_threads(self) -> int:
        """Return how many threads do matrix products best, >= 1: one per core that does the same work as the others.

        Physical cores, because two hardware threads share the vector units; never more than this process may use.
        """
        return max(1, psutil.cpu_count(logical=False) or os.cpu_count() or 1)

    def idle_s(self) -> float:
        """Return how long cores had nothing to do but what may wait, summed over all since the system was started."""
        times = psutil.cpu_times()
        return float(times.idle + times.nice + getattr(times, "iowait", 0.0))

    @abc.abstractmethod
    def read_ahead(self, path: Path) -> None:
        """Have a file read into the system's cache, without waiting for all of it."""

    @abc.abstractmethod
    def end_with_parent(self) -> None:
        """Let this process be killed when its parent ends, whatever it does then."""

    @abc.abstractmethod
    def awake_argv(self, pid: int) -> list[str] | None:
        """Return the command that keeps the machine from falling asleep until `pid` ends; None = nothing needs to."""

    def is_guarded(self, path: Path, home: Path) -> bool:
        """Tell whether the system asks its user before a program reads a folder."""
        del path, home
        return False

    @abc.abstractmethod
    def readings(self) -> Mapping[str, object]:
        """Return everything as the system tells it, undigested, for people who look for a mistake in the above."""

    @abc.abstractmethod
    def process_readings(self, pid: int) -> Mapping[str, object] | None:
        """Return the same of a process; None when it is gone."""


def is_cpu_wanted() -> bool:
    """Read the one switch that gateway and workers must understand alike, wherever they look at the machine."""
    return os.environ.get(MLX_DEVICE_VARIABLE, "").lower() == "cpu"
