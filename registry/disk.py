"""Writing into the models folder: errors made ours, durable renames, links, free space, locks between processes.

Not here: which file goes where (`registry.pull.folder`), and reading what others wrote (`files.py`).
"""

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from registry.errors import PullDiskFullError, PullStoreError

RESERVE_BYTES: Final = 1 << 30
"""Disk space that stays free."""

_DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CANNOT_LINK: Final = frozenset({errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES})
_KEPT_OF_PULL: Final = "What was fetched is kept: free some space and resume the pull."


@contextmanager
def translate_os_errors(path: Path, *, kept: str = _KEPT_OF_PULL) -> Iterator[None]:
    """Turn the system's errors about the models folder into a PullDiskFullError or a PullStoreError.

    Args:
        path: What is written.
        kept: What is there all the same where the disk is full, and the way out, in a sentence.
    """
    try:
        yield
    except OSError as exc:
        if exc.errno in _DISK_FULL:
            raise PullDiskFullError(f"The disk with {path.parent} is full. {kept}") from exc
        raise PullStoreError(f"{path} cannot be written: {exc.strerror or exc}. Check its folder and owner.") from exc


def sync_file(fd: int) -> None:
    """Have a file's bytes on the disk."""
    full_sync = getattr(fcntl, "F_FULLFSYNC", None)
    if full_sync is not None:
        # Source: Apple, fsync(2): fsync leaves bytes in the drive's own cache; F_FULLFSYNC does not.
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, full_sync)
            return
    getattr(os, "fdatasync", os.fsync)(fd)


def sync_folder(folder: Path) -> None:
    """Have the entries of a folder, which exists, on the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):  # Some network file systems cannot; then there is nothing to wait for.
            os.fsync(fd)
    finally:
        os.close(fd)


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for this user only, whatever the umask is.

    Source: XDG Base Directory Specification: "If, when attempting to write a file, the destination directory is
    non-existent an attempt should be made to create it with permission 0700."
    """
    for each in (*reversed(folder.parents), folder):
        each.mkdir(mode=0o700, exist_ok=True)


def make_folder(folder: Path, base: Path) -> None:
    """Make a folder below a base, and the base, durably, without following a link out of the base.

    Raises:
        PullStoreError: Something else has the name, or leads elsewhere.
    """
    make_private(base)
    current = base
    for part in folder.relative_to(base).parts:
        parent, current = current, current / part
        try:
            current.mkdir(mode=0o700)
        except FileExistsError:
            if current.is_symlink() or not current.is_dir():
                raise PullStoreError(f"{current} is in the way: it is a link or a file. Move it away.") from None
        else:
            sync_folder(parent)


def is_left_by_finder(name: str) -> bool:
    """Tell whether macOS puts files of this name into folders that it shows: nobody misses them."""
    return name == ".DS_Store" or name.startswith("._")


def remove_folder(folder: Path) -> None:
    """Remove a folder that is empty or that only Finder has left something in; one with anything else stays."""
    with contextlib.suppress(OSError):
        left = list(folder.iterdir())
        if all(is_left_by_finder(path.name) for path in left):
            for path in left:
                path.unlink()
            folder.rmdir()


def move(source: Path, target: Path) -> None:
    """Rename a file or folder, whose content is on the disk, durably; a file in the way is replaced."""
    source.replace(target)
    sync_folder(target.parent)
    if source.parent != target.parent:
        sync_folder(source.parent)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file a second, free name, or copy it where that cannot be; on failure nothing is left behind."""
    try:
        os.link(source, target, follow_symlinks=True)
    except OSError as exc:
        if exc.errno not in _CANNOT_LINK:
            raise
        try:
            shutil.copyfile(source, target)
            with target.open("rb") as copy:
                sync_file(copy.fileno())
        except OSError:
            target.unlink(missing_ok=True)
            raise
    sync_folder(target.parent)


def existing(path: Path) -> Path:
    """Return a path, or the innermost folder of it that is there."""
    return next(folder for folder in (path, *path.parents) if folder.exists())


def free_bytes(folder: Path) -> int:
    """Tell how many bytes this user may write on a folder's disk."""
    return shutil.disk_usage(existing(folder)).free


class Lock:
    """A lock between processes, and between tasks: an flock on a file of its own. It goes with the process.

    Args:
        path: The file; made and removed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def try_acquire(self) -> bool:
        """Take the lock if nobody has it."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder before may have removed the file between our open and our lock.
            if self._path.exists() and os.path.samestat(os.fstat(fd), self._path.stat()):
                self._fd, fd = fd, -1
                return True
        except (BlockingIOError, FileNotFoundError):
            pass
        finally:
            if fd >= 0:
                os.close(fd)
        return False

    def release(self) -> None:
        """Give the lock back; allowed without having it."""
        if self._fd is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = None


def is_locked(path: Path) -> bool:
    """Tell whether somebody holds the lock of a path."""
    lock = Lock(path)
    is_free = lock.try_acquire()
    lock.release()
    return not is_free
