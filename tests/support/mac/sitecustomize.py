"""Lets a Python on Linux take itself for one on a Mac, as far as mlxr looks: names, missing calls, libSystem, kqueue.

Python imports it by its name at the start of every process that has this folder on PYTHONPATH and FAKE_MAC set, workers
included: `FAKE_MAC=1 PYTHONPATH=tests/support/mac python -m pytest tests/router/workers` runs tests so. Memory is
Linux' own, under Apple's names. What psutil may not do on a Mac is refused here too.
"""

import ctypes
import os
import sys
from pathlib import Path
from typing import Any

_LIBRARY = "/usr/lib/libSystem.B.dylib"
_MISSING = ("sched_getaffinity", "sched_setaffinity", "posix_fadvise", "POSIX_FADV_DONTNEED", "fdatasync", "pidfd_open")
_USED_AS_THEY_ARE = (
    "asyncio",
    "concurrent.futures",
    "http.client",
    "importlib.metadata",
    "multiprocessing",
    "numpy",
    "platform",
    "psutil",
    "select",
    "selectors",
    "shutil",
    "signal",
    "site",
    "socket",
    "ssl",
    "subprocess",
    "sysconfig",
    "tarfile",
    "tempfile",
    "truststore",
    "urllib.request",
    "uuid",
    "uvloop",
    "webbrowser",
    "zipfile",
)
"""What looks at the system while it is imported: it has to see the real one."""

_pidfd_open = getattr(os, "pidfd_open", None)


def _status(pid: int) -> dict[str, int] | None:
    """Return the sizes of /proc/PID/status in bytes."""
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    lines = [line.split() for line in text.splitlines() if line.endswith(" kB")]
    return {name.rstrip(":"): int(value) * 1024 for name, value, _ in lines}


def _pages() -> bytes:
    import mmap

    import psutil

    from tests.support.fake_libsystem import vm_statistics_bytes

    memory = psutil.virtual_memory()
    return vm_statistics_bytes(internal=(memory.total - memory.available) // mmap.PAGESIZE)


def _usage_of(pid: int) -> bytes | None:
    from tests.support.fake_libsystem import rusage_bytes

    sizes = _status(pid)
    if sizes is None:
        return None
    footprint = sizes.get("RssAnon", 0) + sizes.get("RssShmem", 0)
    return rusage_bytes(resident=sizes.get("VmRSS", 0), footprint=footprint, peak=max(footprint, sizes.get("VmHWM", 0)))


class _Kqueue:
    """Waits for the end of the one process that its event names."""

    def control(self, events: list[Any], _num_events: int, _timeout: float | None) -> list[Any]:
        import select

        assert _pidfd_open is not None
        poll = select.poll()
        poll.register(_pidfd_open(events[0][0]), select.POLLIN)
        poll.poll()
        return events


def _become_a_mac() -> None:
    import importlib
    import platform
    import select
    import sysconfig

    sysconfig.get_config_vars()  # from a file that is named after the system
    for name in _USED_AS_THEY_ARE:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    sys.path.append(str(Path(__file__).parents[3]))
    import psutil

    from tests.support.fake_libsystem import M3_PRO, FakeLibSystem, sysctl_number

    def refuse(process: psutil.Process) -> None:
        raise psutil.AccessDenied(process.pid)

    real_library = ctypes.CDLL
    total = sysctl_number(psutil.virtual_memory().total, 8)
    library = FakeLibSystem(sysctls=M3_PRO | {"hw.memsize": total}, usage_of=_usage_of, pages=_pages, thermal_level=0)
    ctypes.CDLL = lambda name, *args, **options: library if name == _LIBRARY else real_library(name, *args, **options)  # type: ignore[assignment,misc]
    psutil.Process.memory_full_info = refuse  # type: ignore[assignment]
    select.kqueue = _Kqueue  # type: ignore[attr-defined]
    select.kevent = lambda *event: event  # type: ignore[attr-defined]
    for number, name in enumerate(("KQ_FILTER_PROC", "KQ_EV_ADD", "KQ_EV_ONESHOT", "KQ_NOTE_EXIT")):
        setattr(select, name, 1 << number)
    for name in _MISSING:
        if hasattr(os, name):
            delattr(os, name)
    sys.platform = "darwin"
    platform.system = lambda: "Darwin"
    platform.machine = lambda: "arm64"
    platform.release = lambda: "24.6.0"
    platform.mac_ver = lambda *_: ("15.6", ("", "", ""), "arm64")


if os.environ.get("FAKE_MAC"):
    _become_a_mac()
