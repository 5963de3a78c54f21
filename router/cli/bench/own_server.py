"""A server for one command: the one that runs, or one that is started for it and ends with it; and how it is reached.

Not here: what the command does with it.
"""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import IO, Final

from router.bench.run.client import OurServer
from router.cli.terminal.context import CommandError
from router.config.instance import RunningInstance, reachable_url, read_instance
from router.config.paths import Paths
from router.keys.sending import credentials

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 60.0
OWNER: Final = "mlxr bench"
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
    with tempfile.TemporaryFile() as log:
        # A session of its own: Ctrl-C is for the command, which ends the server in order. Its stdin is our lifeline: it
        # ends when we do, however we do.
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "router.cli", "serve", "--port", "0", "--owner", OWNER],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            start_new_session=True,
        )
        try:
            yield _started(process, paths, log)
        finally:
            _end(process)


def reached(instance: RunningInstance) -> OurServer:
    """Tell the benchmark's client where a server is, and who asks."""
    socket = instance.unix_socket
    headers = credentials(os.environ, unix_socket=socket, token_file=instance.token_file)
    return OurServer(url=reachable_url(instance.url), cert_file=instance.cert_file, unix_socket=socket, headers=headers)


def _started(process: subprocess.Popen[bytes], paths: Paths, log: IO[bytes]) -> RunningInstance:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        instance = read_instance(paths)
        if instance is not None:
            return instance
        if process.poll() is not None:
            log.seek(0)
            last = log.read().strip().rpartition(b"\n")[2].decode(errors="replace").strip()
            raise CommandError(f"The server could not be started: {last or 'it said nothing'}")
        time.sleep(_POLL_S)
    raise CommandError(f"The server did not start within {START_TIMEOUT_S:g} s; try `mlxr serve` in another terminal.")


def _end(process: subprocess.Popen[bytes]) -> None:
    with process:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
