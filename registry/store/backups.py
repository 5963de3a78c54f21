"""Copies of the catalogue: one before each migration, those that people ask for, and the way back to one.

A copy is one SQLite file without a log, complete or not there at all. Not here: who may use the catalogue meanwhile;
a restore needs it for itself.
"""

import contextlib
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from registry.disk import make_private, sync_folder
from registry.errors import BackupError, RegistryBusyError

NUM_AUTOMATIC: Final = 5
"""Copies made before migrations and restores that are kept; older ones go, those that people made stay."""

BUSY_TIMEOUT_S: Final = 5.0

_AUTOMATIC: Final = re.compile(r"registry-\d{8}T\d{6}Z-(schema\d+|before-restore)(-\d+)?\.sqlite3")
_LOG_SUFFIXES: Final = ("-wal", "-shm")


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """A copy that lies in the folder of copies.

    Attributes:
        made_at: Seconds since 1970.
        schema: Version of its tables.
        is_automatic: Whether newer ones push it out.
    """

    path: str
    size_bytes: int
    made_at: float
    schema: int
    num_models: int
    is_automatic: bool


def backups_folder(registry: Path) -> Path:
    """Give the folder of a catalogue's copies."""
    return registry.parent / "backups"


def back_up(registry: Path, target: Path) -> Path:
    """Copy a catalogue, which others may use meanwhile, to a file, in place of one that is there.

    Raises:
        BackupError: It cannot be read, or the copy not be written.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        make_private(target.parent)
        temporary.touch(mode=0o600)
        with contextlib.closing(_opened(registry)) as source, contextlib.closing(sqlite3.connect(temporary)) as copy:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")  # no log beside it: the file is all
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
        sync_folder(target.parent)
    except (sqlite3.Error, OSError) as exc:
        raise BackupError(f"The model catalogue {registry} cannot be copied to {target}: {_reason(exc)}.") from exc
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return target


def back_up_as(registry: Path, why: str) -> Path:
    """Copy a catalogue into its folder of copies, and let the oldest automatic ones go.

    Args:
        why: Becomes a part of the name: `schema5` before a migration of that version, `before-restore`, `manual`.

    Raises:
        BackupError: It cannot be read, or the copy not be written.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    folder = backups_folder(registry)
    names = (f"registry-{stamp}-{why}{end}.sqlite3" for end in ("", *(f"-{number}" for number in range(2, 1000))))
    target = back_up(registry, next(folder / name for name in names if not (folder / name).exists()))
    automatic = [path for path in folder.iterdir() if _AUTOMATIC.fullmatch(path.name)]
    automatic.sort(key=lambda path: path.stat().st_mtime_ns)
    for old in automatic[:-NUM_AUTOMATIC]:
        old.unlink(missing_ok=True)
    return target


def backups_of(registry: Path) -> list[Backup]:
    """List the copies in the folder, newest first; files that are none are left out."""
    found = []
    for path in backups_folder(registry).glob("*.sqlite3"):
        with contextlib.suppress(BackupError, OSError):
            found.append(_looked_at(path, is_thorough=False))
    return sorted(found, key=lambda each: (each.made_at, each.path), reverse=True)


def restore(registry: Path, source: Path, *, newest_schema: int) -> Path | None:
    """Put a copy in a catalogue's place, in one step; nobody may use the catalogue.

    A copy of an older schema is migrated when it is opened.

    Args:
        newest_schema: The newest version that this mlxr knows.

    Returns:
        Where what was there is now, None = nothing was there.

    Raises:
        BackupError: The file is no whole copy of a catalogue, or the disk refuses.
        RegistryBusyError: Another process uses the catalogue.
    """
    schema = _looked_at(source, is_thorough=True).schema
    if schema > newest_schema:
        raise BackupError(f"{source} was made by a newer mlxr (schema {schema}; this one knows {newest_schema}).")
    staged = back_up(source, registry.with_name(f".{registry.name}.restored"))
    try:
        before = _put_aside(registry) if registry.exists() else None
        for suffix in _LOG_SUFFIXES:
            registry.with_name(registry.name + suffix).unlink(missing_ok=True)
        staged.replace(registry)
        sync_folder(registry.parent)
    except OSError as exc:
        raise BackupError(f"{registry} cannot be replaced: {_reason(exc)}.") from exc
    finally:
        staged.unlink(missing_ok=True)
    return before


def _put_aside(registry: Path) -> Path:
    """Copy what is there, a damaged file as it is, and see that it has no log and no other user."""
    try:
        copy = back_up_as(registry, "before-restore")
    except BackupError:
        copy = backups_folder(registry) / f"{registry.name}.damaged-{time.time_ns()}"
        for suffix in ("", *_LOG_SUFFIXES):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(registry.with_name(registry.name + suffix), copy.with_name(copy.name + suffix))
        return copy
    connection = sqlite3.connect(registry, timeout=BUSY_TIMEOUT_S)
    try:
        # Only the last connection to a file may end its log. Source: sqlite.org/wal.html, section 5.
        connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.OperationalError as exc:
        raise RegistryBusyError(f"The model catalogue {registry} is in use by another process; end it first.") from exc
    finally:
        connection.close()
    return copy


def _looked_at(path: Path, *, is_thorough: bool) -> Backup:
    """Read what a copy is.

    Raises:
        BackupError: It is none, or damaged.
    """
    with _naming(path), contextlib.closing(_opened(path)) as connection:
        (schema,) = connection.execute("PRAGMA user_version").fetchone()
        (num_models,) = connection.execute("SELECT count(*) FROM models").fetchone()
        result = connection.execute("PRAGMA integrity_check(1)").fetchone()[0] if is_thorough else "ok"
        if result != "ok" or schema < 1:
            raise BackupError(f"{path} is no whole copy of a model catalogue: {result}.")
        status = path.stat()
    return Backup(
        path=str(path),
        size_bytes=status.st_size,
        made_at=status.st_mtime,
        schema=schema,
        num_models=num_models,
        is_automatic=_AUTOMATIC.fullmatch(path.name) is not None,
    )


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as exc:
        raise BackupError(f"{path} is no whole copy of a model catalogue: {_reason(exc)}.") from exc


def _opened(path: Path) -> sqlite3.Connection:
    """Open a file to read it; that there is none is an error, and no new file."""
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=BUSY_TIMEOUT_S, uri=True)


def _reason(exc: sqlite3.Error | OSError) -> str:
    return str(exc.strerror or exc) if isinstance(exc, OSError) else str(exc)
