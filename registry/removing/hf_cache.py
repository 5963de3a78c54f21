"""What goes with an artifact of the Hugging Face cache, in its own layout, and in the order in which it can go.

First the links of the snapshots; then the blobs that no other link needs; then each snapshot's folder, the refs that
name it and the notes of files that it never had; last the repository's folders, when nothing is left in them. Looks at
the disk, changes nothing. Not here: the layout itself (`hf_cache.py`), deleting (`removal.py`).

Source: huggingface_hub, "Manage your cache", `delete_revisions`: what it takes away for a revision.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from registry.catalogue import Deletion, Place, all_files
from registry.facts import ArtifactFormat
from registry.places.hf_cache import blob_of, commit_of_ref, is_blob_needed, repository_of


def wanted_of_hf_cache(places: Sequence[Place], is_needed: Callable[[str], bool]) -> Iterator[Deletion]:
    """List what goes with places in the cache.

    Args:
        places: Of one artifact, all in the cache.
        is_needed: Whether something else in the catalogue needs a path.

    Yields:
        Files and folders, in the order in which they go; a folder goes when it is empty by then.
    """
    links = {link: place for place in places for link in _links(place) if not is_needed(str(link))}
    for link, place in links.items():
        yield Deletion(str(link), "hf_cache", place.root or os.path.realpath(Path(place.path).parent))
    gone = frozenset(links)
    blobs = dict.fromkeys(blob for link in links if (blob := blob_of(link)) is not None)
    for blob in blobs:
        if not is_blob_needed(blob, but_for=gone) and not is_needed(str(blob)):
            yield Deletion(str(blob), "hf_cache", os.path.realpath(blob.parent.parent))
    for repository in dict.fromkeys(filter(None, map(repository_of, links))):
        yield from _left_of(repository, gone)


def is_hf_file_free(path: Path, root: str) -> bool:
    """Tell, when its turn has come, whether nothing in the cache needs a file any more."""
    if path.parent.name == "blobs":
        return not is_blob_needed(path)
    inside = Path(os.path.realpath(path.parent)) / path.name
    if repository_of(path) is not None or not inside.is_relative_to(root):
        return True  # A link of a snapshot: nothing needs it but the artifact.
    kind, *rest = inside.relative_to(root).parts
    commit = {"refs": commit_of_ref(path), ".no_exist": rest[0] if rest else None}.get(kind)
    return commit is not None and not (Path(root) / "snapshots" / commit).exists()


def _links(place: Place) -> Iterator[Path]:
    """Give a place's files; of a snapshot that is a model as a whole also the hidden ones, `.gitattributes`."""
    yield from map(Path, all_files(place))
    if place.format is ArtifactFormat.MLX:
        yield from (path for path in sorted(Path(place.path).glob(".*")) if blob_of(path) is not None)


def _left_of(repository: Path, gone: frozenset[Path]) -> Iterator[Deletion]:
    """List what is of no use when links have gone: folders that get empty, and what names their snapshots."""
    root = os.path.realpath(repository)
    snapshots = repository / "snapshots"
    touched = dict.fromkeys(
        snapshots / link.relative_to(snapshots).parts[0] for link in gone if link.is_relative_to(snapshots)
    )
    folders = {parent for link in gone for parent in link.parents if parent != snapshots}
    for folder in _deepest_first(folder for folder in folders if folder.is_relative_to(snapshots)):
        yield Deletion(str(folder), "hf_cache", root)
    emptied = [snapshot for snapshot in touched if _files_below(snapshot) <= gone]
    commits = {snapshot.name for snapshot in emptied}
    for ref in sorted(_files_below(repository / "refs")):
        if commit_of_ref(ref) in commits:
            yield Deletion(str(ref), "hf_cache", root)
    for commit in sorted(commits):
        for note in sorted(_files_below(repository / ".no_exist" / commit)):
            yield Deletion(str(note), "hf_cache", root)
    if emptied:
        rest = [repository / name for name in ("blobs", "refs", "snapshots", ".no_exist")]
        below = (Path(path) for top in (rest[1], rest[3]) for path, _, _ in os.walk(top))
        for folder in (*_deepest_first(below), *rest, repository):
            if folder.is_dir():
                yield Deletion(str(folder), "hf_cache", root)


def _files_below(folder: Path) -> frozenset[Path]:
    """List files and links below a folder, links to folders among them."""
    found: set[Path] = set()
    for path, folders, files in os.walk(folder):
        found.update(Path(path) / name for name in files)
        found.update(Path(path) / name for name in folders if (Path(path) / name).is_symlink())
    return frozenset(found)


def _deepest_first(folders: Iterator[Path]) -> list[Path]:
    return sorted(folders, key=lambda folder: (-len(folder.parts), folder))
