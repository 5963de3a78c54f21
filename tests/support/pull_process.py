"""Runs pulls in processes that are meant to be killed.

One process imports everything once and forks for each pull, so that a hundred kills do not take a hundred imports.
Run as a script: reads a line of JSON per pull, writes the child's number and, when it has ended, its status.
"""

import asyncio
import json
import os
import signal
import struct
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
COUNT = struct.Struct("<Q")


class PullProcesses:
    """Starts and kills pulls, one at a time; use as a context manager."""

    def __init__(self) -> None:
        self._read_fd, write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)
        self._zygote = subprocess.Popen(
            [sys.executable, "-m", "tests.support.pull_process", str(write_fd)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[write_fd],
            text=True,
            bufsize=1,
        )
        os.close(write_fd)
        self._pid = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        self._zygote.stdin.close()
        self._zygote.wait(20)
        self._zygote.stdout.close()
        os.close(self._read_fd)

    def start(self, **options: str) -> None:
        assert self._zygote.stdin is not None
        self._zygote.stdin.write(json.dumps(options) + "\n")
        self._zygote.stdin.flush()
        self._pid = int(self._line())

    def kill(self) -> None:
        os.kill(self._pid, signal.SIGKILL)

    def end(self) -> int:
        """Wait for the end: 0 for a pull that is done, negative for a signal."""
        return int(self._line())

    def num_written(self) -> int | None:
        """Bytes that the last pull had written when it last said so."""
        data = b""
        while True:
            try:
                data += os.read(self._read_fd, 1 << 16)
            except BlockingIOError:
                break
        return COUNT.unpack(data[-COUNT.size :])[0] if data else None

    def _line(self) -> str:
        assert self._zygote.stdout is not None
        line = self._zygote.stdout.readline()
        assert line, "the process that forks is gone"
        return line


async def _pull(root: str, url: str, reference: str, token: str, fd: int) -> None:
    from registry.hub.web import HubSettings
    from registry.pull.events import Progress, PullEvent
    from registry.pull.puller import PullSettings, open_puller
    from tests.support.pull_bench import SMALL

    def tell(event: PullEvent) -> None:
        if isinstance(event, Progress):
            os.write(fd, COUNT.pack(event.done_bytes))

    hub = HubSettings(endpoint=url, token=token)
    settings = PullSettings(transfer=SMALL, reserve_bytes=0, progress_interval_s=0.0)
    async with open_puller(hub, Path(root) / "models", Path(root) / "registry.sqlite3", settings) as puller:
        await puller.fetch(await puller.plan(reference), tell)


def _main() -> None:
    fd = int(sys.argv[1])
    import tests.support.pull_bench  # noqa: F401 - what every child needs

    for line in sys.stdin:
        options = json.loads(line)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                asyncio.run(_pull(options["root"], options["url"], options["reference"], options["token"], fd))
                status = 0
            finally:
                os._exit(status)
        print(pid, flush=True)
        _, code = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(code), flush=True)


if __name__ == "__main__":
    _main()
