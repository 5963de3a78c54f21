"""What Linux tells, by /proc and /sys."""

import ctypes
import mmap
import os
import platform
import re
import signal
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psutil

from backends.machine.base import Footprint, MachineMemory, Platform, Pressure, ThermalReading
from backends.machine.cgroup import ControlGroup, stall_share_of
from backends.machine.thermal import ZONES_DIR, ThermalFiles

_M_ARENA_MAX: Final = -8
_PR_SET_PDEATHSIG: Final = 1
_SO_PEERCRED: Final = 17
_UCRED: Final = struct.Struct("iII")
_CPU_DIR: Final = Path("/sys/devices/system/cpu")
_PAGESET_COUNT: Final = re.compile(r"^\s+count:\s+(\d+)", re.MULTILINE)
_MODEL_NAME: Final = re.compile(r"^model name\s*:\s*(.+)$", re.MULTILINE)


class LinuxPlatform(Platform):
    """See the module.

    Args:
        cpu_dir: For tests, as `zones_dir`.
        group: What limits this process; for tests.
    """

    # A process's memory is free before the process can be reaped: what is missing then was taken by others meanwhile.
    settling_s = 0.25

    def __init__(
        self, cpu_dir: Path = _CPU_DIR, group: ControlGroup | None = None, zones_dir: Path = ZONES_DIR
    ) -> None:
        self._group = group or ControlGroup()
        # Source: Linux, Documentation/ABI/stable/sysfs-devices-system-cpu, thermal_throttle/core_throttle_count.
        self._thermal = ThermalFiles(cpu_dir, zones_dir)
        self._throttle_files = sorted(cpu_dir.glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))

    def memory(self) -> MachineMemory:
        """Take the system's own estimate, with the free pages that it leaves out.

        Those are on the processors' own lists, where freed memory goes first: hundreds of megabytes of it, after a
        large process has ended. In a container, or whatever else limits its processes, the limit is all there is.
        """
        memory, group = psutil.virtual_memory(), self._group.memory()
        total, available = int(memory.total), int(memory.available) + _free_on_cpu_lists()
        if group is not None:
            total, available = min(total, group.limit_bytes), min(available, group.available_bytes)
        return MachineMemory(total_bytes=total, available_bytes=available, held_bytes=total - available)

    def footprint_of(self, pid: int) -> Footprint | None:
        """Read /proc/PID/status. Source: proc(5)."""
        fields = _status_of(pid)
        if fields is None:
            return None
        return Footprint(_kib(fields.get("VmRSS")), _kib(fields.get("RssAnon")) + _kib(fields.get("RssShmem")))

    def peak_bytes_of(self, pid: int) -> int | None:
        """Read `VmHWM`, "Peak resident set size". Source: proc(5)."""
        fields = _status_of(pid)
        return None if fields is None else _kib(fields.get("VmHWM")) or None

    def swapped_bytes(self) -> int:
        """Add up both ways."""
        swap = psutil.swap_memory()
        return int(swap.sin + swap.sout)

    def pressure(self) -> Pressure | None:
        """Linux counts time that was lost for want of memory (`readings` has it) and judges nothing."""
        return None

    def stall_share(self) -> float | None:
        """Read the group's file where it has one, else the machine's."""
        share = self._group.stall_share()
        return stall_share_of(_text_of("/proc/pressure/memory")) if share is None else share

    def peer_uid(self, sock: socket.socket) -> int | None:
        """Ask for SO_PEERCRED, a `struct ucred` of pid, uid and gid. Source: unix(7)."""
        try:
            _, uid, _ = _UCRED.unpack(sock.getsockopt(socket.SOL_SOCKET, _SO_PEERCRED, _UCRED.size))
        except (OSError, struct.error):
            return None
        return int(uid)

    def give_back_free_memory(self) -> None:
        """Source: malloc_trim(3), which only glibc has."""
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)

    def use_one_heap(self) -> None:
        """Source: mallopt(3), M_ARENA_MAX, which only glibc has."""
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_M_ARENA_MAX, 1)

    def wired_limit_bytes(self) -> int | None:
        """There is no Metal."""
        return None

    def num_throttled(self) -> int | None:
        """Return the sum over the cores."""
        try:
            return sum(int(file.read_text()) for file in self._throttle_files) if self._throttle_files else None
        except (OSError, ValueError):
            return None

    def thermal(self) -> ThermalReading | None:
        """Take the hottest of the zones and the throttle counters."""
        return self._thermal.read()

    def cpu_name(self) -> str | None:
        """Read /proc/cpuinfo."""
        found = _MODEL_NAME.search(_text_of("/proc/cpuinfo") or "")
        return found[1].strip() if found else platform.processor() or None

    def machine_secret(self) -> str | None:
        """Source: machine-id(5), "should be considered confidential"."""
        return (_text_of("/etc/machine-id") or "").strip() or None

    def num_compute_threads(self) -> int:
        """Stay below the CPUs of a container or of `taskset`."""
        return min(super().num_compute_threads(), len(os.sched_getaffinity(0)))

    def read_ahead(self, path: Path) -> None:
        """Source: posix_fadvise(2)."""
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)

    def end_with_parent(self) -> None:
        """Source: prctl(2), PR_SET_PDEATHSIG."""
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    def awake_argv(self, pid: int) -> list[str] | None:
        """Nothing: a desktop's own rules let nothing fall asleep that a server runs on."""
        del pid
        return None

    def readings(self) -> Mapping[str, object]:
        """Return the files that the above reads."""
        return {
            "meminfo": (_text_of("/proc/meminfo") or "").splitlines(),
            "free_on_cpu_lists_bytes": _free_on_cpu_lists(),
            "control_group": self._group.memory(),
            "memory_pressure": (_text_of("/proc/pressure/memory") or "").splitlines(),
            "num_throttled": self.num_throttled(),
            "thermal_zones": list(self._thermal.zones()),
            "num_usable_cpus": len(os.sched_getaffinity(0)),
        }

    def process_readings(self, pid: int) -> Mapping[str, object] | None:
        """Return the lines of /proc/PID/status on memory."""
        fields = _status_of(pid)
        return None if fields is None else {name: fields[name].strip() for name in fields if name[:2] in {"Vm", "Rs"}}


def _text_of(path: str) -> str | None:
    """Read a file of the system; None where it is missing, or hidden in a container."""
    try:
        return Path(path).read_text()
    except OSError:
        return None


def _status_of(pid: int) -> dict[str, str] | None:
    text = _text_of(f"/proc/{pid}/status")
    if text is None:
        return None
    return {name: value for name, _, value in (line.partition(":") for line in text.splitlines())}


def _kib(value: str | None) -> int:
    """Read a value of /proc/PID/status, e.g. `  1234 kB`; a zombie has none."""
    return int(value.split()[0]) * 1024 if value else 0


def _free_on_cpu_lists() -> int:
    """Source: Linux, mm/vmstat.c, zoneinfo_show_print: `count: PAGES` under `pagesets`, per processor and zone."""
    zones = _text_of("/proc/zoneinfo") or ""
    return sum(int(count) for count in _PAGESET_COUNT.findall(zones)) * mmap.PAGESIZE
