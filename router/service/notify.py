"""Tells the service manager how the process is: started, reloading, stopping, and that its event loop still runs.

Datagrams to the socket of NOTIFY_SOCKET; without one nothing is told. Source: sd_notify(3), sd_watchdog_enabled(3),
"Standalone Implementations".
"""

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

logger = logging.getLogger(__name__)

NOTIFY_VARIABLES: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
"""Of this process alone; no child may speak in its place."""

STATUS_INTERVAL_S: Final = 5.0
"""How often the status line is looked at; it is told when it has changed."""

_US_PER_S: Final = 1_000_000


class Notifier:
    """Speaks to the service manager that started this process, if one did.

    Args:
        address: A path, or `@NAME` for an abstract socket (Linux); None = nobody listens.
        watchdog_s: After how much silence the manager kills the process; None = never.
    """

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        self._address = address
        self._watchdog_s = watchdog_s
        self._is_reloading = False
        self._status = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], pid: int | None = None) -> "Notifier":
        """Find who listens; a watchdog that is meant for another process is not ours.

        Args:
            pid: None = this process's.
        """
        usec, meant = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID")
        is_meant = meant is None or meant == str(os.getpid() if pid is None else pid)
        watchdog_s = int(usec) / _US_PER_S if usec.isdecimal() and int(usec) and is_meant else None
        return cls(environment.get("NOTIFY_SOCKET") or None, watchdog_s)

    def ready(self, status: str) -> None:
        """Say that requests are served."""
        self._tell("READY=1", f"STATUS={self._noted(status)}", f"MAINPID={os.getpid()}")

    def reloading(self) -> None:
        """Say that the config is being read again, until `reloaded`."""
        self._is_reloading = True
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def reloaded(self) -> None:
        """Say that it is in force, or was refused; nothing where nobody said that it is read."""
        if self._is_reloading:
            self._is_reloading = False
            self._tell("READY=1")

    def stopping(self, within_s: float) -> None:
        """Say that the process ends, and how long that may take."""
        self._tell("STOPPING=1", "STATUS=ending what runs", f"EXTEND_TIMEOUT_USEC={int(within_s * _US_PER_S)}")

    async def run(self, describe: Callable[[], str]) -> None:
        """Show from the event loop that it runs, at half of the watchdog's time, until cancelled.

        Args:
            describe: Gives the status line.
        """
        if self._address is None:
            return
        beat = ("WATCHDOG=1",) if self._watchdog_s is not None else ()
        interval_s = STATUS_INTERVAL_S if self._watchdog_s is None else min(STATUS_INTERVAL_S, self._watchdog_s / 2)
        while True:
            before, now = self._status, self._noted(describe())
            lines = (*beat, f"STATUS={now}") if now != before else beat
            if lines:
                self._tell(*lines)
            await asyncio.sleep(interval_s)

    def _noted(self, status: str) -> str:
        self._status = " ".join(status.split())
        return self._status

    def _tell(self, *lines: str) -> None:
        if self._address is None:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)  # the event loop waits for nobody
                sock.sendto("\n".join(lines).encode(), address)
        except OSError as exc:
            logger.debug("the service manager is not told %s: %s", lines[0], exc)


class Notice(msgspec.Struct, frozen=True):
    """One datagram, read.

    Attributes:
        values: `READY` to `1`, and so on.
    """

    values: dict[str, str]

    @classmethod
    def read(cls, datagram: bytes) -> "Notice":
        """Read what a process tells; lines without a `=` say nothing."""
        pairs = (line.partition("=") for line in datagram.decode(errors="replace").splitlines())
        return cls({name: value for name, is_pair, value in pairs if is_pair})
