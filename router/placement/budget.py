"""How much memory a load may take on this machine: what is free, and on a Mac what the GPU may keep wired.

Readings only. Not here: what a load needs (`registry.memory_fit`), what processes hold (`memory`).
"""

import platform
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from registry.engines import EngineKind
from registry.memory_fit import Machine
from router.placement import readings as memory

Run = Callable[[Sequence[str]], str]

_SYSCTL_TIMEOUT_S: Final = 5.0
_LARGE_MAC_BYTES: Final = 36 << 30
_SMALL_SHARE: Final = 2 / 3
_LARGE_SHARE: Final = 3 / 4


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


def read_budget(*, has_metal: bool, run: Run | None = None) -> MemoryBudget:
    """Read what this machine has.

    Args:
        run: Runs a command and gives its output; None = really.

    Returns:
        The budget. Where the limit cannot be read, it is what macOS allows by default.
    """
    total_bytes = memory.total_bytes()
    limit = wired_limit_bytes(total_bytes, run or _run) if has_metal else None
    return MemoryBudget(total_bytes=total_bytes, available_bytes=memory.available_bytes(), wired_limit_bytes=limit)


def wired_limit_bytes(total_bytes: int, run: Run) -> int:
    """Give the most memory that Metal keeps wired.

    Source: `sysctl iogpu.wired_limit_mb`, 0 unless somebody set it; then macOS allows about two thirds of the memory,
    three quarters on machines with more than 36 GB (Metal's recommendedMaxWorkingSetSize).

    Args:
        run: Runs a command and gives its output.

    Returns:
        Bytes.
    """
    try:
        megabytes = int(run(["sysctl", "-n", "iogpu.wired_limit_mb"]).strip())
    except (OSError, subprocess.SubprocessError, ValueError):
        megabytes = 0
    if megabytes > 0:
        return megabytes << 20
    return int(total_bytes * (_LARGE_SHARE if total_bytes > _LARGE_MAC_BYTES else _SMALL_SHARE))


def _run(argv: Sequence[str]) -> str:
    done = subprocess.run(list(argv), capture_output=True, text=True, timeout=_SYSCTL_TIMEOUT_S, check=True)
    return done.stdout
