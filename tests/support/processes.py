"""Child processes, from the process table, in which they may end while one looks."""

import os

import psutil


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
