"""Obeys a systemd unit where no systemd runs: starts, hears, watches, kills and restarts by what the unit itself says.

What it obeys: ExecStart, Environment, EnvironmentFile, Type=notify with NotifyAccess=main, Restart=on-failure,
RestartSec, RestartPreventExitStatus, WatchdogSec, TimeoutStartSec, TimeoutStopSec, KillMode=mixed (the main process
gets the signal), ExecReload, UMask. Not: sandboxing, limits on starts; and it kills no process but the main one, so
that orphans show.
"""

import contextlib
import os
import pwd
import signal
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path
from typing import Self

import psutil

from router.service.notify import Notice
from tests.support.unit_file import UnitFile
from tests.support.waiting import WITHIN_S, wait_until

_CLEAN_SIGNALS = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE}
_LOOK_S = 0.05

# systemd sets WATCHDOG_PID to the process that it starts, whose number is known only then.
_WITH_PID = 'export WATCHDOG_PID=$$; exec "$@"'


class UnitSupervisor:
    """Runs one unit, on a thread of its own.

    Args:
        home: Of its user.
        uid: Who that is; None = this one.
        **beside: Variables that the manager itself gives.

    Attributes:
        num_restarts: After failures.
        num_watchdog_kills: Of these, those of a process that was silent for WatchdogSec.
        exits: Return codes of the main process, as subprocess has them.
    """

    def __init__(self, unit: Path, folder: Path, *, home: Path, uid: int | None = None, **beside: str) -> None:
        self._path = unit
        self._folder = folder
        self._home = home
        self._uid = uid
        self._beside = beside
        self._socket_path = folder / "notify"
        self._lock = threading.RLock()
        self._is_wanted = False
        self._is_ended = threading.Event()
        self._heard_at = 0.0
        self.output = folder / "journal"
        self.process: subprocess.Popen[bytes] | None = None
        self.is_ready = False
        self.status = ""
        self.heard: list[dict[str, str]] = []
        self.num_restarts = 0
        self.num_watchdog_kills = 0
        self.exits: list[int] = []

    def __enter__(self) -> Self:
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._sock.bind(str(self._socket_path))
        self._socket_path.chmod(0o777)
        self._sock.settimeout(_LOOK_S)
        self._thread = threading.Thread(target=self._run, name="unit supervisor")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(AssertionError):
            self.stop()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._is_ended.set()
        self._thread.join()
        self._sock.close()

    @property
    def pid(self) -> int | None:
        process = self.process
        return None if process is None or process.poll() is not None else process.pid

    def output_text(self) -> str:
        """Give what the unit has written so far."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""

    def start(self) -> None:
        """Start the unit, and return when it serves."""
        self._is_wanted = True
        wait_until(lambda: self.is_ready or not self._is_wanted, "the unit is ready or has failed")

    def stop(self) -> None:
        """End the unit in order; after TimeoutStopSec by SIGKILL."""
        self._is_wanted = False
        with self._lock:
            process = self.process
        if process is None:
            return
        unit = UnitFile.read(self._path)
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(unit.seconds("TimeoutStopSec"))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(WITHIN_S)
        wait_until(lambda: self.process is None, "the supervisor has seen the end")

    def reload(self) -> None:
        """Run ExecReload."""
        subprocess.run(UnitFile.read(self._path).command("ExecReload", MAINPID=str(self.pid)), check=True)

    # ---- the thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        not_before = 0.0
        while not self._is_ended.is_set():
            self._hear()
            with self._lock:
                unit = UnitFile.read(self._path) if self._path.exists() else None
                if self.process is None and self._is_wanted and unit is not None and time.monotonic() >= not_before:
                    self._spawn(unit)
                elif self.process is not None and unit is not None and self.process.poll() is not None:
                    not_before = self._on_exit(unit, self.process)
                elif self.process is not None and unit is not None:
                    self._watch(unit, self.process)

    def _hear(self) -> None:
        try:
            data, ancillary, _, _ = self._sock.recvmsg(4096, socket.CMSG_SPACE(12))
        except TimeoutError:
            return
        pid = next((struct.unpack("3i", value)[0] for _, kind, value in ancillary if kind == socket.SCM_CREDENTIALS), 0)
        process = self.process
        if process is None or pid != process.pid:
            return  # NotifyAccess=main
        values = Notice.read(data).values
        self.heard.append(values)
        self._heard_at = time.monotonic()
        self.is_ready |= values.get("READY") == "1"
        self.status = values.get("STATUS", self.status)

    def _spawn(self, unit: UnitFile) -> None:
        assert unit.text("Type") == "notify"
        watchdog_us = int(unit.seconds("WatchdogSec") * 1_000_000)
        user = pwd.getpwuid(os.getuid() if self._uid is None else self._uid)
        environment = {
            "HOME": str(self._home),
            "USER": user.pw_name,
            "LANG": "C.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            **self._beside,
            **unit.environment(),
            "NOTIFY_SOCKET": str(self._socket_path),
            "WATCHDOG_USEC": str(watchdog_us),
        }
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                ["/bin/sh", "-c", _WITH_PID, "sh", *unit.command()],
                env=environment,
                cwd=self._home,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                umask=int(unit.text("UMask", "0022"), 8),
                user=self._uid,
                group=None if self._uid is None else user.pw_gid,
                extra_groups=None if self._uid is None else [],
            )
        self._heard_at = time.monotonic()

    def _watch(self, unit: UnitFile, process: "subprocess.Popen[bytes]") -> None:
        silent_s = time.monotonic() - self._heard_at
        if not self.is_ready:
            if silent_s > unit.seconds("TimeoutStartSec"):
                process.kill()
        elif self._is_wanted and silent_s > unit.seconds("WatchdogSec"):
            self.num_watchdog_kills += 1
            self._heard_at = float("inf")
            process.send_signal(signal.SIGABRT)
            process.send_signal(signal.SIGCONT)  # so that a stopped process hears it, as systemd does

    def _on_exit(self, unit: UnitFile, process: "subprocess.Popen[bytes]") -> float:
        """Note the end, and return from when on it may be started again."""
        code = process.returncode
        self.exits.append(code)
        self.process, self.is_ready = None, False
        is_clean = code == 0 or -code in _CLEAN_SIGNALS
        is_prevented = str(code) in unit.text("RestartPreventExitStatus").split()
        assert unit.text("Restart") == "on-failure"
        if is_clean or is_prevented:
            self._is_wanted = False
        if self._is_wanted:
            self.num_restarts += 1
        return time.monotonic() + unit.seconds("RestartSec")


def workers_of(pid: int) -> list[psutil.Process]:
    """Return the worker processes of a gateway, also those that are stopped."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [child for child in psutil.Process(pid).children() if "backends.process.worker" in child.cmdline()]
    return []
