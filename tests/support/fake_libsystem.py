"""The functions of libSystem that `backends.machine.apple` calls, over what a test says that they return.

Structures are packed by the layout in Apple's headers, not by the code's own: the offsets are each other's check.
"""

import ctypes
import struct
from collections.abc import Callable, Mapping
from typing import Any

HOST_PORT = 91
NAME_TOKEN = 7


def rusage_bytes(*, resident: int, footprint: int, peak: int, wired: int = 0) -> bytes:
    """`struct rusage_info_v4`: a uuid of 16 bytes, then 35 numbers of 8."""
    fields = [0] * 35
    fields[5], fields[6], fields[7], fields[28] = wired, resident, footprint, peak
    return struct.pack("=16s35Q", b"u" * 16, *fields)


def vm_statistics_bytes(
    *,
    free: int = 0,
    wire: int = 0,
    purgeable: int = 0,
    pageins: int = 0,
    swapins: int = 0,
    swapouts: int = 0,
    compressor: int = 0,
    external: int = 0,
    internal: int = 0,
    uncompressed: int = 0,
) -> bytes:
    """`struct vm_statistics64` as macOS 11 to 26 fill it for a count of 38."""
    events = [0, 0, pageins, 0, 0, 0, 0, 0, 0]
    return struct.pack(
        "=4I9Q2I4Q4IQ",
        *(free, 0, 0, wire),
        *events,
        *(purgeable, 0),
        *(0, 0, swapins, swapouts),
        *(compressor, 0, external, internal),
        uncompressed,
    )


class FakeLibSystem:
    """What `ctypes.CDLL` would return: its functions are called as C functions are.

    Args:
        usage_of: A process's `struct rusage_info_v4`; None = it is gone.
        pages: The machine's `struct vm_statistics64`; None = the kernel refuses.
        thermal_level: None = nobody tells.
    """

    def __init__(
        self,
        *,
        sysctls: Mapping[str, bytes],
        usage_of: Callable[[int], bytes | None] = lambda _pid: None,
        pages: Callable[[], bytes | None] = lambda: None,
        thermal_level: int | None = None,
    ) -> None:
        self._sysctls = sysctls
        self._usage_of = usage_of
        self._pages = pages
        self._thermal_level = thermal_level
        number, address, text = ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p
        numbers = ctypes.POINTER(ctypes.c_uint32)
        sizes = ctypes.POINTER(ctypes.c_size_t)
        self.mach_host_self = ctypes.CFUNCTYPE(ctypes.c_uint32)(lambda: HOST_PORT)
        self.host_statistics64 = ctypes.CFUNCTYPE(number, ctypes.c_uint32, number, address, numbers)(self._statistics)
        self.proc_pid_rusage = ctypes.CFUNCTYPE(number, number, number, address)(self._rusage)
        sysctl = ctypes.CFUNCTYPE(number, text, address, sizes, address, ctypes.c_size_t)
        self.sysctlbyname = sysctl(self._sysctl)
        self.notify_register_check = ctypes.CFUNCTYPE(ctypes.c_uint32, text, ctypes.POINTER(number))(self._register)
        self.notify_get_state = ctypes.CFUNCTYPE(ctypes.c_uint32, number, ctypes.POINTER(ctypes.c_uint64))(self._state)
        self.notify_cancel = ctypes.CFUNCTYPE(ctypes.c_uint32, number)(lambda token: int(token != NAME_TOKEN))

        self.gave_back: list[tuple[int | None, int]] = []
        zones = ctypes.CFUNCTYPE(ctypes.c_size_t, address, ctypes.c_size_t)
        self.malloc_zone_pressure_relief = zones(self._give_back)

    def _give_back(self, zone: int | None, goal: int) -> int:
        self.gave_back.append((zone, goal))
        return 0

    def _statistics(self, host: int, flavor: int, target: int, count: Any) -> int:
        data = self._pages()
        if data is None or (host, flavor, count[0]) != (HOST_PORT, 4, 38):
            return 5  # KERN_FAILURE
        ctypes.memmove(target, data, len(data))
        return 0

    def _rusage(self, pid: int, flavor: int, target: int) -> int:
        data = self._usage_of(pid)
        if data is None or flavor != 4:
            return -1
        ctypes.memmove(target, data, len(data))
        return 0

    def _sysctl(self, name: bytes, target: int, size: Any, new: int | None, new_size: int) -> int:
        data = self._sysctls.get(name.decode())
        is_setting = new is not None or new_size != 0
        if data is None or len(data) > size[0] or is_setting:
            return -1
        ctypes.memmove(target, data, len(data))
        size[0] = len(data)
        return 0

    def _register(self, name: bytes, token: Any) -> int:
        token[0] = NAME_TOKEN
        return 0 if self._thermal_level is not None and name == b"com.apple.system.thermalpressurelevel" else 1

    def _state(self, token: int, state: Any) -> int:
        state[0] = self._thermal_level
        return int(token != NAME_TOKEN)


def sysctl_number(value: int, num_bytes: int = 4) -> bytes:
    return value.to_bytes(num_bytes, "little")


def sysctl_text(text: str) -> bytes:
    return text.encode() + b"\0"


M3_PRO = {
    "hw.model": sysctl_text("Mac15,6"),
    "machdep.cpu.brand_string": sysctl_text("Apple M3 Pro"),
    "kern.osproductversion": sysctl_text("15.6"),
    "hw.memsize": sysctl_number(36 << 30, 8),
    "hw.physicalcpu": sysctl_number(12),
    "hw.nperflevels": sysctl_number(2),
    "hw.perflevel0.name": sysctl_text("Performance"),
    "hw.perflevel0.physicalcpu": sysctl_number(6),
    "hw.perflevel1.name": sysctl_text("Efficiency"),
    "hw.perflevel1.physicalcpu": sysctl_number(6),
    "iogpu.wired_limit_mb": sysctl_number(0, 8),
    "kern.memorystatus_vm_pressure_level": sysctl_number(1),
}
"""What `sysctl` says on a MacBook Pro with 36 GB, in the sizes that the kernel has for it."""
