"""Child processes: those of a test, which end with it, and from the process table, in which they may end meanwhile."""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from typing import AnyStr

import psutil


@contextlib.contextmanager
def ending(process: "subprocess.Popen[AnyStr]") -> "Iterator[subprocess.Popen[AnyStr]]":
    """Have a process for the time of a `with`, after which it has ended in any case, and its pipes are closed.

    `Popen` by itself would wait for a process that a test which fails has not told to end.
    """
    with process:
        try:
            yield process
        finally:
            process.kill()


def running_children(*names: str, pid: int | None = None) -> list[psutil.Process]:
    """Return the running children of a process that have one of these words in their command line; none = all.

    Direct children only: a child that a worker forks to run a compiler has the worker's command line for a moment.

    Args:
        pid: Whose; None = this one's.
    """
    found = []
    for child in psutil.Process(os.getpid() if pid is None else pid).children():
        try:
            if child.status() != psutil.STATUS_ZOMBIE and (not names or set(names) & set(child.cmdline())):
                found.append(child)
        except psutil.Error:
            continue
    return found
