"""What pulls left in `.partial` that no pull will come back for, and taking it away.

Not here: files below the models folder that no model owns (a scan finds those).
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

import msgspec

from registry.disk import is_locked, translate_os_errors
from registry.pull.folder import REPLACED_PREFIX, STAGE_PREFIX, PullFolder
from registry.pull.partial import remove_partial
from registry.pull_record import PullPlan
from registry.store import Registry

MIN_AGE_S: Final = 3600.0
"""What is younger may belong to a pull that is in no list."""


class Orphan(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is of no use any more.

    Attributes:
        kind: Bytes on their way, verified files of a part that was never completed, or a folder that was replaced.
    """

    path: str
    kind: Literal["partial", "stage", "replaced"]
    size_bytes: int


def find_orphans(folder: PullFolder, registry: Registry, *, now: float) -> tuple[Orphan, ...]:
    """List what no pull in the list may still use.

    Args:
        now: Seconds since 1970.
    """
    if not folder.partial_dir.is_dir():
        return ()
    needed = {path for plan in registry.pulls.open_plans() for path in _paths_of(plan, folder)}
    found = []
    with translate_os_errors(folder.partial_dir):
        for path in sorted(folder.partial_dir.iterdir()):
            kind = _kind_of(path)
            if kind is not None and path not in needed and _is_old(path, now - MIN_AGE_S):
                found.append(Orphan(path=str(path), kind=kind, size_bytes=_size_of(path)))
    return tuple(found)


def remove_orphans(orphans: Iterable[Orphan]) -> int:
    """Take orphans away; return the bytes that were freed."""
    num_freed = 0
    for orphan in orphans:
        if not _is_in_use(Path(orphan.path)):
            _remove(Path(orphan.path))
            num_freed += orphan.size_bytes
    return num_freed


def discard(plan: PullPlan, folder: PullFolder) -> None:
    """Throw away what a cancelled pull has of its files, unless somebody else is fetching the same bytes."""
    for path in _paths_of(plan, folder):
        if path.exists() and not _is_in_use(path):
            _remove(path)


def _paths_of(plan: PullPlan, folder: PullFolder) -> Iterable[Path]:
    for part in plan.parts:
        yield folder.stage_dir(part)
        yield folder.replaced_dir(part)
        yield from map(folder.part_file, part.files)


def _kind_of(path: Path) -> Literal["partial", "stage", "replaced"] | None:
    if path.name.startswith(STAGE_PREFIX):
        replaced = path.with_name(REPLACED_PREFIX + path.name.removeprefix(STAGE_PREFIX))
        return None if replaced.exists() else "stage"
    if path.name.startswith(REPLACED_PREFIX):
        # A crash between the two renames of an MLX folder: both are whole, and none is in its place.
        stage = path.with_name(STAGE_PREFIX + path.name.removeprefix(REPLACED_PREFIX))
        return None if stage.exists() else "replaced"
    return "partial" if path.suffix in {".part", ".json", ".new"} and _main_of(path) == path else None


def _main_of(path: Path) -> Path:
    """Give the `.part` that a file of marks belongs to; marks without one stand for themselves."""
    part = path.with_name(path.name.partition(".")[0] + ".part")
    return part if part.exists() else path


def _is_in_use(path: Path) -> bool:
    with translate_os_errors(path):
        return not path.is_dir() and is_locked(path.with_suffix(".lock"))


def _is_old(path: Path, limit: float) -> bool:
    return path.lstat().st_mtime <= limit and not _is_in_use(path)


def _size_of(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_blocks * 512 for file in files if file.is_file())


def _remove(path: Path) -> None:
    with translate_os_errors(path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            remove_partial(path)
