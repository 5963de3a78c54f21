"""Files that clients hand over to make models of: written as they come, kept under their checksum, found again.

    models/.uploads/sha256-HEX          verified, until it is used, or a week
    models/.uploads/RANDOM.part         on its way

Blocking, one `Upload` per thread at a time. Not here: HTTP, and what is made of the files (`models.py`).
"""

import contextlib
import hashlib
import os
import secrets
import time
from pathlib import Path
from typing import Final, Self

from registry.disk import RESERVE_BYTES, free_bytes, make_folder, move, sync_file, translate_os_errors
from registry.errors import ArtifactError, PullDiskFullError
from registry.pull.folder import fingerprint
from registry.pull.inventory import note_verified
from registry.store import Registry

FOLDER: Final = ".uploads"
KEPT_S: Final = 7 * 86_400.0
"""What nobody used for so long goes at the next upload."""

SYNC_BYTES: Final = 64 << 20
"""Written between two syncs, so that the last one is short."""


class Upload:
    """One file on its way. Open it with `begin`, and close it.

    A method may raise a PullDiskFullError (there is no room) or a PullStoreError (it cannot be written).

    Args:
        sha256: What the bytes must have: 64 hex digits, checked.
    """

    def __init__(self, models_dir: Path, database: Path, sha256: str, path: Path, fd: int) -> None:
        self._folder = models_dir / FOLDER
        self._database = database
        self._sha256 = sha256
        self._path = path
        self._fd: int | None = fd
        self._hash = hashlib.sha256()
        self._num_unsynced = 0

    @classmethod
    def begin(cls, models_dir: Path, database: Path, sha256: str, *, size_bytes: int | None) -> Self:
        """Begin an upload.

        Args:
            size_bytes: Of the whole, when the client says it.
        """
        folder = models_dir / FOLDER
        with translate_os_errors(folder):
            make_folder(folder, models_dir)
            _sweep(folder, time.time())
            check_room(folder, size_bytes or 0)
            path = folder / f"{secrets.token_hex(16)}.part"
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        return cls(models_dir, database, sha256, path, fd)

    def write(self, data: bytes) -> None:
        """Write what came."""
        assert self._fd is not None
        view = memoryview(data)
        with translate_os_errors(self._path):
            if self._num_unsynced >= SYNC_BYTES:
                check_room(self._folder, len(data))
                sync_file(self._fd)
                self._num_unsynced = 0
            while view:
                view = view[os.write(self._fd, view) :]
        self._hash.update(data)
        self._num_unsynced += len(data)

    def finish(self) -> Path:
        """Verify the whole and keep it.

        Raises:
            ArtifactError: digest_mismatch: the bytes have another checksum; they are thrown away.
        """
        assert self._fd is not None
        digest = self._hash.hexdigest()
        if digest != self._sha256:
            raise ArtifactError(
                "digest_mismatch", f"digest mismatch, expected sha256:{self._sha256}, got sha256:{digest}"
            )
        target = self._folder / f"sha256-{digest}"
        with translate_os_errors(target):
            sync_file(self._fd)
            move(self._path, target)
        note_blob(self._database, digest, target)
        return target

    def close(self) -> None:
        """Throw away what was not finished; closing twice is allowed."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)


def find_blob(database: Path, sha256: str) -> Path | None:
    """Find an unchanged file with certain bytes: uploaded, pulled, or hashed wherever it lies."""
    with Registry(database) as registry:
        for place in registry.files.with_sha256(sha256):
            real = Path(os.path.realpath(place.path))
            if fingerprint(real) == (place.size_bytes, place.mtime_ns):
                return real
    return None


def note_blob(database: Path, sha256: str, path: Path) -> None:
    """Remember that a file was proved to have certain bytes."""
    with Registry(database) as registry:
        note_verified(registry, f"sha256-{sha256}", path)


def drop_upload(models_dir: Path, database: Path, sha256: str) -> None:
    """Let go of an upload whose bytes have a better name now; others that need it find them there."""
    path = models_dir / FOLDER / f"sha256-{sha256}"
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
    with Registry(database) as registry:
        registry.files.forget_verified(str(path))


def check_room(folder: Path, size_bytes: int) -> None:
    """Refuse what would leave less than the reserve on the disk."""
    free = free_bytes(folder)
    if size_bytes > free - RESERVE_BYTES:
        raise PullDiskFullError(
            f"The file needs {size_bytes / 1e6:,.1f} MB in {folder}; there {free / 1e6:,.1f} MB are free, of which "
            f"{RESERVE_BYTES / 1e6:,.1f} MB stay in reserve. Free some space."
        )


def _sweep(folder: Path, now: float) -> None:
    for path in folder.iterdir():
        with contextlib.suppress(OSError):
            if path.lstat().st_mtime < now - KEPT_S:
                path.unlink()
