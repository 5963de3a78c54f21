"""How a process that another one started for itself ends with it, on every system.

Its stdin is a pipe that the other one holds and never writes to: it ends with its holder, however that ends. Not here:
what is started so.
"""

import os
import stat
import threading
from collections.abc import Callable

EXIT_ORPHANED = 3
_STDIN = 0


def end_with_stdin(end: Callable[[], object] = lambda: os._exit(EXIT_ORPHANED)) -> None:
    """Call `end`, from a thread of its own, when stdin ends; by default the process ends at once.

    A terminal, a file or /dev/null is nobody's lifeline.
    """
    mode = os.fstat(_STDIN).st_mode
    if not stat.S_ISFIFO(mode) and not stat.S_ISSOCK(mode):  # event loops make sockets of pipes
        return

    def wait() -> None:
        while os.read(_STDIN, 1024):
            pass
        end()

    threading.Thread(target=wait, daemon=True, name="lifeline").start()
