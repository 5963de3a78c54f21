"""Which files go with an artifact, by the layout of the store that they lie in. Looks at the disk, changes nothing.

Files in mlxr's own folder go; others only when that is asked for. In the HF cache what
`hf_cache.py` lists. In Ollama's store the names go that stand for the weights, then the blobs that no other name
needs.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from registry.catalogue import Artifact, Deletion, Place, all_files
from registry.errors import ArtifactError
from registry.facts import ArtifactFormat
from registry.places import ollama
from registry.removing.hf_cache import wanted_of_hf_cache
from registry.store import Registry


class RemovalReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a removal did, or would do.

    Attributes:
        kept: Files that stay, because they lie outside mlxr's own folder or something else needs them.
    """

    deleted: tuple[str, ...]
    kept: tuple[str, ...]
    freed_bytes: int


class PlannedRemoval(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done with one artifact.

    Attributes:
        deletions: In the order in which they are done.
    """

    artifact_id: int
    deletions: tuple[Deletion, ...]
    kept: tuple[str, ...]


def plan(
    registry: Registry, artifacts: Sequence[Artifact], *, is_deleting_foreign_files: bool
) -> tuple[PlannedRemoval, ...]:
    """Plan the removal of artifacts."""
    ids = {artifact.id for artifact in artifacts}
    places: dict[int, list[Place]] = {artifact.id: [] for artifact in artifacts}
    needed: set[str] = set()
    for artifact_id, place in registry.artifacts.places():
        if artifact_id in ids:
            places[artifact_id].append(place)
        else:
            needed.update(_resolved(place))
    return tuple(
        _plan_one(
            artifact.id,
            places[artifact.id],
            frozenset(needed),
            is_deleting_foreign_files=is_deleting_foreign_files,
        )
        for artifact in artifacts
    )


def plan_place(registry: Registry, artifact_id: int, place: Place) -> PlannedRemoval:
    """Plan the removal of the files in one place that an artifact has left; what anything else needs stays."""
    others = (other for _, other in registry.artifacts.places() if other.path != place.path)
    needed = frozenset(file for other in others for file in _resolved(other))
    return _plan_one(artifact_id, [place], needed, is_deleting_foreign_files=True)


def report_of(planned: Iterable[PlannedRemoval]) -> RemovalReport:
    """Add up plans for the user."""
    planned = tuple(planned)
    deleted = [item.path for each in planned for item in each.deletions if not _is_folder(item.path)]
    return RemovalReport(
        deleted=tuple(dict.fromkeys(deleted)),
        kept=tuple(dict.fromkeys(path for each in planned for path in each.kept)),
        freed_bytes=_freed_bytes(deleted),
    )


def _resolved(place: Place) -> Iterator[str]:
    """Give the files that a place needs, each with what it is a link to."""
    for file in all_files(place):
        yield file
        yield os.path.realpath(file)


def _plan_one(
    artifact_id: int, places: Sequence[Place], needed: frozenset[str], *, is_deleting_foreign_files: bool
) -> PlannedRemoval:
    deletions: list[Deletion] = []
    deleting = [place for place in places if place.is_owned or is_deleting_foreign_files]
    cached = [place for place in deleting if place.layout == "hf_cache"]
    wanted = [item for place in deleting if place.layout != "hf_cache" for item in _wanted(place)]
    # All places of the cache at once: a blob goes when the last of the links to it does.
    wanted += wanted_of_hf_cache(cached, lambda path: _is_needed(path, needed))
    for item in wanted:
        if item not in deletions and is_inside(Path(item.path), item.root) and not _is_needed(item.path, needed):
            deletions.append(item)
    gone = {item.path for item in deletions}
    kept = [file for place in places for file in all_files(place) if file not in gone]
    return PlannedRemoval(artifact_id=artifact_id, deletions=tuple(deletions), kept=tuple(dict.fromkeys(kept)))


def _is_needed(path: str, needed: frozenset[str]) -> bool:
    """A link is needed under its own path only; without it, what it leads to is still there."""
    return path in needed or (not Path(path).is_symlink() and os.path.realpath(path) in needed)


def is_inside(path: Path, root: str) -> bool:
    """Tell whether a file, link or folder really lies in a root, whatever the folders on the way have become.

    Args:
        root: A folder, its links resolved when it was registered.
    """
    parent = Path(os.path.realpath(path.parent))
    return parent.is_relative_to(root) or str(parent / path.name) == root


def _wanted(place: Place) -> Iterator[Deletion]:
    """List what a place consists of, the folder last, so that it is empty when its turn comes."""
    folder = place.path if place.format is ArtifactFormat.MLX else str(Path(place.path).parent)
    if place.layout == "ollama" and place.root is not None:
        yield from _wanted_of_ollama(place, Path(place.root))
        return
    root = place.root or os.path.realpath(folder)
    for file in all_files(place):
        yield Deletion(file, place.layout, root)
    if place.format is ArtifactFormat.MLX:
        yield Deletion(folder, place.layout, root)


def _wanted_of_ollama(place: Place, root: Path) -> Iterator[Deletion]:
    """List the manifests that stand for these weights, then every blob of theirs that no other manifest needs."""
    weights = Path(place.path).name
    try:
        manifests = [ollama.read_manifest(root, path) for path in ollama.manifest_files(root)]
    except ArtifactError:
        return  # Nobody knows what that manifest needs, so nothing goes.
    goes: set[str] = {weights}
    stays: set[str] = set()
    for manifest in manifests:
        if ollama.stands_for(manifest, frozenset({weights})):
            yield Deletion(str(manifest.path), "ollama", str(root))
            goes |= manifest.blob_names()
        else:
            stays |= manifest.blob_names()
    for name in sorted(goes - stays):
        yield Deletion(str(root / "blobs" / name), "ollama", str(root))


def _is_folder(path: str) -> bool:
    return Path(path).is_dir() and not Path(path).is_symlink()


def _freed_bytes(paths: Sequence[str]) -> int:
    """Add up what has no other name left when all of these are gone; a link itself is no size worth telling."""
    sizes: dict[tuple[int, int], int] = {}
    num_names: dict[tuple[int, int], int] = {}
    for path in paths:
        try:
            info = Path(path).lstat()
        except OSError:
            continue
        if not Path(path).is_symlink():
            inode = (info.st_dev, info.st_ino)
            num_names[inode] = num_names.get(inode, info.st_nlink) - 1
            sizes[inode] = info.st_size
    return sum(size for inode, size in sizes.items() if num_names[inode] <= 0)
