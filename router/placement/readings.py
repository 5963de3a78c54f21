"""What the machine has free, and what a process holds: thin readings behind one interface for Linux and macOS.

Figures are measured, never derived. Not here: what follows from them.
"""

import mmap
import re
import sys
from pathlib import Path
from typing import Final

import msgspec
import psutil

_PAGESET_COUNT: Final = re.compile(r"^\s+count:\s+(\d+)", re.MULTILINE)


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
