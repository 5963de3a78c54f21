"""The machine as a benchmark's record names it. Readings only.

The id is a digest: the same for all runs here, and nothing of the machine or its owner can be read off it.
"""

import hashlib
import platform
import re
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Final

import psutil

from registry.bench_record import BenchMachine
from router.placement.memory import run_command, total_bytes

_ID_CHARS: Final = 16
_MACHINE_ID_FILE: Final = Path("/etc/machine-id")
_CPU_FILE: Final = Path("/proc/cpuinfo")


def bench_machine() -> BenchMachine:
    """Describe this machine."""
    return BenchMachine(
        machine_id=machine_id(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=_cpu_name(),
        num_cores=psutil.cpu_count(logical=False),
        memory_bytes=total_bytes(),
    )


def machine_id() -> str:
    """Return what names this machine in the history: 16 hexadecimal digits.

    Source: machine-id(5), "should be considered confidential ... hash it with a fixed, application-specific key".
    """
    return hashlib.blake2b(_system_id().encode(), key=b"mlxr bench", digest_size=_ID_CHARS // 2).hexdigest()


def output_of(*argv: str) -> str:
    """Run a command of the system's and return its output; empty when there is none, or it failed."""
    try:
        return run_command(argv)
    except (OSError, subprocess.SubprocessError):
        return ""


def _text_in(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _system_id() -> str:
    if sys.platform == "darwin":
        tree = output_of("ioreg", "-rd1", "-c", "IOPlatformExpertDevice")
        if found := re.search(r'"IOPlatformUUID" = "([^"]+)"', tree):
            return found[1]
    return _text_in(_MACHINE_ID_FILE).strip() or f"{uuid.getnode():012x}"


def _cpu_name() -> str | None:
    if sys.platform == "darwin":
        return output_of("sysctl", "-n", "machdep.cpu.brand_string").strip() or None
    found = re.search(r"^model name\s*:\s*(.+)$", _text_in(_CPU_FILE), re.MULTILINE)
    return found[1].strip() if found else platform.processor() or None
