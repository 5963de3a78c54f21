"""The layout of the Hugging Face cache: from a file to its blob, and who else needs a blob. Nothing is changed here.

    HUB/models--ORG--NAME/refs/BRANCH              a commit
    HUB/models--ORG--NAME/snapshots/COMMIT/FILE    a link to ../../blobs/HASH
    HUB/models--ORG--NAME/blobs/HASH               sha256 of a large file, git's sha1 of a small one

Source: huggingface_hub, "Understand caching".
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from registry.errors import ArtifactError
from registry.files import is_folder_at, open_regular, pread_exact

REPOSITORY: Final = re.compile(r"models--(?P<org>[\w.-]+?)--(?P<repo>[\w.-]+)")

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


def repository_of(path: Path) -> Path | None:
    """Find the folder `models--ORG--NAME` that a snapshot's file lies in; None when the path is not one."""
    for folder in path.parents:
        if folder.name == "snapshots" and REPOSITORY.fullmatch(folder.parent.name) is not None:
            return folder.parent
    return None


def blob_of(link: Path) -> Path | None:
    """Find the blob in the repository's own `blobs` that a snapshot's file stands for; None when it is no such link."""
    repository = repository_of(link)
    if repository is None or not link.is_symlink():
        return None
    blob = Path(os.path.realpath(link))
    return repository / "blobs" / blob.name if blob.parent == Path(os.path.realpath(repository / "blobs")) else None


def is_blob_needed(blob: Path, *, but_for: frozenset[Path] = frozenset()) -> bool:
    """Tell whether a snapshot links to a blob.

    Args:
        but_for: Links that do not count.
    """
    real = os.path.realpath(blob)
    links = (link for link in (blob.parent.parent / "snapshots").rglob("*") if link.is_symlink())
    return any(os.path.realpath(link) == real for link in links if link not in but_for)


def commit_of_ref(ref: Path) -> str | None:
    """Read which commit a file below `refs` names; None when it is not there or holds something else."""
    try:
        with open_regular(ref) as (fd, _):
            commit = pread_exact(fd, 64, 0).decode("ascii", "replace").strip()
    except ArtifactError:
        return None
    return commit if _COMMIT.fullmatch(commit) is not None else None


def current_snapshot(repository: Path) -> Path | None:
    """Find the folder of the snapshot that `refs/main` names, or of the newest one; None when there is none."""
    snapshots = repository / "snapshots"
    # Only branches that were asked for have a file; the newest snapshot stands in for main.
    commit = commit_of_ref(repository / "refs" / "main")
    if commit is not None and is_folder_at(snapshots / commit):
        return snapshots / commit
    newest = max(_folders(snapshots), default=None)
    return None if newest is None else snapshots / newest[1]


def _folders(snapshots: Path) -> Iterator[tuple[int, str]]:
    try:
        with os.scandir(snapshots) as entries:
            for entry in entries:
                if entry.is_dir():
                    yield entry.stat().st_mtime_ns, entry.name
    except OSError:
        return
