"""What only a Mac has: the chip and Metal's limit on wired memory, from `sysctl`. Parsing is apart from asking.

Not here: setting the limit.
"""

import subprocess
from typing import Final

from router.cli.terminal.output import size

SYSCTL: Final = "/usr/sbin/sysctl"
KEYS: Final = ("machdep.cpu.brand_string", "hw.memsize", "iogpu.wired_limit_mb")
SYSCTL_TIMEOUT_S: Final = 5.0


def read_sysctl() -> str:
    """Ask the system; lines `key: value`, those it does not know left out. Empty when it cannot be asked."""
    try:
        done = subprocess.run(
            [SYSCTL, *KEYS], capture_output=True, text=True, timeout=SYSCTL_TIMEOUT_S, check=False, errors="replace"
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout


def describe(output: str) -> str:
    """Say what the output of `sysctl` means."""
    values = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in output.splitlines())}
    chip = values.get("machdep.cpu.brand_string", "unknown chip")
    memory = values.get("hw.memsize", "")
    total = size(int(memory)) if memory.isdecimal() else "unknown memory"
    limit = values.get("iogpu.wired_limit_mb", "")
    if not limit.isdecimal():
        wired = "the limit of wired memory is unknown"
    elif int(limit) == 0:
        wired = "wired memory limited by the system's own rule"
    else:
        wired = f"wired memory limited to {size(int(limit) * 1024 * 1024)} (iogpu.wired_limit_mb)"
    return f"{chip}, {total}; {wired}"
