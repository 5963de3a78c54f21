"""Saved caches on disk: a header, a checksum and the engine's own bytes, which are handed out only when all is right.

Not the content: what an engine puts in is its library's format, which the library may abort on where it is damaged.
A file is MAGIC, the header's length (uint32, little-endian), the header (msgpack), the payload.
"""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import BinaryIO, NamedTuple

import msgspec

from backends.errors import EngineError

MAGIC = b"mlxrkvc1"
_LENGTH_BYTES = 4
_MAX_HEADER_BYTES = 32 * 2**20
"""More than the ids of any context take."""


class CacheHeader(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What stands before the payload.

    Attributes:
        fingerprint: Model, engine, versions and whatever else the payload's form depends on.
        token_ids: The tokens that the cache holds.
        digest: BLAKE2b-256 of the payload.
    """

    fingerprint: str
    token_ids: list[int]
    payload_bytes: int
    digest: bytes


class SavedCache(NamedTuple):
    """A file's content.

    Attributes:
        num_tokens: The first tokens of the text that it holds, >= 1.
        payload: The engine's bytes.
    """

    num_tokens: int
    payload: bytes


def write_cache(path: Path, fingerprint: str, token_ids: list[int], payload: bytes | memoryview) -> int:
    """Write a file that is complete or not there; return its size in bytes.

    Raises:
        EngineError: The disk is full, the folder is gone, or the like.
    """
    header = msgspec.msgpack.encode(CacheHeader(fingerprint, token_ids, len(payload), _digest(payload)))
    start = MAGIC + len(header).to_bytes(_LENGTH_BYTES, "little") + header
    try:
        descriptor, part_name = tempfile.mkstemp(prefix=path.name, suffix=".part", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as part:
                part.write(start)
                part.write(payload)
            Path(part_name).replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                Path(part_name).unlink()
            raise
    except OSError as exc:
        raise EngineError(f"the cache cannot be saved in {path}: {exc.strerror or exc}") from exc
    return len(start) + len(payload)


def read_header(path: Path) -> CacheHeader | None:
    """Return what a file says of itself; None for what is no such file. The payload is not looked at."""
    try:
        with path.open("rb") as file:
            return _read_header(file)
    except OSError:
        return None


def read_cache(path: Path, fingerprint: str, token_ids: list[int]) -> SavedCache | None:
    """Read a file back; None when it is missing, damaged, or not of this model, engine, version and text.

    Args:
        fingerprint: What its header must say.
        token_ids: The text; the file's tokens must be a beginning of it.
    """
    try:
        with path.open("rb") as file:
            header = _read_header(file)
            if header is None or header.fingerprint != fingerprint or not header.token_ids:
                return None
            num_tokens = len(header.token_ids)
            is_as_long = os.fstat(file.fileno()).st_size - file.tell() == header.payload_bytes
            if not is_as_long or header.token_ids != token_ids[:num_tokens]:
                return None
            payload = file.read()
    except OSError:
        return None
    return SavedCache(num_tokens, payload) if _digest(payload) == header.digest else None


def _read_header(file: BinaryIO) -> CacheHeader | None:
    start = file.read(len(MAGIC) + _LENGTH_BYTES)
    num_bytes = int.from_bytes(start[len(MAGIC) :], "little")
    if not start.startswith(MAGIC) or num_bytes > _MAX_HEADER_BYTES:
        return None
    try:
        return msgspec.msgpack.decode(file.read(num_bytes), type=CacheHeader)
    except (msgspec.MsgspecError, UnicodeDecodeError):  # also what is cut off
        return None


def _digest(payload: bytes | memoryview) -> bytes:
    return hashlib.blake2b(payload, digest_size=32).digest()
