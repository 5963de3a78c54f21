"""The unix socket of this user's own programs, and the token that opens the server to who can read its file.

The socket lies in a folder that only this user can enter, and the token is a new one for each run of the server. The
command line uses both by itself. Not here: binding (`router.http.sockets`), who is let in (`router.keys`).
"""

import contextlib
import hashlib
import hmac
import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import Final, Self

from registry.disk import make_private
from router.config.paths import Paths
from router.config.server import MAX_SOCKET_PATH_CHARS

AUTO: Final = "auto"
"""As `server.unix_socket`: mlxr chooses the place."""

_SOCKET_NAME: Final = "mlxr.sock"
_PRIVATE_MODE: Final = 0o700
_MODE_OF_OTHERS: Final = 0o077
_MAX_TOKEN_BYTES: Final = 256


def socket_path(setting: str | None, paths: Paths) -> Path | None:
    """Return where the socket is to be; None = there is to be none, or there is no place where it is safe.

    Args:
        setting: `server.unix_socket`.
    """
    if setting is None or setting != AUTO:
        return None if setting is None else Path(setting)
    own = paths.runtime_dir / _SOCKET_NAME
    if len(os.fsencode(own)) > MAX_SOCKET_PATH_CHARS:
        # A socket's path is short on every system. The name is the user's and the data folder's, so that a second
        # server has another one.
        name = hashlib.sha256(os.fsencode(paths.data_dir)).hexdigest()[:12]
        own = Path(tempfile.gettempdir()) / f"mlxr-{os.getuid()}-{name}" / _SOCKET_NAME
    fits = len(os.fsencode(own)) <= MAX_SOCKET_PATH_CHARS
    return own if fits and is_private_folder(own.parent) else None


def is_private_folder(folder: Path) -> bool:
    """Make a folder that only this user can enter, or one that is there so; tell whether that is possible."""
    try:
        make_private(folder)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            return False  # somebody else was faster, or a link leads elsewhere
        if found.st_mode & _MODE_OF_OTHERS:
            folder.chmod(_PRIVATE_MODE)
    except OSError:
        return False
    return True


class Capability:
    """A token, for the time of a `with` in a file that only this user can read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._token = secrets.token_urlsafe(32).encode()

    def opens(self, secret: bytes) -> bool:
        """Tell whether it is the token, in a time that does not hang on where it differs."""
        return hmac.compare_digest(hashlib.sha256(secret).digest(), hashlib.sha256(self._token).digest())

    def __enter__(self) -> Self:
        is_private_folder(self.path.parent)
        self.path.unlink(missing_ok=True)  # of a server that was killed
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(self._token)
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the file, unless another server's is there."""
        if read_token(self.path) == self._token.decode():
            with contextlib.suppress(OSError):
                self.path.unlink()


def read_token(path: Path | str | None) -> str | None:
    """Return the token of the server that runs; None where there is none, or not for us."""
    if path is None:
        return None
    try:
        with Path(path).open("rb") as file:
            return file.read(_MAX_TOKEN_BYTES).decode()
    except (OSError, UnicodeDecodeError):
        return None
