"""What memory this machine has and what processes hold: thin readings behind one interface for Linux and macOS.

The room where memory pressure is known: whoever acts on it asks `available_bytes` (before a load, and after a worker's
end until the memory is back), `footprint_of` and `rss_of` (workers over their limit) and `read_budget` (what a load may
take). Figures are measured, never derived. Not here: what a load needs (`memory_need`), what follows from it (`fit`).
"""

import mmap
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import psutil

from registry.engines import EngineKind

Run = Callable[[Sequence[str]], str]

_PAGESET_COUNT: Final = re.compile(r"^\s+count:\s+(\d+)", re.MULTILINE)
_COMMAND_TIMEOUT_S: Final = 5.0
_LARGE_MAC_BYTES: Final = 36 << 30
_SMALL_SHARE: Final = 2 / 3
_LARGE_SHARE: Final = 3 / 4


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What decides how an engine keeps weights.

    Attributes:
        has_metal: MLX computes on a GPU, in the weights' own type; on a CPU it converts them to float32.
        is_arm: llama.cpp's CPU kernels for ARM have an order of their own for more types.
    """

    has_metal: bool
    is_arm: bool


class Footprint(msgspec.Struct, frozen=True):
    """Memory of one process, bytes.

    Attributes:
        rss_bytes: Resident, mapped files included (a GGUF's weights are a mapped file).
        anonymous_bytes: Resident and backed by no file: what the system has back as free memory when the process ends.
            Pages of mapped files stay in the page cache, which counts as available anyway.
    """

    rss_bytes: int
    anonymous_bytes: int


def available_bytes() -> int:
    """Return the memory that new work could take without swapping.

    The system's own estimate; on Linux with the free pages that it leaves out: those on the processors' own lists,
    where freed memory goes first (hundreds of megabytes of it, after a large process has ended).
    """
    available = int(psutil.virtual_memory().available)
    return available + _free_on_cpu_lists() if sys.platform == "linux" else available


def total_bytes() -> int:
    """Return the machine's memory."""
    return int(psutil.virtual_memory().total)


def footprint_of(pid: int) -> Footprint | None:
    """Measure a process; None when it is gone or may not be looked at."""
    try:
        return _footprint_from_proc(pid) if sys.platform == "linux" else _footprint_from_psutil(pid)
    except (psutil.Error, OSError):
        return None


def rss_of(pid: int) -> int | None:
    """Return a process's resident memory in bytes; cheap; None when it is gone."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return None


class MemoryBudget(msgspec.Struct, frozen=True, kw_only=True):
    """What new work may take.

    Attributes:
        available_bytes: What is free for new work without swapping.
        wired_limit_bytes: Most that Metal may keep wired; None where there is no Metal.
    """

    total_bytes: int
    available_bytes: int
    wired_limit_bytes: int | None = None

    def available_for(self, engine: EngineKind) -> int:
        """Give the bytes that an engine's worker may take now.

        With Metal no more than the wired limit; llamacpp computes on the CPU and is not limited by it.
        """
        if engine is EngineKind.MLX and self.wired_limit_bytes is not None:
            return min(self.available_bytes, self.wired_limit_bytes)
        return self.available_bytes


def this_machine() -> Machine:
    """Describe this machine as far as estimates need it."""
    is_arm = platform.machine().lower() in {"arm64", "aarch64"}
    return Machine(has_metal=is_arm and sys.platform == "darwin", is_arm=is_arm)


def read_budget(machine: Machine | None = None, run: Run | None = None) -> MemoryBudget:
    """Read what this machine has; where the limit cannot be read, it is what macOS allows by default.

    Args:
        machine: None = this one.
        run: Runs a command and gives its output; None = really.
    """
    total = total_bytes()
    limit = wired_limit_bytes(total, run or run_command) if (machine or this_machine()).has_metal else None
    return MemoryBudget(total_bytes=total, available_bytes=available_bytes(), wired_limit_bytes=limit)


def wired_limit_bytes(total_bytes: int, run: Run) -> int:
    """Return the most memory that Metal keeps wired.

    Source: `sysctl iogpu.wired_limit_mb`, 0 unless somebody set it; then macOS allows about two thirds of the memory,
    three quarters on machines with more than 36 GB (Metal's recommendedMaxWorkingSetSize).
    """
    try:
        megabytes = int(run(["sysctl", "-n", "iogpu.wired_limit_mb"]).strip())
    except (OSError, subprocess.SubprocessError, ValueError):
        megabytes = 0
    if megabytes > 0:
        return megabytes << 20
    return int(total_bytes * (_LARGE_SHARE if total_bytes > _LARGE_MAC_BYTES else _SMALL_SHARE))


def run_command(argv: Sequence[str]) -> str:
    """Run a command and return its output.

    Raises:
        OSError: There is no such command.
        subprocess.SubprocessError: It failed or took too long.
    """
    done = subprocess.run(list(argv), capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=True)
    return done.stdout


def _kib(value: str | None) -> int:
    """Read a value of /proc/PID/status, e.g. `  1234 kB`; a zombie has none."""
    return int(value.split()[0]) * 1024 if value else 0


def _footprint_from_proc(pid: int) -> Footprint:
    """Source: proc(5), /proc/PID/status."""
    status = Path(f"/proc/{pid}/status").read_text()
    fields = {name: value for name, _, value in (line.partition(":") for line in status.splitlines())}
    return Footprint(_kib(fields.get("VmRSS")), _kib(fields.get("RssAnon")) + _kib(fields.get("RssShmem")))


def _footprint_from_psutil(pid: int) -> Footprint:
    full = psutil.Process(pid).memory_full_info()
    return Footprint(int(full.rss), int(full.uss))


def _free_on_cpu_lists() -> int:
    """Source: Linux, mm/vmstat.c, zoneinfo_show_print: `count: PAGES` under `pagesets`, per processor and zone."""
    try:
        zones = Path("/proc/zoneinfo").read_text()
    except OSError:  # hidden in some containers
        return 0
    return sum(int(count) for count in _PAGESET_COUNT.findall(zones)) * mmap.PAGESIZE
