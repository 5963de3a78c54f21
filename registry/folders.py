"""Walking folders for what may be models: names, sizes and times only, no file is opened here.

Not here: what the candidates turn out to be (`inspection.py`).
"""

import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from registry.errors import ArtifactError
from registry.facts import ArtifactFormat
from registry.files import as_artifact_error, open_regular, pread_exact
from registry.mlx_dir import is_mlx_dir
from registry.names import parse_shard_name

MAX_DEPTH: Final = 8
"""Folders below a root. Stores nest three or four deep; a loop of links would nest without end."""

MAX_ENTRIES: Final = 200_000
"""Directory entries looked at in one walk; a root of `/` by mistake ends here."""

_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_HF_REPOSITORY: Final = re.compile(r"models--(?P<org>[\w.-]+?)--(?P<repo>[\w.-]+)")


class ScanRoot(msgspec.Struct, frozen=True, kw_only=True):
    """A folder to look for models in.

    Attributes:
        path: The folder.
        layout: `plain`: any tree of folders. `hf_cache`: the `hub` folder of the Hugging Face cache.
        is_owned: It is mlxr's own models folder, so mlxr may delete files in it.
    """

    path: Path
    layout: Literal["plain", "hf_cache"] = "plain"
    is_owned: bool = False


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """What may be an artifact.

    Attributes:
        format: By its looks.
        path: The file, the first file of a set, or the folder.
        files: All its files.
        size_bytes: Sum over the files.
        mtime_ns: Newest over the files.
        inode: Device and number of the first file or the folder; the same file under two paths has one.
        is_owned: It lies in mlxr's own models folder.
        hints: Texts that a name can be made of, best first.
        organization: Who publishes the repository it came from.
        origin: See ArtifactDraft.
        problem: Why it cannot be an artifact, when that is plain without opening it.
    """

    format: ArtifactFormat
    path: Path
    files: tuple[Path, ...]
    size_bytes: int = 0
    mtime_ns: int = 0
    inode: tuple[int, int] | None = None
    is_owned: bool = False
    hints: tuple[str, ...] = ()
    organization: str | None = None
    origin: str | None = None
    problem: ArtifactError | None = None


class _Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where a walk started: what all candidates of it have in common."""

    path: Path
    is_owned: bool
    organization: str | None = None
    repository: str | None = None

    def owns(self, folder: Path) -> bool:
        """A folder that is reached through a link lies elsewhere, and its files are not mlxr's to delete."""
        return self.is_owned and Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(self.path))

    def origin_of(self, path: Path) -> str | None:
        if self.repository is None:
            return None
        relative = path.relative_to(self.path).as_posix()
        return f"hf:{self.organization}/{self.repository}/{relative}"


def find_candidates(root: ScanRoot) -> Iterator[Candidate]:
    """Walk a root.

    Args:
        root: Where to look.

    Yields:
        Everything that looks like a model, sound or not.

    Raises:
        ArtifactError: The root itself cannot be listed.
    """
    path = Path(os.path.abspath(root.path))  # noqa: PTH100 - lexical: links stay in the paths that engines are given
    if root.layout == "plain":
        yield from _walk(_Source(path=path, is_owned=root.is_owned))
        return
    for entry in _list(path):
        match = _HF_REPOSITORY.fullmatch(entry.name)
        snapshot = _current_snapshot(path / entry.name) if match is not None else None
        if match is not None and snapshot is not None:
            yield from _walk(
                _Source(path=snapshot, is_owned=False, organization=match["org"], repository=match["repo"])
            )


def folder_candidates(folder: Path, *, is_owned: bool) -> tuple[Candidate, ...]:
    """List the candidates of one folder, its sub-folders left out.

    Args:
        folder: The folder.
        is_owned: It lies in mlxr's own models folder.

    Returns:
        The candidates.

    Raises:
        ArtifactError: The folder cannot be listed.
    """
    return tuple(_candidates(folder, _list(folder), _Source(path=folder, is_owned=is_owned)))


def _current_snapshot(repository: Path) -> Path | None:
    """Find the snapshot that `refs/main` names, or the newest one.

    Source: huggingface_hub, "Understand caching": `refs` has a file per branch with a commit in it, `snapshots` a
    folder per commit, whose files are links into `blobs`.
    """
    snapshots = repository / "snapshots"
    try:
        with open_regular(repository / "refs" / "main") as (fd, _):
            commit = pread_exact(fd, 64, 0).decode("ascii", "replace").strip()
        if _COMMIT.fullmatch(commit) is not None and (snapshots / commit).is_dir():
            return snapshots / commit
    except ArtifactError:
        pass  # Only branches that were asked for have a file; the newest snapshot stands in for main.
    try:
        found = [entry for entry in _list(snapshots) if entry.is_dir()]
        newest = max(found, key=lambda entry: entry.stat().st_mtime_ns, default=None)
    except (ArtifactError, OSError):
        return None
    return None if newest is None else snapshots / newest.name


def _list(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as exc:
        raise as_artifact_error(exc, folder) from exc


def _walk(source: _Source) -> Iterator[Candidate]:
    """Visit the folders below a source, links to folders included, each once, to a bounded depth."""
    visited: set[tuple[int, int]] = set()
    num_left = MAX_ENTRIES
    pending = [(source.path, 0)]
    while pending and num_left > 0:
        folder, depth = pending.pop()
        try:
            info = folder.stat()
            if (info.st_dev, info.st_ino) in visited:
                continue
            visited.add((info.st_dev, info.st_ino))
            entries = _list(folder)
        except OSError as exc:
            if folder == source.path:
                raise as_artifact_error(exc, folder) from exc
            continue
        except ArtifactError:
            if folder == source.path:
                raise
            continue
        num_left -= len(entries)
        entries = [entry for entry in entries if not entry.name.startswith(".")]
        yield from _candidates(folder, entries, source)
        if depth < MAX_DEPTH:
            # Backwards, so that the first name is taken from the stack first.
            pending.extend((folder / entry.name, depth + 1) for entry in reversed(entries) if _is_folder(entry))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _candidates(folder: Path, entries: list[os.DirEntry[str]], source: _Source) -> Iterator[Candidate]:
    """Group the entries of one folder."""
    names = {entry.name for entry in entries}
    if is_mlx_dir(names):
        yield _mlx_candidate(folder, entries, source)
    sets: defaultdict[tuple[str, int], dict[int, str]] = defaultdict(dict)
    for name in sorted(names):
        if not name.lower().endswith(".gguf"):
            continue
        shard = parse_shard_name(name)
        if shard is not None and shard.num_files > 1:
            sets[shard.prefix, shard.num_files][shard.number] = name
        elif not (folder / name).is_dir():
            yield gguf_candidate(folder, (name,), source)
    for (_, num_files), members in sets.items():
        missing = [number for number in range(1, num_files + 1) if number not in members][:5]
        problem = None
        if missing:
            text = ", ".join(map(str, missing))
            problem = ArtifactError("incomplete_split", f"of its {num_files} files, number {text} is missing")
        yield gguf_candidate(folder, tuple(members[number] for number in sorted(members)), source, problem)


def gguf_candidate(
    folder: Path, names: tuple[str, ...], source: _Source, problem: ArtifactError | None = None
) -> Candidate:
    """Make the candidate of one GGUF file or set."""
    files = tuple(folder / name for name in names)
    size_bytes, mtime_ns, inode, stat_problem = _fingerprint(files)
    return Candidate(
        format=ArtifactFormat.GGUF,
        path=files[0],
        files=files,
        size_bytes=size_bytes,
        mtime_ns=mtime_ns,
        inode=inode,
        is_owned=source.owns(folder),
        hints=(names[0], folder.name, *([source.repository] if source.repository else [])),
        organization=source.organization,
        origin=source.origin_of(files[0]),
        problem=stat_problem or problem,
    )


def _mlx_candidate(folder: Path, entries: list[os.DirEntry[str]], source: _Source) -> Candidate:
    files = tuple(folder / entry.name for entry in entries if not _is_folder(entry))
    size_bytes, mtime_ns, _, problem = _fingerprint(files)
    info = folder.stat()
    is_top = folder == source.path and source.repository is not None
    return Candidate(
        format=ArtifactFormat.MLX,
        path=folder,
        files=files,
        size_bytes=size_bytes,
        mtime_ns=mtime_ns,
        inode=(info.st_dev, info.st_ino),
        is_owned=source.owns(folder),
        # A snapshot folder is named after its commit; the repository has the name.
        hints=(source.repository or folder.name,) if is_top else (folder.name, source.repository or ""),
        organization=source.organization,
        origin=source.origin_of(folder),
        problem=problem,
    )


def _fingerprint(files: tuple[Path, ...]) -> tuple[int, int, tuple[int, int] | None, ArtifactError | None]:
    size_bytes, mtime_ns = 0, 0
    inode = None
    for file in files:
        try:
            info = file.stat()
        except OSError as exc:
            return size_bytes, mtime_ns, inode, as_artifact_error(exc, file)
        if not stat.S_ISREG(info.st_mode):
            return (
                size_bytes,
                mtime_ns,
                inode,
                ArtifactError("not_a_regular_file", "it is not a regular file", path=file),
            )
        size_bytes += info.st_size
        mtime_ns = max(mtime_ns, info.st_mtime_ns)
        inode = inode or (info.st_dev, info.st_ino)
    return size_bytes, mtime_ns, inode, None


def file_candidate(path: Path, *, is_owned: bool) -> Candidate:
    """Make the candidate of a GGUF file that is named on its own, whatever its suffix; a shard brings its whole set.

    Args:
        path: The file.
        is_owned: It lies in mlxr's own models folder.

    Returns:
        The candidate.

    Raises:
        ArtifactError: Its folder cannot be listed.
    """
    folder = path.parent
    shard = parse_shard_name(path.name)
    if shard is not None and shard.num_files > 1:
        for candidate in folder_candidates(folder, is_owned=is_owned):
            if path in candidate.files:
                return candidate
    return gguf_candidate(folder, (path.name,), _Source(path=folder, is_owned=is_owned))
