"""A server for one command: the one that runs, or one that is started for it and ends with it.

Not here: what the command does with it.
"""

import contextlib
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Final, Self

from router.cli.terminal.context import CommandError
from router.config.instance import RunningInstance, read_instance
from router.config.paths import Paths

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 60.0
_POLL_S: Final = 0.05


@contextlib.contextmanager
def server_for(paths: Paths) -> Iterator[RunningInstance]:
    """Give the server that runs on the data folder; without one, start one on a free port and end it afterwards.

    Raises:
        CommandError: It could not be started; the text has its own last words.
    """
    running = read_instance(paths)
    if running is not None:
        yield running
        return
    print("No mlxr server is running; one is started for this.", file=sys.stderr, flush=True)
    # A session of its own: Ctrl-C is for the command, which ends the server in order.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "router.cli", "serve", "--port", "0"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with _Tail(process) as tail:
        try:
            yield _started(process, paths, tail)
        finally:
            _end(process)


class _Tail:
    """Reads a process's stderr, so that it never blocks, and keeps its last lines."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._lines: deque[bytes] = deque(maxlen=5)
        self._pipe = process.stderr
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(STOP_TIMEOUT_S)
        if self._pipe is not None:
            self._pipe.close()

    def last_line(self) -> str:
        self._thread.join(1.0)
        return self._lines[-1].decode(errors="replace").strip() if self._lines else "it said nothing"

    def _follow(self) -> None:
        for line in self._pipe or ():
            self._lines.append(line)


def _started(process: subprocess.Popen[bytes], paths: Paths, tail: _Tail) -> RunningInstance:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        instance = read_instance(paths)
        if instance is not None:
            return instance
        if process.poll() is not None:
            raise CommandError(f"The server could not be started: {tail.last_line()}")
        time.sleep(_POLL_S)
    raise CommandError(f"The server did not start within {START_TIMEOUT_S:g} s; try `mlxr serve` in another terminal.")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
