"""The files of batches on disk: written as they come, under names of our own; blocking, for threads.

A file counts once its row is there (`store`); what lies in the folder without one is left from a crash and swept.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self

import msgspec

from router.jobs.batches.base import Batch, StoredFile
from router.jobs.batches.store import BatchStore
from router.stores.base import translated

_PRIVATE_FILE: Final = 0o600
_PRIVATE_FOLDER: Final = 0o700
_PARTIAL: Final = ".part"


class FileWriter:
    """One file that is being written.

    Raises:
        StoreUnavailableError: By any method: the disk does not take it.
    """

    def __init__(self, folder: Path, file_id: str) -> None:
        self._path = folder / file_id
        self._partial = folder / (file_id + _PARTIAL)
        self.num_bytes = 0
        with translated(folder):
            folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
            descriptor = os.open(self._partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE)
            self._file = os.fdopen(descriptor, "wb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Drop what was not finished."""
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._partial.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Add bytes."""
        with translated(self._partial):
            self._file.write(data)
        self.num_bytes += len(data)

    def finish(self) -> None:
        """Put the file in its place, all of it on disk."""
        with translated(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._partial.rename(self._path)


def write_lines(folder: Path, file_id: str, lines: Iterable[bytes]) -> int:
    """Write a file of lines, in the place of one of that name; return its size, 0 = there were no lines and no file is.

    Raises:
        StoreUnavailableError: The disk does not take it.
    """
    drop_file(folder, file_id + _PARTIAL)
    with FileWriter(folder, file_id) as writer:
        for line in lines:
            writer.write(line + b"\n")
        if writer.num_bytes:
            writer.finish()
        return writer.num_bytes


def drop_file(folder: Path, file_id: str) -> None:
    """Delete a file, if it is there.

    Raises:
        StoreUnavailableError: It cannot be deleted.
    """
    with translated(folder / file_id):
        (folder / file_id).unlink(missing_ok=True)


def sweep(folder: Path, known: set[str]) -> int:
    """Delete what a crash has left; return how many files went.

    Args:
        known: Names of those that have a row.
    """
    num_gone = 0
    with translated(folder):
        folder.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        for path in folder.iterdir():
            if path.name not in known and path.is_file():
                path.unlink(missing_ok=True)
                num_gone += 1
    return num_gone


def read_part(folder: Path, file_id: str, offset: int, num_bytes: int) -> bytes:
    """Return a part of a file.

    Raises:
        StoreUnavailableError: It cannot be read.
    """
    path = folder / file_id
    with translated(path), path.open("rb") as file:
        file.seek(offset)
        return file.read(num_bytes)


def write_results(store: BatchStore, folder: Path, batch: Batch, now: float) -> Batch:
    """Write the results of a batch whose lines have all ended, and keep it with its files in its final state.

    Again, after a crash in the middle, it gives the same files under the same ids.

    Args:
        now: Seconds since 1970.

    Raises:
        StoreUnavailableError: The disk does not take it.
    """
    output = _write_results_of(store, folder, batch, now, is_ok=True)
    errors = _write_results_of(store, folder, batch, now, is_ok=False)
    finished = msgspec.structs.replace(batch, output_file_id=output, error_file_id=errors)
    store.put_batch(finished)
    return finished


def _write_results_of(store: BatchStore, folder: Path, batch: Batch, now: float, *, is_ok: bool) -> str | None:
    kind = "output" if is_ok else "errors"
    file_id = f"file-{batch.batch_id.removeprefix('batch_')}{kind[0]}"
    num_bytes = write_lines(folder, file_id, store.results(batch.batch_id, is_ok=is_ok))
    if not num_bytes:
        return None
    expires_at = None if batch.output_age_s is None else now + batch.output_age_s
    store.put_file(
        StoredFile(
            file_id=file_id,
            filename=f"{batch.batch_id}_{kind}.jsonl",
            purpose="batch_output",
            num_bytes=num_bytes,
            created_at=now,
            expires_at=expires_at,
            owner=batch.owner,
        )
    )
    return file_id
