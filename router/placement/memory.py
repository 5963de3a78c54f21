"""What memory a load may take here: the machine's, and no more of it than Metal keeps wired.

Not here: what the system tells (`backends.machine`), what a load needs (`memory_need`), what follows from it (`fit`).
"""

import platform
from pathlib import Path
from typing import Final

import msgspec

from backends.machine.base import Platform
from backends.machine.current import current_platform
from registry.engines import EngineKind

WEIGHTS_SHARE: Final = 0.8
"""Of the memory that an engine may have at most; the rest is for the cache, buffers and the system."""

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


class WorkingSet(msgspec.Struct, frozen=True, kw_only=True):
    """What Metal once said of this machine, as it is remembered in a file.

    Attributes:
        working_set_bytes: Metal's recommendedMaxWorkingSetSize, by the system's own rule.
        total_bytes: The memory that the machine had; a data folder may move to another machine.
    """

    working_set_bytes: int
    total_bytes: int


def this_machine() -> Machine:
    """Describe this machine as far as estimates need it."""
    return Machine(has_metal=current_platform().has_metal, is_arm=platform.machine().lower() in {"arm64", "aarch64"})


def read_budget(working_set_file: Path | None = None, system: Platform | None = None) -> MemoryBudget:
    """Read what this machine has.

    Args:
        working_set_file: What `remember_working_set` wrote, if it did; None = it is not known where.
        system: None = this one.
    """
    system = system or current_platform()
    memory = system.memory()
    return MemoryBudget(
        total_bytes=memory.total_bytes,
        available_bytes=memory.available_bytes,
        wired_limit_bytes=_wired_limit(memory.total_bytes, working_set_file, system) if system.has_metal else None,
    )


def weights_budget(budget: MemoryBudget) -> int:
    """Tell how large weights may be on this machine, whatever is loaded now.

    Returns:
        Bytes.
    """
    return int(WEIGHTS_SHARE * (budget.wired_limit_bytes or budget.total_bytes))


def remember_working_set(file: Path, working_set_bytes: int, system: Platform | None = None) -> None:
    """Write down what a worker heard from Metal, unless somebody has set a limit; a full disk is no error."""
    system = system or current_platform()
    known = WorkingSet(working_set_bytes=working_set_bytes, total_bytes=system.memory().total_bytes)
    if system.wired_limit_bytes() is None and _remembered(file) != known:
        try:
            file.write_bytes(msgspec.json.encode(known))
        except OSError:
            return


def _wired_limit(total_bytes: int, file: Path | None, system: Platform) -> int:
    """Return the most memory that Metal keeps wired: what somebody has set, what Metal said, or else a table.

    Source of the table: Macs with up to 32 GB recommend two thirds, those with 36 GB and more at least three quarters.
    """
    if (limit := system.wired_limit_bytes()) is not None:
        return limit
    known = None if file is None else _remembered(file)
    if known is not None and known.total_bytes == total_bytes:
        return known.working_set_bytes
    return int(total_bytes * (_LARGE_SHARE if total_bytes >= _LARGE_MAC_BYTES else _SMALL_SHARE))


def _remembered(file: Path) -> WorkingSet | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=WorkingSet)
    except (OSError, msgspec.DecodeError):  # not there, or cut off by a crash: Metal says it again
        return None
