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
from router.placement.memory import Run, run_command, total_bytes

_ID_CHARS: Final = 16
_MACHINE_ID_FILE: Final = Path("/etc/machine-id")
_CPU_FILE: Final = Path("/proc/cpuinfo")


def bench_machine(run: Run | None = None) -> BenchMachine:
    """Describe this machine.

    Args:
        run: Runs a command and gives its output; None = really.
    """
    run = run or run_command
    return BenchMachine(
        machine_id=machine_id(run),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=_cpu_name(run),
        num_cores=psutil.cpu_count(logical=False),
        memory_bytes=total_bytes(),
    )


def machine_id(run: Run | None = None) -> str:
    """Return what names this machine in the history: 16 hexadecimal digits.

    Source: machine-id(5), "should be considered confidential ... hash it with a fixed, application-specific key".
    """
    secret = _system_id(run or run_command)
    return hashlib.blake2b(secret.encode(), key=b"mlxr bench", digest_size=_ID_CHARS // 2).hexdigest()


def _system_id(run: Run) -> str:
    if sys.platform == "darwin":
        try:
            found = re.search(r'"IOPlatformUUID" = "([^"]+)"', run(["ioreg", "-rd1", "-c", "IOPlatformExpertDevice"]))
        except (OSError, subprocess.SubprocessError):
            found = None
        if found:
            return found[1]
    try:
        text = _MACHINE_ID_FILE.read_text().strip()
    except OSError:
        text = ""
    return text or f"{uuid.getnode():012x}"


def _cpu_name(run: Run) -> str | None:
    if sys.platform == "darwin":
        try:
            return run(["sysctl", "-n", "machdep.cpu.brand_string"]).strip() or None
        except (OSError, subprocess.SubprocessError):
            return None
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", _CPU_FILE.read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or None
