"""Files with conversations: JSON, JSON Lines, and archives of such; each conversation stands for itself. Pure."""

import io
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from router.errors import InvalidRequestError
from router.protocols.conversations.importing.base import Imported, Problem, UnreadableError
from router.protocols.conversations.importing.formats import reader_for

MAX_BYTES: Final = 128 << 20
"""Of the texts of a file, unpacked."""
MAX_ENTRIES: Final = 5_000
"""Of an archive."""
_FORMATS: Final = "mlxr, Open WebUI, ChatGPT, LM Studio and llama.cpp's page"
_ZIP: Final = b"PK\x03\x04"
_SUFFIXES: Final = (".json", ".jsonl")
_CHUNK: Final = 1 << 20


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a file has."""

    conversations: list[Imported]
    problems: list[Problem]


def read_conversations(body: bytes) -> Reading:
    """Return the conversations of a file; one that cannot be read costs no other.

    Raises:
        InvalidRequestError: It is no file with conversations, or too large.
    """
    found: list[Imported] = []
    problems: list[Problem] = []
    num_entries = 0
    for file_name, text in _texts_of(body):
        try:
            entries = _entries_of(text)
        except UnreadableError as exc:
            if file_name is None:
                raise InvalidRequestError(f"The file cannot be read: {exc}.") from exc
            problems.append(Problem(name=file_name, reason=str(exc)))
            continue
        for entry in entries:
            num_entries += 1
            try:
                found.append(_read(entry))
            except (UnreadableError, AttributeError, KeyError, TypeError, ValueError, RecursionError) as exc:
                reason = str(exc) if isinstance(exc, UnreadableError) else "it is not of the form that it seems to be"
                problems.append(Problem(name=_name_of(entry, num_entries), reason=reason))
    if not num_entries and not problems:
        raise InvalidRequestError(f"The file has no conversations; those of {_FORMATS} can be read.")
    return Reading(conversations=found, problems=problems)


def _read(entry: Any) -> Imported:
    reader = reader_for(entry)
    if reader is None:
        raise UnreadableError(f"its form is not known; those of {_FORMATS} are")
    return reader(entry)


def _texts_of(body: bytes) -> Iterator[tuple[str | None, bytes]]:
    """Yield what is to be read, with its name in an archive; None = it is none."""
    if not body.startswith(_ZIP):
        yield None, body
        return
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_ENTRIES:
                raise InvalidRequestError(f"The archive has more than {MAX_ENTRIES} files.")
            num_left = MAX_BYTES
            for entry in entries:
                if _may_have_conversations(entry.filename):
                    text = _unpacked(archive, entry, num_left)
                    num_left -= len(text)
                    yield entry.filename, text
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError) as exc:
        raise InvalidRequestError(f"The archive cannot be read: {exc}.") from exc


def _may_have_conversations(name: str) -> bool:
    """Tell whether a file of an archive is one to read: ChatGPT's have others with names of their own."""
    base = name.rpartition("/")[2].lower()
    return base.endswith(_SUFFIXES) and base not in {"user.json", "message_feedback.json", "shared_conversations.json"}


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit_bytes: int) -> bytes:
    """Read a file by what really comes: what an archive says of sizes may be a lie."""
    text = bytearray()
    with archive.open(entry) as file:
        while chunk := file.read(_CHUNK):
            text += chunk
            if len(text) > limit_bytes:
                raise InvalidRequestError(f"The archive has more than {MAX_BYTES} bytes of texts.")
    return bytes(text)


def _entries_of(text: bytes) -> list[Any]:
    try:
        read = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        read = _lines_of(text)
    entries = read if isinstance(read, list) else [read]
    return [entry for entry in entries if not (isinstance(entry, dict) and "format" in entry and "version" in entry)]


def _lines_of(text: bytes) -> list[Any]:
    try:
        return [msgspec.json.decode(line) for line in text.splitlines() if line.strip()]
    except (msgspec.DecodeError, RecursionError) as exc:
        raise UnreadableError(f"it is neither JSON nor JSON Lines: {exc}") from exc


def _name_of(entry: Any, number: int) -> str:
    names = [entry.get(key) for key in ("title", "name")] if isinstance(entry, dict) else []
    return next((name[:80] for name in names if isinstance(name, str) and name), f"number {number}")
