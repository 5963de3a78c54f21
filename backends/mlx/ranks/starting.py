"""How the processes of other ranks are started, here or by ssh. No text of the config ever comes to a shell.

A rank finds out by its stdin, which is a pipe of ours, and by its connection when rank 0 is gone.
"""

import contextlib
import struct
import subprocess
import sys
import threading
from typing import Final

import msgspec

from backends.mlx.ranks.messages import Order
from backends.ssh import ssh_argv
from backends.wire.load import RankHost

MODULE: Final = "backends.mlx.ranks.process"
_TAIL_BYTES: Final = 2048
_NUM_LINES: Final = 3


def rank_argv(host: RankHost) -> list[str]:
    """Return what starts a rank; on other hosts Python is where it is here, as the models are."""
    command = [sys.executable, "-P", "-m", MODULE]
    return command if host.ssh is None else ssh_argv(host.ssh, command)


class RankProcess:
    """Another rank's process, or the ssh that holds it."""

    def __init__(self, host: RankHost, order: Order) -> None:
        self.host = host
        self.rank = order.rank
        self._process = subprocess.Popen(
            rank_argv(host), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        self._tail = bytearray()
        self._reader = threading.Thread(target=self._read, daemon=True, name=f"rank-{self.rank}-stderr")
        self._reader.start()
        body = msgspec.msgpack.encode(order)
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has ended already, which is seen where it is waited for
            self._process.stdin.write(struct.pack(">I", len(body)) + body)
            self._process.stdin.flush()

    @property
    def label(self) -> str:
        """What people call it."""
        return f"rank {self.rank} on {self.host.label}"

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll()

    def last_words(self) -> str:
        """Return the end of what it wrote to stderr, as `: …` for a message."""
        if self.exit_code is not None:
            self._reader.join(1.0)
        lines = bytes(self._tail).decode(errors="replace").splitlines()
        words = [line.strip() for line in lines if line.strip()][-_NUM_LINES:]
        return ": " + " | ".join(words) if words else ""

    def end(self, timeout_s: float) -> None:
        """Let it end by the end of its stdin, or kill it after a while."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(1.0)
        if self._process.stderr is not None:
            self._process.stderr.close()

    def _read(self) -> None:
        assert self._process.stderr is not None
        while data := self._process.stderr.read1(65536):  # type: ignore[attr-defined]
            self._tail += data
            del self._tail[:-_TAIL_BYTES]
