"""What a child that reads a document gives up before it sees the first byte: memory, time, files, network, programs.

Each means that a system lacks is passed over: limits are doubled by who started the child (`process`).

Source: getrlimit(2), unshare(2), prctl(2); macOS: sandbox_init(3), which works although it is called deprecated.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys
from typing import Any, Final

from router.documents.messages import ReadingLimits

_MAX_DESCRIPTORS: Final = 64
_CLONE_NEWUSER: Final = 0x1000_0000
_CLONE_NEWNET: Final = 0x4000_0000
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NO_NEW_PRIVS: Final = 38
_SANDBOX_NAMED: Final = 1
_WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_REFUSED: Final = ("socket.", "subprocess.", "os.exec", "os.posix_spawn", "os.fork", "os.system", "os.kill", "pty.")
_CHANGING: Final = (
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.chmod",
    "os.truncate",
)


def confine(limits: ReadingLimits) -> None:
    """Give it all up; there is no way back."""
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, _MAX_DESCRIPTORS)
    _limit(resource.RLIMIT_CPU, limits.max_cpu_s)
    _limit(resource.RLIMIT_AS, limits.max_memory_bytes)
    signal.alarm(limits.timeout_s + 1)  # also where nobody looks any more
    _leave_the_network()


def refuse_effects() -> None:
    """Refuse, whatever Python code asks for it, connections, programs, and files that are written or changed."""
    sys.addaudithook(_look_at)


def _limit(what: int, most: int) -> None:
    """Lower a limit; one that is lower already stays."""
    with contextlib.suppress(ValueError, OSError):  # macOS refuses some
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))


def _leave_the_network() -> None:
    """Go where there is no network, as far as the kernel lets everybody go there; end with whoever started this."""
    library = ctypes.CDLL(None, use_errno=True)
    if sys.platform == "linux":
        library.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        library.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        library.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    elif hasattr(library, "sandbox_init"):
        library.sandbox_init(b"no-network", ctypes.c_uint64(_SANDBOX_NAMED), ctypes.byref(ctypes.c_char_p()))


def _look_at(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open":
        mode, flags = arguments[1], arguments[2]
        is_writing = (isinstance(mode, str) and set(mode) & set("wax+")) or (
            isinstance(flags, int) and flags & _WRITING
        )
        if is_writing:
            raise PermissionError("nothing is written here")
    elif event.startswith((*_REFUSED, *_CHANGING)):
        raise PermissionError(f"{event} is not for readers of documents")
