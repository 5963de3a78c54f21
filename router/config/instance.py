"""One gateway per data folder: its lock, and the file in which it says who and where it is.

The lock decides, not the pid: the kernel drops it when the process ends, however that happens, so a file left behind
by a crash never looks like a running server. Not here: talking to the server (`client.py`).
"""

import contextlib
import dataclasses
import errno
import fcntl
import os
import time
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

import msgspec

from router.config.paths import Paths
from router.errors import StartupError

LOCK_PATIENCE_S: Final = 0.5
"""How long to try for the lock. `read_instance` holds it for microseconds; a gateway for its whole life."""

_LOCK_RETRY_S: Final = 0.02

MAX_INSTANCE_BYTES: Final = 65_536

LOOPBACK_OF: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound
"""Addresses that stand for all of a machine's -> where the machine itself reaches them."""


def reachable_url(url: str) -> str:
    """Return the address by which clients on this machine reach a server: one of every interface is the loopback's."""
    host = LOOPBACK_OF.get(urlsplit(url).hostname or "")
    return url if host is None else _at_host(url, host)


def _at_host(url: str, host: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{parts.port}"


class RunningInstance(msgspec.Struct, frozen=True, kw_only=True):
    """What a running gateway says about itself.

    Attributes:
        url: Where it answers, e.g. `http://127.0.0.1:11434`.
        cert_file: Of its certificate, where that is `https`.
        unix_socket: The unix socket it also answers on, if any.
        token_file: What opens it to this user's programs there, if anything does.
        started_at: Seconds since 1970.
        owner: The command that it was started for and ends with; None = somebody's `mlxr serve`.
    """

    pid: int
    url: str
    cert_file: str | None = None
    unix_socket: str | None = None
    token_file: str | None = None
    version: str
    started_at: float
    config_file: str | None = None
    owner: str | None = None


class AlreadyRunningError(StartupError, code="already_running"):
    """Another gateway uses the data folder.

    Attributes:
        instance: Who it is; None while it is still starting.

    Args:
        pid: The process, where it is still starting and has said so much.
    """

    def __init__(self, data_dir: Path, instance: RunningInstance | None, pid: int | None = None) -> None:
        pid = pid if instance is None else instance.pid
        process = "" if pid is None else f" as process {pid}"
        what = "`mlxr serve`"
        if instance is not None and instance.owner is not None:
            what = f"server, which `{instance.owner}` started for itself,"
        does = f"is still starting{process}" if instance is None else f"runs{process} on {instance.url}"
        way_out = "stop it first" if pid is None else f"stop it first (`kill {pid}`)"
        super().__init__(
            f"Another {what} {does} and uses {data_dir}; {way_out}, or set MLXR_HOME to give this one its own folder."
        )
        self.instance = instance


class InstanceLock:
    """Holds the data folder for one gateway, from `acquire` to `release` or the end of the process."""

    def __init__(self, handle: int, paths: Paths) -> None:
        self._handle: int | None = handle
        self._paths = paths

    @classmethod
    def acquire(cls, paths: Paths) -> Self:
        """Take the data folder, until `release`.

        Raises:
            AlreadyRunningError: Another gateway has it.
            StartupError: The file system cannot lock.
        """
        try:
            handle = os.open(paths.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as exc:
            raise StartupError(f"{paths.lock_file}: cannot be opened: {exc.strerror}") from exc
        try:
            _lock_patiently(handle, paths)
            os.truncate(handle, 0)
            os.write(handle, str(os.getpid()).encode())
            paths.instance_file.unlink(missing_ok=True)  # of a gateway that died, as is the next
            paths.pid_file.unlink(missing_ok=True)
        except BaseException:
            os.close(handle)
            raise
        return cls(handle, paths)

    def publish(self, instance: RunningInstance) -> None:
        """Say who and where this gateway is; from now on commands find it."""
        temporary = self._paths.instance_file.with_suffix(".tmp")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.encode(instance))
        temporary.replace(self._paths.instance_file)
        self._paths.pid_file.write_text(f"{os.getpid()}\n")

    def release(self) -> None:
        """Give the data folder back; doing it twice is allowed."""
        if self._handle is None:
            return
        with contextlib.suppress(OSError):
            self._paths.instance_file.unlink(missing_ok=True)
            self._paths.pid_file.unlink(missing_ok=True)
        os.close(self._handle)  # closing drops the lock
        self._handle = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def read_instance(paths: Paths) -> RunningInstance | None:
    """Return the gateway that runs on this data folder; None also while one is starting and has not said who it is."""
    instance = _read(paths.instance_file)
    return instance if instance is not None and _is_locked(paths.lock_file) else None


def _read(path: Path) -> RunningInstance | None:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(MAX_INSTANCE_BYTES), type=RunningInstance)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _is_locked(path: Path) -> bool:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Shared, so that two commands that look at the same moment do not see each other.
        return not _try_lock(handle, fcntl.LOCK_SH)
    except OSError:
        return False
    finally:
        os.close(handle)


def _lock_patiently(handle: int, paths: Paths) -> None:
    deadline = time.monotonic() + LOCK_PATIENCE_S
    try:
        while not _try_lock(handle, fcntl.LOCK_EX):
            if time.monotonic() >= deadline:
                raise AlreadyRunningError(paths.data_dir, _read(paths.instance_file), _holder(handle))
            time.sleep(_LOCK_RETRY_S)
    except OSError as exc:
        reason = f"cannot be locked: {exc.strerror}; put the data folder on a local disk"
        raise StartupError(f"{paths.lock_file}: {reason}") from exc


def _holder(handle: int) -> int | None:
    """Read who has the lock from the file that it is on."""
    text = os.pread(handle, 20, 0)
    return int(text) if text.isdigit() else None


def _try_lock(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except OSError as exc:
        if exc.errno in {errno.EWOULDBLOCK, errno.EACCES}:
            return False
        raise
    return True


@dataclasses.dataclass(slots=True)
class ServerFacts:
    """What this gateway says of itself.

    Attributes:
        url: Where it listens; set before the first request is served, with `unix_socket` and `token_file`.
        cert_file: As in `RunningInstance`.
        cert_names: Names and addresses that it was for at the start.
        started_at: Monotonic seconds.
    """

    version: str
    url: str = dataclasses.field(init=False)
    cert_file: str | None = None
    cert_names: tuple[str, ...] = ()
    unix_socket: str | None = None
    token_file: str | None = None
    started_at: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def certified_url(self) -> str:
        """The address by which this machine's browsers reach it: by a name of its certificate, if it has one."""
        url = reachable_url(self.url)
        names = [name for name in self.cert_names if "*" not in name]
        return url if not names or urlsplit(url).hostname in names else _at_host(url, names[0])
