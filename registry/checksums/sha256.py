"""SHA-256 of model files: computing it, and reading it off the names that other tools give.

Not here: which files are hashed, and when (`hashing.py`).
"""

import contextlib
import fcntl
import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from registry.catalogue import FileHash
from registry.errors import ArtifactError
from registry.files import open_regular

CHUNK_BYTES: Final = 4 << 20
"""Read at a time. hashlib lets other threads run meanwhile."""

_BLOB_NAME: Final = re.compile(r"(?:sha256-)?(?P<sha256>[0-9a-f]{64})", re.ASCII)


class HashingStoppedError(ArtifactError):
    """The hashing was asked to stop before it was through."""


def sha256_of_blob_name(name: str) -> str | None:
    """Read the checksum off a content-addressed file's name: `<64 hex>` (HF cache) or `sha256-<64 hex>` (Ollama)."""
    match = _BLOB_NAME.fullmatch(name)
    return None if match is None else match["sha256"]


def hash_file(
    path: Path | str,
    *,
    on_progress: Callable[[int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> FileHash:
    """Compute the checksum of a file, without pushing other data out of the system's cache.

    Args:
        on_progress: Called with the number of bytes of each piece.

    Raises:
        HashingStoppedError: `should_stop` said so.
        ArtifactError: changed: it was written to meanwhile. Or it cannot be read.
    """
    path = Path(path)
    digest = hashlib.sha256()
    with open_regular(path) as (fd, before):
        _read_past_cache(fd)
        offset = 0
        while True:
            if should_stop is not None and should_stop():
                raise HashingStoppedError("stopped", "the hashing was stopped", path=path)
            chunk = os.pread(fd, CHUNK_BYTES, offset)
            if not chunk:
                break
            digest.update(chunk)
            _forget_cached(fd, offset, len(chunk))
            offset += len(chunk)
            if on_progress is not None:
                on_progress(len(chunk))
        after = os.fstat(fd)
    if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns) or offset != before.st_size:
        raise ArtifactError("changed", "the file was changed while it was read", path=path)
    return FileHash.of(path, before, digest.hexdigest(), is_computed=True)


def _read_past_cache(fd: int) -> None:
    """macOS: read without keeping. Source: fcntl(2), F_NOCACHE."""
    if hasattr(fcntl, "F_NOCACHE"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(fd, fcntl.F_NOCACHE, 1)


def _forget_cached(fd: int, offset: int, size: int) -> None:
    """Linux: give the pages back. Those that a worker has mapped stay. Source: posix_fadvise(2)."""
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            os.posix_fadvise(fd, offset, size, os.POSIX_FADV_DONTNEED)
