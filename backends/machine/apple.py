"""What macOS tells on Apple Silicon: by libSystem through ctypes, and what it is asked to do by kqueue and caffeinate.

Nothing here asks for another process's task port, which needs root and may wait for ever for a daemon (psutil does it
for `memory_full_info`). `host_statistics64` is answered from a cache when programs together ask more often than two to
ten times in a second.

Source: Apple's headers <libproc.h> (proc_pid_rusage), <sys/resource.h>, <mach/mach_host.h>, <mach/vm_statistics.h>,
<sys/sysctl.h>, <notify.h>; XNU, osfmk/kern/host.c, rate_limit_host_statistics ("Access control only for third party
applications", HOST_STATISTICS_TIME_WINDOW 1 second).
"""

import contextlib
import ctypes
import fcntl
import mmap
import os
import re
import select
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil

from backends.machine.apple_structures import RUsageV4, VMStatistics64
from backends.machine.base import (
    Footprint,
    GPUUse,
    MachineMemory,
    Platform,
    Pressure,
    ThermalReading,
    ThermalState,
)

LIBRARY: Final = "/usr/lib/libSystem.B.dylib"
_RUSAGE_INFO_V4: Final = 4
_HOST_VM_INFO64: Final = 4
_THERMAL_LEVEL: Final = b"com.apple.system.thermalpressurelevel"
_SOL_LOCAL: Final = 0
_LOCAL_PEERCRED: Final = 1
_XUCRED_VERSION: Final = 0
_XUCRED_BYTES: Final = 76
"""Of cr_version, cr_uid, cr_ngroups and 16 groups. Source: <sys/ucred.h>, XUCRED_VERSION."""
_F_RDADVISE: Final = 44
"""Source: <sys/fcntl.h>, with struct radvisory {off_t ra_offset; int ra_count;}."""
_READ_AHEAD_BYTES: Final = 1 << 30
_HEAVY: Final = 2
"""Source: <libkern/OSThermalNotification.h>: 0 nominal, 1 moderate, 2 heavy, 3 trapping, 4 sleeping. From "heavy" on
the system lowers the processors' speed."""
_THERMAL_STATES: Final = {
    0: ThermalState.NOMINAL,
    1: ThermalState.FAIR,
    2: ThermalState.SERIOUS,
    3: ThermalState.CRITICAL,
    4: ThermalState.CRITICAL,
}
_PRESSURES: Final = {1: Pressure.NORMAL, 2: Pressure.WARNING, 4: Pressure.CRITICAL}
"""Source: <sys/kern_memorystatus.h>, kVMPressureNormal, kVMPressureWarning, kVMPressureCritical."""
_GUARDED: Final = ("Desktop", "Documents", "Downloads", "Library/Mobile Documents")
_PLATFORM_ID: Final = re.compile(r'"IOPlatformUUID" = "([^"]+)"')
_GPU_BUSY: Final = re.compile(r'"Device Utilization %"=(\d+)')
_GPU_BYTES: Final = re.compile(r'"In use system memory"=(\d+)')
"""Source: `PerformanceStatistics` of IOAccelerator as `ioreg` prints it; Apple documents neither."""
_TOOL_TIMEOUT_S: Final = 10.0
_TOOL_LINES: Final = 40
_MAX_TEXT_BYTES: Final = 256
_TEXT_SYSCTLS: Final = ("hw.model", "machdep.cpu.brand_string", "kern.osproductversion")
_NUMBER_SYSCTLS: Final = (
    "kern.hv_vmm_present",
    "sysctl.proc_translated",
    "hw.memsize",
    "hw.pagesize",
    "hw.physicalcpu",
    "hw.nperflevels",
    "iogpu.wired_limit_mb",
    "kern.memorystatus_vm_pressure_level",
    "kern.memorystatus_level",
    "vm.memory_pressure",
    "vm.page_free_count",
    "vm.page_pageable_internal_count",
    "vm.page_pageable_external_count",
    "vm.compressor_bytes_used",
    "kern.maxfilesperproc",
    "kern.ipc.somaxconn",
    "net.local.stream.sendspace",
    "net.local.stream.recvspace",
)
"""What only a Mac can tell, for `readings`."""


class CoreLevel(NamedTuple):
    """The cores of one kind, the fastest kind first."""

    name: str | None
    num_cores: int


class ApplePlatform(Platform):
    """See the module.

    Args:
        library: What has the functions of libSystem; None = libSystem.
        is_cpu_wanted: MLX is to leave the GPU alone.
    """

    has_own_level = True
    memory_age_s = 1.1
    settling_s = 1.5

    def __init__(self, library: Any = None, *, is_cpu_wanted: bool = False) -> None:
        self._library: Any = ctypes.CDLL(LIBRARY, use_errno=True) if library is None else library
        self._library.mach_host_self.restype = ctypes.c_uint32
        self._library.host_statistics64.argtypes = [ctypes.c_uint32, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
        self._library.sysctlbyname.argtypes = [ctypes.c_char_p, *[ctypes.c_void_p] * 3, ctypes.c_size_t]
        self._host = self._library.mach_host_self()  # once: each call adds a reference to the port
        self.has_metal = not is_cpu_wanted
        self._num_throttled = 0

    # ---- memory -----------------------------------------------------------------------------------------------------

    def memory(self) -> MachineMemory:
        """Take for used what Activity Monitor calls "Memory Used": what no file backs, wired and compressed pages.

        So pages of files count as available, which are dropped when somebody needs the room.
        """
        total = self._sysctl_number("hw.memsize") or int(psutil.virtual_memory().total)
        try:
            pages = self._vm_statistics()
        except OSError:
            available = int(psutil.virtual_memory().available)
            return MachineMemory(total_bytes=total, available_bytes=available, held_bytes=total - available)
        unbacked = pages.internal - pages.purgeable + pages.wire
        return MachineMemory(
            total_bytes=total,
            available_bytes=max(0, total - (unbacked + pages.compressor) * mmap.PAGESIZE),
            held_bytes=(unbacked + pages.uncompressed) * mmap.PAGESIZE,
        )

    def footprint_of(self, pid: int) -> Footprint | None:
        """Take the larger one for all of it: the resident size lacks Metal's memory, the footprint mapped files."""
        usage = self._rusage(pid)
        if usage is None:
            return None
        return Footprint(max(usage.resident_size, usage.phys_footprint), usage.phys_footprint)

    def peak_bytes_of(self, pid: int) -> int | None:
        """Take mapped files as they are now, because of them no peak is kept."""
        usage = self._rusage(pid)
        return None if usage is None else max(usage.resident_size, usage.lifetime_max_phys_footprint)

    def swapped_bytes(self) -> int:
        """Add up both ways; `pageins`, which psutil takes, are those of mapped files as well."""
        pages = self._vm_statistics()
        return int(pages.swapins + pages.swapouts) * mmap.PAGESIZE

    def pressure(self) -> Pressure | None:
        """Ask for the level that the colours of Activity Monitor's graph stand for."""
        return _PRESSURES.get(self._sysctl_number("kern.memorystatus_vm_pressure_level") or 0)

    def peer_uid(self, sock: socket.socket) -> int | None:
        """Ask for LOCAL_PEERCRED, of whose `struct xucred` version and uid come first; not run on a Mac.

        Source: <sys/un.h>, <sys/ucred.h>.
        """
        try:
            told = sock.getsockopt(_SOL_LOCAL, _LOCAL_PEERCRED, _XUCRED_BYTES)
            version, uid = struct.unpack_from("II", told)
        except (OSError, struct.error):
            return None
        return int(uid) if version == _XUCRED_VERSION else None

    def give_back_free_memory(self) -> None:
        """Source: <malloc/malloc.h>, malloc_zone_pressure_relief; NULL = all zones, 0 = as much as possible."""
        self._library.malloc_zone_pressure_relief(None, ctypes.c_size_t(0))

    def wired_limit_bytes(self) -> int | None:
        """Source: `sysctl iogpu.wired_limit_mb`, 0 unless somebody set it."""
        return (self._sysctl_number("iogpu.wired_limit_mb") or 0) << 20 or None

    # ---- processors -------------------------------------------------------------------------------------------------

    def num_throttled(self) -> int | None:
        """Count the looks that found it so, this one included."""
        level = self._thermal_level()
        if level is None:
            return None
        self._num_throttled += level >= _HEAVY
        return self._num_throttled

    def thermal(self) -> ThermalReading | None:
        """Name the system's own level as NSProcessInfo does."""
        level = self._thermal_level()
        state = None if level is None else _THERMAL_STATES.get(level)
        return None if state is None else ThermalReading(state, f"the system's thermal pressure level is {level}")

    def cpu_name(self) -> str | None:
        """Return e.g. `Apple M3 Pro`."""
        return self._sysctl_text("machdep.cpu.brand_string")

    def machine_secret(self) -> str | None:
        """Ask ioreg; libSystem has no such call."""
        found = _PLATFORM_ID.search(_output_of("/usr/sbin/ioreg", "-rd1", "-c", "IOPlatformExpertDevice"))
        return found[1] if found else None

    def num_compute_threads(self) -> int:
        """Leave out the cores of the levels named "Efficiency": the slowest thread sets the pace of a matrix product.

        Source: Apple, "Determining system capabilities": hw.perflevel0 is the highest level; the levels have names.
        """
        cores = sum(level.num_cores for level in self._core_levels() if level.name != "Efficiency")
        return cores or super().num_compute_threads()

    # ---- processes --------------------------------------------------------------------------------------------------

    def read_ahead(self, path: Path) -> None:
        """Source: fcntl(2), F_RDADVISE, whose count is an int."""
        with path.open("rb") as file:
            for offset in range(0, os.fstat(file.fileno()).st_size, _READ_AHEAD_BYTES):
                fcntl.fcntl(file, _F_RDADVISE, struct.pack("=qi4x", offset, _READ_AHEAD_BYTES))

    def end_with_parent(self) -> None:
        """Wait for the parent's end in a thread. Source: kqueue(2), EVFILT_PROC, NOTE_EXIT."""
        threading.Thread(target=_end_after, args=(os.getppid(),), name="parent-watch", daemon=True).start()

    def awake_argv(self, pid: int) -> list[str] | None:
        """Source: caffeinate(8): `-i` "prevent the system from idle sleeping", `-w` until the process exits."""
        return ["/usr/bin/caffeinate", "-i", "-w", str(pid)]

    def is_guarded(self, path: Path, home: Path) -> bool:
        """Source: Apple, "Control access to files and folders on Mac"."""
        return any(path.is_relative_to(folder) for folder in (*map(home.joinpath, _GUARDED), Path("/Volumes")))

    def gpu_use(self) -> GPUUse | None:
        """Ask ioreg for the accelerator's own statistics, which need no privilege."""
        text = _output_of("/usr/sbin/ioreg", "-r", "-d", "1", "-w", "0", "-c", "IOAccelerator")
        busy, used = _GPU_BUSY.search(text), _GPU_BYTES.search(text)
        if busy is None and used is None:
            return None
        return GPUUse(None if busy is None else int(busy[1]) / 100, None if used is None else int(used[1]))

    # ---- raw --------------------------------------------------------------------------------------------------------

    def readings(self) -> Mapping[str, object]:
        """Return what every call above gets to see."""
        texts = {name: self._sysctl_text(name) for name in _TEXT_SYSCTLS}
        return {
            "sysctl": texts | {name: self._sysctl_number(name) for name in _NUMBER_SYSCTLS},
            "core_levels": self._core_levels(),
            "page_bytes": mmap.PAGESIZE,
            "vm_statistics64": _fields_of(self._vm_statistics()),
            "thermal_level": self._thermal_level(),
        }

    def process_readings(self, pid: int) -> Mapping[str, object] | None:
        """Return all that `proc_pid_rusage` tells, and what Apple's own tool makes of the process."""
        usage = self._rusage(pid)
        if usage is None:
            return None
        return _fields_of(usage) | {
            "footprint(1)": _output_of("/usr/bin/footprint", str(pid)).splitlines()[:_TOOL_LINES]
        }

    # ---- calls ------------------------------------------------------------------------------------------------------

    def _rusage(self, pid: int) -> RUsageV4 | None:
        usage = RUsageV4()
        return usage if self._library.proc_pid_rusage(pid, _RUSAGE_INFO_V4, ctypes.byref(usage)) == 0 else None

    def _vm_statistics(self) -> VMStatistics64:
        pages = VMStatistics64()
        count = ctypes.c_uint32(ctypes.sizeof(pages) // ctypes.sizeof(ctypes.c_uint32))
        error = self._library.host_statistics64(self._host, _HOST_VM_INFO64, ctypes.byref(pages), ctypes.byref(count))
        if error:
            raise OSError(f"host_statistics64 failed with {error}")
        return pages

    def _core_levels(self) -> list[CoreLevel]:
        names = [f"hw.perflevel{level}" for level in range(self._sysctl_number("hw.nperflevels") or 0)]
        return [
            CoreLevel(self._sysctl_text(f"{name}.name"), self._sysctl_number(f"{name}.physicalcpu") or 0)
            for name in names
        ]

    def _thermal_level(self) -> int | None:
        token, level = ctypes.c_int(), ctypes.c_uint64()
        if self._library.notify_register_check(_THERMAL_LEVEL, ctypes.byref(token)) != 0:
            return None
        error = self._library.notify_get_state(token, ctypes.byref(level))
        self._library.notify_cancel(token)
        return None if error else level.value

    def _sysctl_number(self, name: str) -> int | None:
        data = self._sysctl(name)
        return None if data is None else int.from_bytes(data, sys.byteorder)

    def _sysctl_text(self, name: str) -> str | None:
        data = self._sysctl(name)
        return None if data is None else data.rstrip(b"\0").decode(errors="replace") or None

    def _sysctl(self, name: str) -> bytes | None:
        buffer, size = ctypes.create_string_buffer(_MAX_TEXT_BYTES), ctypes.c_size_t(_MAX_TEXT_BYTES)
        found = self._library.sysctlbyname(name.encode(), buffer, ctypes.byref(size), None, 0) == 0
        return buffer.raw[: size.value] if found else None


def _end_after(pid: int) -> None:
    # Types are checked for Linux, where `select` has none of these.
    kqueue, kevent, exit_note = select.kqueue, select.kevent, select.KQ_NOTE_EXIT  # type: ignore[attr-defined]
    flags = select.KQ_EV_ADD | select.KQ_EV_ONESHOT  # type: ignore[attr-defined]
    event = kevent(pid, select.KQ_FILTER_PROC, flags, exit_note)  # type: ignore[attr-defined]
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        kqueue().control([event], 1, None)
    os._exit(1)


def _output_of(*argv: str) -> str:
    """Run a tool of the system; "" where it fails."""
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=_TOOL_TIMEOUT_S, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def _fields_of(structure: ctypes.Structure) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, *_ in structure._fields_:
        value = getattr(structure, name)
        found[name] = value if isinstance(value, int) else list(value)
    found.pop("uuid", None)  # of the program, not of the process
    return found
