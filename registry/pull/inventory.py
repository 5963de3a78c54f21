"""What of a plan is on the disk already, and whether there is room for the rest. Looks, and changes nothing.

A file counts as there when it has the size and time that it had when its hash was right. Not here: reading whole files.
"""

from pathlib import Path

import msgspec

from registry.disk import free_bytes, translate_os_errors
from registry.pull.folder import PullFolder, blob_of, fingerprint
from registry.pull.partial import partial_bytes
from registry.pull_record import PlannedFile, PlannedPart, PullPlan
from registry.store import Registry
from registry.store.files import VerifiedFile


def look(plan: PullPlan, folder: PullFolder, registry: Registry, *, reserve_bytes: int) -> PullPlan:
    """Note in a plan the states of its files and the disk's space.

    Args:
        reserve_bytes: Disk space that must stay free.
    """
    parts = tuple(
        msgspec.structs.replace(part, files=tuple(_look_at(folder, registry, part, file) for file in part.files))
        for part in plan.parts
    )
    with translate_os_errors(folder.models_dir):
        free = free_bytes(folder.models_dir)
    return msgspec.structs.replace(plan, parts=parts, free_bytes=free, reserve_bytes=reserve_bytes)


def _look_at(folder: PullFolder, registry: Registry, part: PlannedPart, file: PlannedFile) -> PlannedFile:
    size = file.size_bytes
    target, staged = folder.target(part, file), folder.staged(part, file)
    known = known_files(registry, blob_of(file), size)
    if target in known:
        return msgspec.structs.replace(file, state="present", done_bytes=size)
    if known or _has_size(target, size) or _has_size(staged, size):
        return msgspec.structs.replace(file, state="linkable", done_bytes=size)
    done = partial_bytes(folder.part_file(file), size)
    return msgspec.structs.replace(file, state="partial" if done else "missing", done_bytes=done)


def known_files(registry: Registry, blob: str, size_bytes: int) -> list[Path]:
    """List the files that have certain bytes and did not change since that was seen."""
    return [
        Path(file.path)
        for file in registry.files.verified(blob)
        if file.size_bytes == size_bytes and fingerprint(Path(file.path)) == (file.size_bytes, file.mtime_ns)
    ]


def note_verified(registry: Registry, blob: str, path: Path, final: Path | None = None) -> None:
    """Remember that a file was proved to have certain bytes, under the name that it is about to get, if any."""
    info = fingerprint(path)
    if info is not None:
        registry.files.put_verified(blob, VerifiedFile(str(final or path), *info))


def _has_size(path: Path, size_bytes: int) -> bool:
    info = fingerprint(path)
    return info is not None and info[0] == size_bytes
