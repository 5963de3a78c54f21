"""The machine as a benchmark's record names it.

The id is a digest: the same for all runs here, and nothing of the machine or its owner can be read off it.
"""

import hashlib
import platform
import uuid
from typing import Final

import psutil

from backends.machine.current import current_platform
from registry.bench_record import BenchMachine

_ID_CHARS: Final = 16


def bench_machine() -> BenchMachine:
    """Describe this machine."""
    system = current_platform()
    return BenchMachine(
        machine_id=machine_id(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        cpu=system.cpu_name(),
        num_cores=psutil.cpu_count(logical=False),
        memory_bytes=system.memory().total_bytes,
    )


def machine_id() -> str:
    """Return what names this machine in the history: 16 hexadecimal digits.

    Source: machine-id(5), "should be considered confidential ... hash it with a fixed, application-specific key".
    """
    secret = current_platform().machine_secret() or f"{uuid.getnode():012x}"
    return hashlib.blake2b(secret.encode(), key=b"mlxr bench", digest_size=_ID_CHARS // 2).hexdigest()
