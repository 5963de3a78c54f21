"""A control group of one's own with a limit of memory, where this machine lets a test make one."""

import contextlib
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.machine.cgroup import ControlGroup
from tests.support.waiting import wait_until


class MemoryGroup:
    """A group; processes are moved into it one by one, and their children follow."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def argv(self, argv: list[str]) -> list[str]:
        """Return a command that runs `argv` in the group, from its first moment."""
        return ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self.folder / "cgroup.procs"), *argv]

    def add(self, pid: int) -> None:
        (self.folder / "cgroup.procs").write_text(str(pid))


@contextlib.contextmanager
def memory_group(limit_bytes: int) -> Iterator[MemoryGroup]:
    """Make one below this process's own, v1 or v2; the test is skipped where that is not allowed.

    Every process in it has to end before it does.
    """
    own = ControlGroup()._folders
    folder = (own[0] if own else Path("/nowhere")) / f"mlxr-test-{uuid.uuid4().hex[:8]}"
    limit = "memory.limit_in_bytes" if own and (own[0] / "memory.limit_in_bytes").exists() else "memory.max"
    try:
        folder.mkdir()
    except OSError as exc:
        pytest.skip(f"no control group can be made here: {exc.strerror}")
    try:
        try:
            (folder / limit).write_text(str(limit_bytes))
        except OSError as exc:
            pytest.skip(f"a control group cannot be limited here: {exc.strerror}")
        yield MemoryGroup(folder)
    finally:
        for pid in re.findall(r"\d+", (folder / "cgroup.procs").read_text()):  # of a test that has failed
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), 9)
        wait_until(lambda: _is_removed(folder), "the kernel has ended all that was in the group")


def _is_removed(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        folder.rmdir()
    return not folder.exists()


_BALLAST = """
import sys
pieces = []
for line in sys.stdin:
    missing = int(line) - sum(map(len, pieces))
    if missing < 0:
        pieces, missing = [], int(line)
    pieces.append(b"\\1" * missing)
    print("held", flush=True)
"""


class Ballast:
    """A program beside mlxr that holds as much memory as it is told.

    Args:
        group: What it runs in; None = nothing of its own.
    """

    def __init__(self, group: MemoryGroup | None = None) -> None:
        argv = [sys.executable, "-c", _BALLAST]
        self._process = subprocess.Popen(
            argv if group is None else group.argv(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def hold(self, num_bytes: int) -> None:
        """Return when it has that much, and no more; what it has of it already it never lets go."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(num_bytes, file=self._process.stdin, flush=True)
        assert self._process.stdout.readline() == "held\n"

    def close(self) -> None:
        """End it."""
        self._process.communicate()
