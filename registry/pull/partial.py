"""A file that is on its way: its bytes, and beside them the marks up to which they are surely on the disk.

`KEY.part` has the bytes, at their final offsets. `KEY.json` has the marks: it is replaced only after the bytes below
the new marks were synced, so that after a crash or a power cut no mark promises what is not there. Bytes beyond a mark
are fetched again. Not here: fetching, and any waiting; every method may block for the time of a disk access.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, Self

import msgspec

from registry.disk import move, sync_file, translate_os_errors
from registry.errors import PullStoreError
from registry.files import pread_exact

HASH_BYTES: Final = 4 << 20
"""Read at once for a hash; some milliseconds of work."""

MAX_MARKS_BYTES: Final = 4 << 20
_STRONG_ETAG: Final = re.compile(r'"[\x21\x23-\x7e]{1,200}"')
"""Source: RFC 9110, 8.8.3. Weak ones (`W/"..."`) say nothing about bytes, and If-Range must not have them."""

HashKind = Literal["sha256", "git_sha1"]


class Segment(msgspec.Struct, kw_only=True):
    """A piece of a file. Changed in place as bytes come.

    Attributes:
        start: Offset of its first byte.
        done: Offset behind the last byte that is there, counted from `start` without a gap.
    """

    start: int
    end: int
    done: int

    @property
    def is_complete(self) -> bool:
        """Whether all of it is there."""
        return self.done == self.end


class _Marks(msgspec.Struct, kw_only=True):
    """What stands in `KEY.json`."""

    version: Literal[1] = 1
    size_bytes: int
    etag: str | None
    segments: list[Segment]


class PartialFile:
    """A file on its way. Open it with `open`, and close it.

    Any method may raise a PullDiskFullError or a PullStoreError.
    """

    def __init__(self, path: Path, fd: int, marks: _Marks) -> None:
        self._path = path
        self._fd = fd
        self._marks = marks
        self.segments = marks.segments

    @classmethod
    def open(cls, path: Path, size_bytes: int, segment_bytes: int) -> Self:
        """Go on with a partial file, or begin one.

        Args:
            path: `KEY.part`.
            segment_bytes: Of the segments, when it is begun.
        """
        with translate_os_errors(path):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                marks = _load(path, size_bytes) if os.fstat(fd).st_size == size_bytes else None
                if marks is None:
                    marks = _Marks(size_bytes=size_bytes, etag=None, segments=cut(size_bytes, segment_bytes))
                    _marks_path(path).unlink(missing_ok=True)
                    os.ftruncate(fd, 0)
                    os.ftruncate(fd, size_bytes)
            except BaseException:
                os.close(fd)
                raise
        return cls(path, fd, marks)

    @property
    def size_bytes(self) -> int:
        """Of the whole file."""
        return self._marks.size_bytes

    @property
    def num_done(self) -> int:
        """Bytes that are there."""
        return num_done(self.segments)

    @property
    def etag(self) -> str | None:
        """The strong validator of the answers that the bytes came from."""
        return self._marks.etag

    def note_etag(self, etag: str | None) -> None:
        """Remember the validator; a weak or strange one is not kept."""
        self._marks.etag = etag if etag is not None and _STRONG_ETAG.fullmatch(etag) is not None else None

    def write(self, data: bytes, offset: int) -> None:
        """Write bytes to their place."""
        view = memoryview(data)
        with translate_os_errors(self._path):
            while view:
                written = os.pwrite(self._fd, view, offset)
                view, offset = view[written:], offset + written

    def snapshot(self) -> bytes:
        """Take the marks as they are now, for `store`."""
        return msgspec.json.encode(self._marks)

    def store(self, snapshot: bytes) -> None:
        """Make marks durable, after the bytes below them.

        Args:
            snapshot: Taken when all bytes below the marks were written.
        """
        path = _marks_path(self._path)
        fresh = path.with_suffix(".json.new")
        with translate_os_errors(self._path):
            sync_file(self._fd)
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                os.write(fd, snapshot)
                sync_file(fd)
            finally:
                os.close(fd)
            move(fresh, path)

    def reset(self, segment_bytes: int) -> None:
        """Throw away what is there and begin anew."""
        with translate_os_errors(self._path):
            _marks_path(self._path).unlink(missing_ok=True)
            os.ftruncate(self._fd, 0)
            os.ftruncate(self._fd, self.size_bytes)
        self._marks.etag = None
        self._marks.segments = self.segments = cut(self.size_bytes, segment_bytes)

    def hasher(self, kind: HashKind) -> "FileHasher":
        """Begin a hash over the file."""
        return FileHasher(self._fd, self.size_bytes, kind)

    def finish(self, target: Path) -> None:
        """Give the complete, verified file its next name, in a folder of the same file system."""
        with translate_os_errors(target):
            sync_file(self._fd)
            move(self._path, target)
            _marks_path(self._path).unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; what is there stays."""
        os.close(self._fd)


class FileHasher:
    """A hash that follows a file as its beginning grows.

    Args:
        kind: `sha256` of the bytes, or `git_sha1`: SHA-1 over `blob SIZE`, a NUL and the bytes.
    """

    def __init__(self, fd: int, size_bytes: int, kind: HashKind) -> None:
        self._fd = fd
        self.position = 0
        if kind == "sha256":
            self._hash = hashlib.sha256()
        else:
            # Source: Git, "Git Objects": header = "blob #{content.bytesize}\0".
            self._hash = hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)

    def advance(self, end: int) -> None:
        """Hash some more of the bytes below an offset, which are there; at most HASH_BYTES."""
        data = pread_exact(self._fd, min(end - self.position, HASH_BYTES), self.position)
        if not data:
            raise PullStoreError("A partial file became shorter while it was read. Resume the pull.")
        self._hash.update(data)
        self.position += len(data)

    def hexdigest(self) -> str:
        """Give the hash of what was hashed so far."""
        return self._hash.hexdigest()


def _marks_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _load(path: Path, size_bytes: int) -> _Marks | None:
    """Read the marks; damaged or foreign ones count as none."""
    with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
        fd = os.open(_marks_path(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            marks = msgspec.json.decode(pread_exact(fd, MAX_MARKS_BYTES, 0), type=_Marks)
        finally:
            os.close(fd)
        if marks.size_bytes == size_bytes and is_sound(marks.segments, size_bytes):
            return marks
    return None


def remove_partial(path: Path) -> None:
    """Throw away a file on its way, `KEY.part`, and its marks, if there are any."""
    with translate_os_errors(path):
        _marks_path(path).unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def partial_bytes(path: Path, size_bytes: int) -> int:
    """Tell how many bytes of a file on its way, `KEY.part`, are below its marks."""
    try:
        is_there = path.stat().st_size == size_bytes
    except OSError:
        return 0
    marks = _load(path, size_bytes) if is_there else None
    return num_done(marks.segments) if marks is not None else 0


def cut(size_bytes: int, segment_bytes: int) -> list[Segment]:
    """Cut a file into segments, in order, nothing done; one empty segment for an empty file."""
    starts = range(0, max(size_bytes, 1), segment_bytes)
    return [Segment(start=start, end=min(start + segment_bytes, size_bytes), done=start) for start in starts]


def is_sound(segments: Sequence[Segment], size_bytes: int) -> bool:
    """Tell whether segments that were stored cover a file once, in order, without a gap."""
    end = 0
    for segment in segments:
        if segment.start != end or not segment.start <= segment.done <= segment.end:
            return False
        end = segment.end
    return end == size_bytes and bool(segments)


def num_done(segments: Sequence[Segment]) -> int:
    """Count the bytes that are there."""
    return sum(segment.done - segment.start for segment in segments)


def prefix_end(segments: Sequence[Segment]) -> int:
    """Give the offset up to which nothing is missing, of a file's segments in order."""
    end = 0
    for segment in segments:
        end = segment.done
        if not segment.is_complete:
            break
    return end
