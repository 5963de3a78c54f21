"""Keys without a store: the one of the environment (`MLXR_API_KEY`), and the one in a file (`server.api_key_file`).

Both may everything. Such a key is somebody's own choice, so it must have a length at which nobody guesses it.
"""

import logging
import time
from pathlib import Path
from typing import Final

from router.errors import StartupError
from router.http.caller import Scope
from router.keys.key import MAX_SECRET_BYTES, NUM_SHOWN_CHARS, SECRET_PREFIX, Key, Locked, locked

KEY_VARIABLE: Final = "MLXR_API_KEY"
"""Of the environment: of the server its key, of the command line what it sends."""

MIN_SECRET_CHARS: Final = 16

_MODE_OF_OTHERS: Final = 0o077
_logger = logging.getLogger(__name__)


def environment_key(secret: str) -> Locked:
    """Return the key of the environment.

    Raises:
        StartupError: It is too short, too long, or has what no header can carry.
    """
    problem = _problem(secret)
    if problem is not None:
        raise StartupError(f"{KEY_VARIABLE} {problem}.")
    return _locked("environment", secret.encode())


class KeyFile:
    """The key in a file, read again when the file has changed.

    Args:
        path: Its first line is the key.

    Raises:
        StartupError: There is no key in it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int, int] | None = None
        self._locked: Locked | None = None
        problem = self._read()
        if problem is not None:
            raise StartupError(f"server.api_key_file: {path} {problem}.")

    def locked(self) -> list[Locked]:
        """Return the key; none while the file has none, which opens nothing."""
        if self._stamp != self._stamped():
            problem = self._read()
            if problem is not None:
                _logger.warning("server.api_key_file: %s %s; its key no longer counts", self._path, problem)
        return [] if self._locked is None else [self._locked]

    def _read(self) -> str | None:
        """Read the file; return what is wrong with it, or None."""
        self._stamp, self._locked = self._stamped(), None
        try:
            with self._path.open("rb") as file:
                mode = self._path.stat().st_mode
                line = file.readline(MAX_SECRET_BYTES + 2)
        except OSError as exc:
            return f"cannot be read: {exc.strerror}"
        secret = line.decode("utf-8", "replace").strip()
        problem = _problem(secret)
        if problem is not None:
            return problem
        if mode & _MODE_OF_OTHERS:
            _logger.warning("%s can be read by others; `chmod 600 %s` keeps the key to you", self._path, self._path)
        self._locked = _locked("file", secret.encode())
        return None

    def _stamped(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino


def _problem(secret: str) -> str | None:
    if len(secret) < MIN_SECRET_CHARS:
        needed = f"it needs {MIN_SECRET_CHARS} that nobody guesses; `openssl rand -hex 24` makes such a key"
        return f"has a key of {len(secret)} characters: {needed}"
    if len(secret) > MAX_SECRET_BYTES or not all("!" <= char <= "~" for char in secret):
        return f"has a key that no header can carry: use up to {MAX_SECRET_BYTES} letters, digits and signs, no spaces"
    return None


def _locked(place: str, secret: bytes) -> Locked:
    is_ours = secret.startswith(SECRET_PREFIX.encode())
    key = Key(
        id=f"key_{place}",
        name=place,
        prefix=secret[:NUM_SHOWN_CHARS].decode() if is_ours else "",
        scope=Scope.ADMIN,
        created_at=time.time(),
    )
    return locked(key, secret)
