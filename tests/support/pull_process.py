"""Runs pulls in processes that are meant to be killed.

One process imports everything once and forks for each pull, so that a hundred kills do not take a hundred imports.
Run as a script: reads a line of JSON per pull, and writes the status of the child when it has ended.
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

from tests.support.waiting import WITHIN_S

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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        self._zygote.stdin.close()
        self._zygote.wait(WITHIN_S)
        self._zygote.stdout.close()
        os.close(self._read_fd)

    def run(self, **options: str | int) -> int:
        """Do a pull; give 0 when it is done, and the negative signal when it was killed at the step `kill_at`."""
        assert self._zygote.stdin is not None
        assert self._zygote.stdout is not None
        self._zygote.stdin.write(json.dumps(options) + "\n")
        self._zygote.stdin.flush()
        line = self._zygote.stdout.readline()
        assert line, "the process that forks is gone"
        return int(line)

    def num_written(self) -> int | None:
        """Bytes that the last pull had written when it last said so."""
        data = b""
        while True:
            try:
                data += os.read(self._read_fd, 1 << 16)
            except BlockingIOError:
                break
        return COUNT.unpack(data[-COUNT.size :])[0] if data else None


class Steps:
    """Kills this process at a step: a change of the file system, or something that the pull tells."""

    EVENTS = ("open", "os.rename", "os.remove", "os.truncate", "os.link", "os.mkdir")

    def __init__(self, kill_at: int) -> None:
        self._kill_at = kill_at
        self.number = 0
        sys.addaudithook(lambda event, _: self.take() if event in self.EVENTS else None)

    def take(self) -> None:
        self.number += 1
        if self.number == self._kill_at:
            os.kill(os.getpid(), signal.SIGKILL)


async def _pull(root: str, url: str, reference: str, token: str, fd: int, steps: Steps) -> None:
    from registry.hub.web import HubSettings
    from registry.pull.events import Progress, PullEvent
    from registry.pull.puller import PullSettings, open_puller
    from tests.support.pull_bench import SMALL

    def tell(event: PullEvent) -> None:
        steps.take()
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
                steps = Steps(options.pop("kill_at"))
                asyncio.run(_pull(**options, fd=fd, steps=steps))
                status = 0
            finally:
                os._exit(status)
        _, code = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(code), flush=True)


if __name__ == "__main__":
    _main()
