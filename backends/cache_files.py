"""Saved caches on disk: a header, the engine's own bytes and checksums; they are handed out only when all is right.

Not the content: what an engine puts in is its library's format, which the library may abort on where it is damaged.
A file is MAGIC, the header's length (uint32, little-endian), the header (msgpack), the payload, the trailer (msgpack),
its length (uint32) and the SHA-256 of everything but the payload. The payload's checksums are in the trailer, one for
each PIECE_BYTES of it, so that it is written piece by piece and checked on several cores.
"""

import contextlib
import hashlib
import mmap
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import msgspec

from backends.errors import EngineError

MAGIC: Final = b"mlxrkvc3"
PIECE_BYTES: Final = 4 << 20
"""Written and checked at once: some 10 ms."""
PART_SUFFIX: Final = ".part"
"""Of files that are being written."""
_LENGTH_BYTES: Final = 4
_DIGEST_BYTES: Final = 32
_END_BYTES: Final = _LENGTH_BYTES + _DIGEST_BYTES
_MAX_HEADER_BYTES: Final = 32 << 20
"""More than the ids of any context take, and than the checksums of any cache."""
_MAX_CHECKERS: Final = 4
_PIECES_PER_CHECKER: Final = 8
"""Fewer are checked by the time that a thread has started on a busy machine."""


class CacheHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands before the payload.

    Attributes:
        fingerprint: Engine, version, model and whatever else the payload's form depends on.
        token_ids: The tokens that the cache holds.
        owner: Whose requests may begin with it: an API key's id; None = those of nobody's key.
        places: Numbers of first tokens after which it has checkpoints, ascending: the last parts, one for each.
    """

    fingerprint: str
    token_ids: list[int]
    owner: str | None = None
    places: tuple[int, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Whether all places are inside the tokens, of which there are some."""
        borders = (0, *self.places, len(self.token_ids) + 1)
        return bool(self.token_ids) and all(one < other for one, other in pairwise(borders))


class _Trailer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands behind the payload.

    Attributes:
        part_bytes: Sizes of the parts that the payload consists of.
        digests: SHA-256 of each PIECE_BYTES of the payload.
    """

    part_bytes: list[int]
    digests: list[bytes]


class ExportedCache(NamedTuple):
    """A cache on its way into a file; it stays as it is whatever becomes of its sequence.

    Attributes:
        token_ids: The tokens that it holds, >= 1.
        num_bytes: What the parts take together, about.
        parts: The engine's bytes, made one after the other on the engine's thread.
        places: As in the header.
    """

    token_ids: list[int]
    num_bytes: int
    parts: Iterator[memoryview]
    places: tuple[int, ...] = ()


class SavedCache(NamedTuple):
    """A file's content.

    Attributes:
        num_tokens: The first tokens of the text that it holds, >= 1.
        parts: The engine's bytes, in memory that goes back to the system with the last of them.
        checkpoints: Likewise those of the states after some first tokens, by how many.
    """

    num_tokens: int
    parts: list[memoryview]
    checkpoints: dict[int, memoryview]


class CacheWriter:
    """Writes a file in pieces; it is complete or not there.

    Attributes:
        num_bytes: Of the whole file, once it is complete.

    Raises:
        EngineError: From every method but `give_up`: the disk is full, the folder is gone, or the like.
    """

    def __init__(self, path: Path, fingerprint: str, cache: ExportedCache, owner: str | None = None) -> None:
        self.path = path
        self.num_bytes = 0
        self._parts = cache.parts
        self._rest = memoryview(b"")
        self._part_bytes: list[int] = []
        self._digests: list[bytes] = []
        self._piece = hashlib.sha256()
        self._num_in_piece = 0
        header = msgspec.msgpack.encode(CacheHeader(fingerprint, cache.token_ids, owner, cache.places))
        self._start = MAGIC + len(header).to_bytes(_LENGTH_BYTES, "little") + header
        with self._errors():
            descriptor, part_name = tempfile.mkstemp(prefix=path.name, suffix=PART_SUFFIX, dir=path.parent)
            self._part = Path(part_name)
            self._file = os.fdopen(descriptor, "wb", buffering=0)
            self._write(self._start)

    def write_piece(self) -> bool:
        """Write at most PIECE_BYTES more; return whether the file is complete, under its name."""
        with self._errors():
            while self._num_in_piece < PIECE_BYTES:
                if not self._rest:
                    part = next(self._parts, None)
                    if part is None:
                        self._finish()
                        return True
                    self._rest = part.cast("B")
                    self._part_bytes.append(len(self._rest))
                self._write_payload(self._rest[: PIECE_BYTES - self._num_in_piece])
            self._end_piece()
        return False

    def give_up(self) -> None:
        """Leave nothing behind; of a complete file it takes nothing away."""
        self._rest, self._parts = memoryview(b""), iter(())
        with contextlib.suppress(OSError):
            self._file.close()
        with contextlib.suppress(OSError):
            self._part.unlink()

    def _write_payload(self, data: memoryview) -> None:
        self._piece.update(data)
        self._write(data)
        self._num_in_piece += len(data)
        self._rest = self._rest[len(data) :]

    def _end_piece(self) -> None:
        self._digests.append(self._piece.digest())
        self._piece = hashlib.sha256()
        self._num_in_piece = 0

    def _finish(self) -> None:
        if self._num_in_piece:
            self._end_piece()
        trailer = msgspec.msgpack.encode(_Trailer(self._part_bytes, self._digests))
        trailer += len(trailer).to_bytes(_LENGTH_BYTES, "little")
        self._write(trailer + hashlib.sha256(self._start + trailer).digest())
        self._file.close()
        self._part.replace(self.path)

    def _write(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        while rest:
            num_written = self._file.write(rest)
            self.num_bytes += num_written
            rest = rest[num_written:]

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            if hasattr(self, "_file"):
                self.give_up()
            raise EngineError(f"the cache cannot be saved in {self.path}: {exc.strerror or exc}") from exc
        except EngineError:
            self.give_up()
            raise


def write_cache(path: Path, fingerprint: str, cache: ExportedCache, owner: str | None = None) -> int:
    """Write a file that is complete or not there; return its size in bytes.

    Raises:
        EngineError: The disk is full, the folder is gone, or the like.
    """
    writer = CacheWriter(path, fingerprint, cache, owner)
    while not writer.write_piece():
        pass
    return writer.num_bytes


def read_header(path: Path) -> CacheHeader | None:
    """Return what a file says of itself; None for what is no such file. Its checksums are not looked at."""
    try:
        with path.open("rb") as file:
            start = _read_start(file)
    except OSError:
        return None
    return None if start is None else start.header


def read_cache(path: Path, fingerprint: str, token_ids: list[int]) -> SavedCache | None:
    """Read a file back; None when it is missing, damaged, or not of this model, engine, version and text.

    Args:
        fingerprint: What its header must say.
        token_ids: The text; the file's tokens must be a beginning of it.
    """
    try:
        with path.open("rb") as file:
            start = _read_start(file)
            if start is None or start.header.fingerprint != fingerprint:
                return None
            held, places = start.header.token_ids, start.header.places
            trailer = _read_trailer(file, start)
            if trailer is None or not start.header.is_sound or held != token_ids[: len(held)]:
                return None
            payload = _read_payload(file.fileno(), start.num_bytes, trailer)
    except OSError:  # also: there is no memory for it
        return None
    if payload is None or len(payload) <= len(places):
        return None
    num_own = len(payload) - len(places)
    return SavedCache(len(held), payload[:num_own], dict(zip(places, payload[num_own:], strict=True)))


class _Start(NamedTuple):
    """What a file begins with, read and as it is."""

    header: CacheHeader
    num_bytes: int
    data: bytes


def _read_start(file: BinaryIO) -> _Start | None:
    start = file.read(len(MAGIC) + _LENGTH_BYTES)
    num_bytes = int.from_bytes(start[len(MAGIC) :], "little")
    if not start.startswith(MAGIC) or num_bytes > _MAX_HEADER_BYTES:
        return None
    data = file.read(num_bytes)
    try:
        header = msgspec.msgpack.decode(data, type=CacheHeader)
    except (msgspec.MsgspecError, UnicodeDecodeError):  # also what is cut off
        return None
    return _Start(header, len(start) + num_bytes, start + data)


def _read_trailer(file: BinaryIO, start: _Start) -> _Trailer | None:
    """Read what stands behind the payload; None where it does not belong to what stands before it, or to the size."""
    size = os.fstat(file.fileno()).st_size
    if size < start.num_bytes + _END_BYTES:
        return None
    file.seek(size - _END_BYTES)
    end = file.read(_END_BYTES)
    num_bytes = int.from_bytes(end[:_LENGTH_BYTES], "little")
    if num_bytes > min(_MAX_HEADER_BYTES, size - start.num_bytes - _END_BYTES):
        return None
    file.seek(size - _END_BYTES - num_bytes)
    data = file.read(num_bytes)
    if hashlib.sha256(start.data + data + end[:_LENGTH_BYTES]).digest() != end[_LENGTH_BYTES:]:
        return None
    try:
        trailer = msgspec.msgpack.decode(data, type=_Trailer)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    payload_bytes = size - start.num_bytes - _END_BYTES - num_bytes
    is_as_long = sum(trailer.part_bytes) == payload_bytes > 0
    return trailer if is_as_long and len(trailer.digests) == -(-payload_bytes // PIECE_BYTES) else None


def _read_payload(descriptor: int, start: int, trailer: _Trailer) -> list[memoryview] | None:
    """Read and check all pieces, several at a time; None where one is damaged.

    Raises:
        OSError: It cannot be read, or there is no memory for it.
    """
    payload = memoryview(mmap.mmap(-1, sum(trailer.part_bytes), flags=mmap.MAP_PRIVATE | mmap.MAP_ANON))

    def is_sound(index: int) -> bool:
        place, digest = index * PIECE_BYTES, hashlib.sha256()
        ends_at = min(place + PIECE_BYTES, len(payload))
        while place < ends_at:
            data = os.pread(descriptor, ends_at - place, start + place)
            if not data:
                return False
            digest.update(data)
            payload[place : place + len(data)] = data
            place += len(data)
        return digest.digest() == trailer.digests[index]

    num_checkers = min(_MAX_CHECKERS, os.cpu_count() or 1, len(trailer.digests) // _PIECES_PER_CHECKER)
    pieces = range(len(trailer.digests))
    if num_checkers <= 1:
        is_whole = all(map(is_sound, pieces))
    else:
        with ThreadPoolExecutor(num_checkers) as pool:
            is_whole = all(pool.map(is_sound, pieces))
    if not is_whole:
        return None
    parts, place = [], 0
    for num_bytes in trailer.part_bytes:
        parts.append(payload[place : place + num_bytes])
        place += num_bytes
    return parts
