"""Noticing that files or folders changed, by looking at each of them now and then.

A look costs one `stat` per path, a few milliseconds for a thousand models; it works on every file system, follows links
to where the bytes are, and needs no other library. Not here: when to look and what to do then (the server does both).
"""

import os
from collections.abc import Iterable
from typing import Final

from registry.catalogue import Adapter, Artifact, file_version
from registry.files import absence

SETTLE_S: Final = 1.5
"""Files that are being written change at every look; what stood still this long counts as written."""

MAX_UNSETTLED_S: Final = 15.0
"""A long copy into a folder must not keep other changes from being seen."""

_Mark = tuple[int, int, int] | None


class FileWatch:
    """Remembers how paths looked.

    Args:
        paths: Files and folders; a folder changes when entries come, go or are renamed.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._marks: dict[str, _Mark] = {path: _mark(path) for path in paths}
        self._has_unsure = False
        self._changed_at: float | None = None
        self._moved_at = 0.0

    def follow(self, paths: Iterable[str]) -> None:
        """Look at these paths from now on, which somebody has just read.

        Those that were looked at before the reading keep their marks. Whether another one changed between the reading
        and its first mark is not known, so it counts as changed, once.
        """
        before = self._marks
        self._marks = {path: before[path] if path in before else _mark(path) for path in paths}
        self._has_unsure = self._has_unsure or not self._marks.keys() <= before.keys()

    @property
    def paths(self) -> tuple[str, ...]:
        """What is looked at."""
        return tuple(self._marks)

    def look(self) -> bool:
        """Look at every path; tell whether any differs, or may differ, from the last look."""
        has_changed, self._has_unsure = self._has_unsure, False
        marks = self._marks
        for path, before in marks.items():
            now = _mark(path)
            if now != before:
                marks[path] = now  # no key is added, so the walk goes on
                has_changed = True
        return has_changed

    def is_due(self, now: float) -> bool:
        """Look, and tell, once for each batch, whether it is time to act on changes: they settled, or go on for long.

        Args:
            now: Monotonic seconds.
        """
        if self.look():
            self._moved_at = now
            self._changed_at = now if self._changed_at is None else self._changed_at
        if self._changed_at is None:
            return False
        if now - self._moved_at < SETTLE_S and now - self._changed_at < MAX_UNSETTLED_S:
            return False
        self._changed_at = None
        return True


def what_changed(artifact: Artifact | Adapter) -> str | None:
    """Say what of an artifact's or adapter's files is not as in the catalogue, or None; for when they are served."""
    size_bytes, mtime_ns = 0, 0
    for file in artifact.files:
        mark = _mark(file)
        if mark is None:
            return f"{file} {absence(file)}"
        size_bytes += mark[1]
        mtime_ns = max(mtime_ns, mark[0])
    if (size_bytes, mtime_ns) != (artifact.size_bytes, artifact.mtime_ns):
        return f"{artifact.path} was changed{' and is being looked into' if isinstance(artifact, Artifact) else ''}"
    return _projector_change(artifact) if isinstance(artifact, Artifact) else None


def _projector_change(artifact: Artifact) -> str | None:
    path, vision = artifact.mmproj_path, artifact.vision
    if path is None or vision is None or not vision.version:
        return None
    mark = _mark(path)
    if mark is None:
        return f"its projector {path} {absence(path)}"
    is_same = file_version(mark[1], mark[0]) == vision.version
    return None if is_same else f"its projector {path} was changed and is being looked into"


def _mark(path: str) -> _Mark:
    try:
        info = os.stat(path)  # noqa: PTH116 - a thousand Path objects a second are not free
    except (OSError, ValueError):
        return None
    return info.st_mtime_ns, info.st_size, info.st_ino
