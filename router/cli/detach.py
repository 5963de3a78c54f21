"""A server that goes on without the terminal it was started in: `mlxr serve --detach`. Not here: the server."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from router.cli.terminal.context import CommandError
from router.config.instance import RunningInstance, read_instance
from router.config.paths import Paths
from router.service.notify import Notice

LOOK_INTERVAL_S: Final = 0.2
"""How often it is looked whether the process has ended before it said that it serves."""

_MAX_OUTPUT_BYTES: Final = 65_536


def start_detached(paths: Paths, arguments: Sequence[str], environment: Mapping[str, str]) -> RunningInstance:
    """Start `mlxr ARGUMENTS` in a session of its own, and return once it serves.

    SIGTERM is here what Ctrl-C is: nobody waits any more, and the server is told to end.

    Raises:
        CommandError: It ended instead, with its reason and its exit code.
    """
    asked: list[int] = []
    stopping = [each for each in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(each) is not signal.SIG_IGN]
    for number in stopping:  # raised while the process is made it would leave one that nobody knows of
        signal.signal(number, lambda number, _frame: asked.append(number))
    argv = [sys.executable, "-P", "-m", "router.cli", *arguments]
    with _listening() as (sock, address), paths.output_file.open("wb") as output:
        process = subprocess.Popen(
            argv,
            env={**environment, "NOTIFY_SOCKET": address},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        try:
            for number in stopping:
                signal.signal(number, signal.default_int_handler)
            if asked:
                signal.raise_signal(asked[0])
            _wait_until_it_serves(sock, process, paths.output_file)
        except KeyboardInterrupt:
            process.send_signal(signal.SIGTERM)
            raise
    instance = read_instance(paths)
    if instance is None:
        raise CommandError(f"The server ended as soon as it served; {paths.output_file} has its last words.")
    return instance


@contextlib.contextmanager
def _listening() -> Iterator[tuple[socket.socket, str]]:
    """Listen where the server tells how it is, as it tells a service manager."""
    with (
        tempfile.TemporaryDirectory(prefix="mlxr-") as folder,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock,
    ):
        address = str(Path(folder) / "notify")
        sock.bind(address)
        sock.settimeout(LOOK_INTERVAL_S)
        yield sock, address


def _wait_until_it_serves(sock: socket.socket, process: "subprocess.Popen[bytes]", output: Path) -> None:
    while True:
        with contextlib.suppress(TimeoutError):
            if Notice.read(sock.recv(_MAX_OUTPUT_BYTES)).values.get("READY") == "1":
                return
        exit_code = process.poll()
        if exit_code is not None:
            raise CommandError(_reason(output, exit_code), exit_code=exit_code if exit_code > 0 else 1)


def _reason(output: Path, exit_code: int) -> str:
    """Give the server's own last line, which is one sentence where it could not start."""
    with output.open("rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - _MAX_OUTPUT_BYTES))
        lines = file.read().decode(errors="replace").split("\n")
    said = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
    return f"The server could not be started (exit code {exit_code}): {said.removeprefix('mlxr: ')}"
