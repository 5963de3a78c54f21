"""Safe reading of files that others wrote: regular files only, never blocking, never more than asked for.

A folder of models may hold FIFOs, devices, symlink loops and files that change while they are read. Not here: any
format.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from registry.errors import ArtifactError

LFS_MARK: Final = b"version https://git-lfs"
"""How the small text begins that Git LFS leaves where a file was not fetched. Source: git-lfs, docs/spec.md."""

LFS_REASON: Final = (
    "this is a Git LFS pointer and not the file itself; fetch it with `git lfs pull`, "
    "or the model with `mlxr models pull`"
)


def is_there(path: Path | str) -> bool:
    """Tell whether there is something, as far as the system lets us look; `Path.exists` raises where it does not."""
    return os.path.exists(path)  # noqa: PTH110


def is_folder_at(path: Path | str) -> bool:
    """Tell whether there is a folder, as far as the system lets us look."""
    return os.path.isdir(path)  # noqa: PTH112


def is_file_at(path: Path | str) -> bool:
    """Tell whether there is a regular file, as far as the system lets us look."""
    return os.path.isfile(path)  # noqa: PTH113


def absence(path: Path | str) -> str:
    """Say of a file that could not be looked at what is the matter, as the end of a sentence that begins with it."""
    try:
        os.stat(path)  # noqa: PTH116
    except PermissionError:
        return "cannot be looked at by this user"
    except (OSError, ValueError):
        pass
    return "is gone"


@contextmanager
def about(path: Path) -> Iterator[None]:
    """Let errors be about a file or folder: the system's are made ours, and ours that name none get its name."""
    try:
        yield
    except ArtifactError as exc:
        exc.path = exc.path or path
        raise
    except OSError as exc:
        raise as_artifact_error(exc, path) from exc


@contextmanager
def open_regular(path: Path) -> Iterator[tuple[int, os.stat_result]]:
    """Open a regular file for reading; give its descriptor and stat.

    Symlinks are resolved first (the HF cache is made of them); the result is then opened without following any more,
    without blocking, and must be a regular file. Read with `os.pread`: a mapped file that is truncated kills a process.

    Raises:
        ArtifactError: not_found, unreadable, symlink_loop or not_a_regular_file; also for an I/O error in the body.
    """
    with about(path):
        try:
            resolved = os.path.realpath(path, strict=True)
        except ValueError as exc:
            raise ArtifactError("not_found", "the path has a NUL byte") from exc
        fd = os.open(resolved, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode):
                raise ArtifactError("not_a_regular_file", "this is not a regular file")
            yield fd, info
        finally:
            os.close(fd)


def read_small(path: Path, max_bytes: int) -> bytes:
    """Read a whole file that must be small.

    Raises:
        ArtifactError: As open_regular, or too_large.
    """
    with open_regular(path) as (fd, info):
        if info.st_size > max_bytes:
            raise ArtifactError("too_large", f"the file has {info.st_size} bytes; the limit is {max_bytes}", path=path)
        return pread_exact(fd, info.st_size, 0)


def pread_exact(fd: int, size: int, offset: int) -> bytes:
    """Read `size` bytes at `offset`, or fewer when the file ends."""
    data = os.pread(fd, size, offset)
    while len(data) < size and (more := os.pread(fd, size - len(data), offset + len(data))):
        data += more
    return data


def size_and_time(files: Iterable[Path | str]) -> tuple[int, int]:
    """Give the size of some files together, in bytes, and the newest time of modification, ns; links are followed.

    Raises:
        OSError: One is not there.
    """
    infos = [os.stat(file) for file in files]  # noqa: PTH116 - thousands of files
    return sum(info.st_size for info in infos), max((info.st_mtime_ns for info in infos), default=0)


def as_artifact_error(exc: OSError, path: Path) -> ArtifactError:
    """Turn the system's error about a model file into ours."""
    if isinstance(exc, FileNotFoundError | NotADirectoryError):
        return ArtifactError("not_found", "there is no such file", path=path)
    if isinstance(exc, PermissionError):
        return ArtifactError("unreadable", "the file cannot be read by this user", path=path)
    if exc.strerror and "symbolic link" in exc.strerror:
        return ArtifactError("symlink_loop", "the symbolic links lead in a circle", path=path)
    return ArtifactError("unreadable", f"the file cannot be read: {exc.strerror or exc}", path=path)
