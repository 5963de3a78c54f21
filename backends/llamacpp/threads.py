"""How many threads to compute with: one per core that does the same work as the others, and no more."""

import os
import subprocess
import sys

import psutil

_SYSCTL_TIMEOUT_S = 2.0


def default_num_threads() -> int:
    """Return the number of compute threads for this machine, >= 1.

    Physical cores, because two hardware threads share the vector units; of a Mac's cores the performance cores, because
    the slowest thread sets the pace of a matrix product; never more than this process may use.
    """
    cores = _performance_cores() if sys.platform == "darwin" else None
    if cores is None:
        cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    return max(1, min(cores, _num_usable_cpus()))


def _num_usable_cpus() -> int:
    """Return the CPUs that this process may run on: fewer than there are, in a container or under taskset."""
    affinity = getattr(os, "sched_getaffinity", None)  # macOS has none
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _performance_cores() -> int | None:
    """Return the number of performance cores of a Mac; None when it does not tell.

    Source: Apple, "Determining system capabilities": hw.perflevel0 is the highest performance level.
    """
    try:
        done = subprocess.run(
            ["sysctl", "-n", "hw.perflevel0.physicalcpu"],
            capture_output=True,
            text=True,
            timeout=_SYSCTL_TIMEOUT_S,
            check=True,
        )
        return int(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
