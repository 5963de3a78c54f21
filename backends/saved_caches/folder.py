"""The folder that the saved caches of all artifacts are in: how much may be in it, what is, and what goes.

One folder for each artifact on each engine is directly under it. Gateway and workers look at it, none of them owns it:
a file may be gone at any time.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

from backends.cache_files import PART_SUFFIX

SUFFIX: Final = ".kvcache"
DEFAULT_BYTES: Final = 8 * 10**9
"""Of all artifacts together, on a disk that has ten times as much free."""
_DISK_SHARE: Final = 0.1
_STALE_S: Final = 3600.0
"""Nobody has written to a part for so long: its writer was killed."""


class SavedFile(NamedTuple):
    """A saved cache.

    Attributes:
        used_at: When it was written or last read, seconds since 1970.
    """

    path: Path
    num_bytes: int
    used_at: float


def saved_files(root: Path) -> list[SavedFile]:
    """Return those of all artifacts, the last used first."""
    return _found(root.glob(f"*/*{SUFFIX}"))


def files_of(folder: Path) -> list[SavedFile]:
    """Return those of one artifact, whose folder it is, the last used first."""
    return _found(folder.glob(f"*{SUFFIX}"))


def _found(paths: Iterable[Path]) -> list[SavedFile]:
    found = []
    for path in paths:
        with contextlib.suppress(OSError):  # somebody may just have deleted it
            status = path.stat()
            found.append(SavedFile(path, status.st_size, status.st_mtime))
    return sorted(found, key=lambda file: (-file.used_at, file.path))


def max_bytes_for(root: Path, max_bytes: int | None) -> int:
    """Return how much may be in the folder.

    Args:
        root: Need not exist.
        max_bytes: What the config says; None = DEFAULT_BYTES, and no more than a tenth of what would be free without
            the files that are there.
    """
    if max_bytes is not None:
        return max_bytes
    num_saved = sum(file.num_bytes for file in saved_files(root))
    existing = next((folder for folder in (root, *root.parents) if folder.exists()), root)
    try:
        num_free = shutil.disk_usage(existing).free
    except OSError:
        return 0
    return min(DEFAULT_BYTES, int((num_free + num_saved) * _DISK_SHARE))


def prune(root: Path, max_bytes: int | None) -> None:
    """Delete the longest unused files until all together keep the bound, and what killed writers left."""
    num_left = max_bytes_for(root, max_bytes)
    for file in saved_files(root):
        num_left -= file.num_bytes
        if num_left < 0:
            _delete(file.path)
    for path in _stale_parts(root):
        _delete(path)


def clear(root: Path) -> list[SavedFile]:
    """Delete all files; return which. What is being written stays."""
    files = saved_files(root)
    for file in files:
        _delete(file.path)
    for folder in {file.path.parent for file in files}:
        with contextlib.suppress(OSError):  # something else is in it
            folder.rmdir()
    return files


def touch(path: Path) -> None:
    """Note that a file is used."""
    with contextlib.suppress(OSError):
        os.utime(path)


def _stale_parts(root: Path) -> Iterator[Path]:
    limit = time.time() - _STALE_S
    for path in root.glob(f"*/*{PART_SUFFIX}"):
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < limit:
                yield path


def _delete(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
