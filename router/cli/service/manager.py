"""The service managers: systemd of this user on Linux, launchd on macOS (not run on a Mac), each by its own command."""

import contextlib
import os
import re
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Final

import msgspec

from router.cli.terminal.context import CommandError
from router.config.paths import Paths
from router.service.launchd import LABEL, agent_file, agent_plist
from router.service.plan import ServicePlan
from router.service.systemd import UNIT_NAME, unit_file, unit_text

COMMAND_TIMEOUT_S: Final = 400.0
"""A start lasts until the server serves, a stop until it has ended; both managers have a limit of their own."""


class ServiceState(msgspec.Struct, frozen=True, kw_only=True):
    """What a manager says of the service.

    Attributes:
        state: The manager's own words.
        num_restarts: After failures, since the service was started; None = not told.
    """

    is_active: bool
    state: str
    is_enabled: bool | None = None
    pid: int | None = None
    num_restarts: int | None = None
    status: str | None = None


class ServiceManager(ABC):
    """Has services installed, started and stopped. Any method may raise a `CommandError`.

    Args:
        file: What describes the service to it.
    """

    def __init__(self, file: Path) -> None:
        self.file: Final = file

    @abstractmethod
    def content(self, plan: ServicePlan) -> bytes:
        """Write what the file is to hold."""

    @abstractmethod
    def fault(self) -> str | None:
        """Tell why it cannot be asked anything, or None."""

    @abstractmethod
    def enable(self, *, is_starting: bool) -> None:
        """Read the file, and start the service when the user logs in, and now if that is wanted."""

    @abstractmethod
    def disable(self) -> None:
        """Stop the service, and start it no more."""

    @abstractmethod
    def forget(self) -> None:
        """Notice that the file is gone."""

    @abstractmethod
    def start(self) -> None:
        """Start the service, unless it runs."""

    @abstractmethod
    def stop(self) -> None:
        """Stop it in order."""

    @abstractmethod
    def restart(self) -> None:
        """Stop it if it runs, and start it."""

    @abstractmethod
    def state(self) -> ServiceState:
        """Ask how it is."""

    @abstractmethod
    def log_command(self, num_lines: int, *, is_following: bool) -> list[str]:
        """Give the command that shows what it wrote."""


class Systemd(ServiceManager):
    """The user's systemd."""

    def content(self, plan: ServicePlan) -> bytes:
        """Write the unit."""
        return unit_text(plan).encode()

    def fault(self) -> str | None:
        """Tell why it cannot be asked anything, or None."""
        try:
            self._systemctl("show", "--property=Version")
        except CommandError as exc:
            return f"no systemd of this user can be reached ({str(exc).rstrip('.')})"
        return None

    def enable(self, *, is_starting: bool) -> None:
        """Read the unit, and start it when the user logs in, and now if that is wanted."""
        self._systemctl("daemon-reload")
        self._systemctl("enable", UNIT_NAME)
        if is_starting:
            self._systemctl("restart", UNIT_NAME)

    def disable(self) -> None:
        """Stop the unit, and start it no more."""
        self._systemctl("disable", "--now", UNIT_NAME)

    def forget(self) -> None:
        """Notice that the unit is gone."""
        self._systemctl("daemon-reload")

    def start(self) -> None:
        """Start it; return when it serves."""
        self._systemctl("start", UNIT_NAME)

    def stop(self) -> None:
        """Stop it; return when it has ended."""
        self._systemctl("stop", UNIT_NAME)

    def restart(self) -> None:
        """Start it anew; return when it serves."""
        self._systemctl("restart", UNIT_NAME)

    def state(self) -> ServiceState:
        """Ask for its properties."""
        names = ("ActiveState", "SubState", "UnitFileState", "MainPID", "NRestarts", "StatusText")
        text = self._systemctl("show", UNIT_NAME, f"--property={','.join(names)}")
        found = {name: value for name, _, value in (line.partition("=") for line in text.splitlines())}
        pid, restarts = found.get("MainPID", ""), found.get("NRestarts", "")
        return ServiceState(
            is_active=found.get("ActiveState") in {"active", "reloading"},
            state=f"{found.get('ActiveState', 'unknown')} ({found.get('SubState', 'unknown')})",
            is_enabled=found.get("UnitFileState") == "enabled",
            pid=int(pid) if pid.isdecimal() and int(pid) else None,
            num_restarts=int(restarts) if restarts.isdecimal() else None,
            status=found.get("StatusText") or None,
        )

    def log_command(self, num_lines: int, *, is_following: bool) -> list[str]:
        """Give the call of the journal."""
        how = "--follow" if is_following else "--no-pager"
        return ["journalctl", "--user", f"--unit={UNIT_NAME}", f"--lines={num_lines}", how]

    def _systemctl(self, *words: str) -> str:
        return _output("systemctl", "--user", *words)


class Launchd(ServiceManager):
    """The user's launchd.

    Args:
        output_file: Where an agent's output goes.
    """

    def __init__(self, file: Path, output_file: Path) -> None:
        super().__init__(file)
        self._output_file = output_file
        self._domain = f"gui/{os.getuid()}"
        self._target = f"{self._domain}/{LABEL}"

    def content(self, plan: ServicePlan) -> bytes:
        """Write the agent's property list."""
        return agent_plist(plan)

    def fault(self) -> str | None:
        """Tell why it cannot be asked anything, or None."""
        try:
            _output("launchctl", "print", self._domain)
        except CommandError as exc:
            return f"launchd has no session of this user ({str(exc).rstrip('.')})"
        return None

    def enable(self, *, is_starting: bool) -> None:
        """Have the agent read at the next login, and now if that is wanted: what is read is started."""
        if not is_starting:
            return
        with contextlib.suppress(CommandError):  # it is not there yet
            _output("launchctl", "bootout", self._target)
        _output("launchctl", "bootstrap", self._domain, str(self.file))

    def disable(self) -> None:
        """Stop the agent, and start it no more."""
        with contextlib.suppress(CommandError):  # it is not there
            _output("launchctl", "bootout", self._target)

    def forget(self) -> None:
        """Do nothing: an agent that was taken out is gone."""

    def start(self) -> None:
        """Start it."""
        _output("launchctl", "kickstart", self._target)

    def stop(self) -> None:
        """Ask it to end; what ends so is not started again."""
        _output("launchctl", "kill", "SIGTERM", self._target)

    def restart(self) -> None:
        """Kill it if it runs, and start it."""
        _output("launchctl", "kickstart", "-k", self._target)

    def state(self) -> ServiceState:
        """Read what launchd prints of it."""
        try:
            text = _output("launchctl", "print", self._target)
        except CommandError:
            return ServiceState(is_active=False, state="not loaded", is_enabled=False)
        state = re.search(r"^\tstate = (.+)$", text, re.MULTILINE)
        pid = re.search(r"^\tpid = (\d+)$", text, re.MULTILINE)
        return ServiceState(
            is_active=pid is not None,
            state=state.group(1) if state else "unknown",
            is_enabled=True,
            pid=int(pid.group(1)) if pid else None,
        )

    def log_command(self, num_lines: int, *, is_following: bool) -> list[str]:
        """Give the call that shows the file of its output."""
        return ["tail", *(["-F"] if is_following else []), "-n", str(num_lines), str(self._output_file)]


def service_manager(paths: Paths, environment: dict[str, str], platform: str) -> ServiceManager:
    """Give the manager of a platform, as `sys.platform` has it."""
    if platform == "darwin":
        return Launchd(agent_file(paths.user_home), paths.output_file)
    return Systemd(unit_file(environment, paths.user_home))


def _output(*argv: str) -> str:
    """Run a command of the manager; give what it prints.

    Raises:
        CommandError: It is not there, fails, or hangs; with its last words.
    """
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=COMMAND_TIMEOUT_S)
    except FileNotFoundError as exc:
        raise CommandError(f"there is no {argv[0]} here") from exc
    except subprocess.TimeoutExpired as exc:
        raise CommandError(f"`{' '.join(argv)}` did not end") from exc
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()
        raise CommandError(f"`{' '.join(argv)}`: {said[0]}")
    return done.stdout
