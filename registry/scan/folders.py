"""Walking folders for what may be models: names, sizes and times only, no file is opened here.

Not here: what the candidates turn out to be (`inspection.py`).
"""

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from registry.errors import ArtifactError
from registry.files import about, is_folder_at
from registry.mlx.folder import is_mlx_dir
from registry.names import parse_shard_name
from registry.places import hf_cache, ollama
from registry.scan.candidates import (
    Candidate,
    ScanRoot,
    Source,
    gguf_candidate,
    is_folder,
    manifest_candidate,
    mlx_candidate,
    ollama_candidate,
)

MAX_DEPTH: Final = 8
"""Folders below a root. Stores nest three or four deep; a loop of links would nest without end."""

MAX_ENTRIES: Final = 200_000
"""Directory entries looked at in one walk; a root of `/` by mistake ends here."""


def find_candidates(root: ScanRoot, folders: list[Path] | None = None) -> Iterator[Candidate]:
    """Walk a root, and give everything that looks like a model, sound or not.

    Args:
        folders: Gets every folder whose entries decided what was found, so that somebody may watch them.

    Raises:
        ArtifactError: The root itself cannot be listed.
    """
    path = Path(os.path.abspath(root.path))  # noqa: PTH100 - lexical: links stay in the paths that engines are given
    folders = [] if folders is None else folders
    real = os.path.realpath(path)
    if root.layout == "plain":
        yield from _walk(Source(path=path, root=real, is_owned=root.is_owned), folders)
        return
    folders.append(path)
    walk = {"hf_cache": _walk_hf_cache, "lm_studio": _walk_lm_studio, "ollama": _walk_ollama}[root.layout]
    yield from walk(path, real, folders)


def _walk_hf_cache(path: Path, root: str, folders: list[Path]) -> Iterator[Candidate]:
    for entry in _list(path):
        match = hf_cache.REPOSITORY.fullmatch(entry.name)
        if match is None:
            continue
        repository = path / entry.name
        folders += [repository, repository / "refs" / "main", repository / "snapshots"]
        snapshot = hf_cache.current_snapshot(repository)
        if snapshot is not None:
            source = Source(
                path=snapshot, root=root, layout="hf_cache", organization=match["org"], repository=match["repo"]
            )
            yield from _walk_if_there(source, folders)


def _walk_lm_studio(path: Path, root: str, folders: list[Path]) -> Iterator[Candidate]:
    """Source: LM Studio's documentation, "Import models": `models/PUBLISHER/MODEL/FILE.gguf`."""
    for publisher in _visible_folders(path):
        folders.append(path / publisher)
        for repository in _visible_folders(path / publisher):
            source = Source(
                path=path / publisher / repository,
                root=root,
                layout="lm_studio",
                organization=publisher,
                repository=repository,
            )
            yield from _walk_if_there(source, folders)


def _walk_ollama(path: Path, root: str, folders: list[Path]) -> Iterator[Candidate]:
    """One candidate for each file of weights, with all names that stand for it, and one for each unusable manifest."""
    source = Source(path=path, root=root, layout="ollama")
    _list(path)
    by_blob: defaultdict[str, list[tuple[ollama.Manifest, ollama.Layer]]] = defaultdict(list)
    for file in ollama.manifest_files(path, folders):
        folders.append(file)
        try:
            manifest = ollama.read_manifest(path, file)
            layer = ollama.model_layer(manifest)
        except ArtifactError as exc:
            yield manifest_candidate(file, source, exc)
        else:
            by_blob[ollama.blob_name(layer)].append((manifest, layer))
    for blob, users in by_blob.items():
        yield ollama_candidate(source, blob, users)


def _walk_if_there(source: Source, folders: list[Path]) -> Iterator[Candidate]:
    """Walk a part of a root; one that cannot be listed does not hide the others."""
    try:
        yield from _walk(source, folders)
    except ArtifactError:
        return


def _visible_folders(folder: Path) -> list[str]:
    return [entry.name for entry in _list(folder) if is_folder(entry)]


def folder_candidates(folder: Path, *, is_owned: bool) -> tuple[Candidate, ...]:
    """List the candidates of one folder, its sub-folders left out; it must be one that can be listed."""
    return tuple(_candidates(folder, _list(folder), _source_of(folder, is_owned=is_owned)))


def _source_of(folder: Path, *, is_owned: bool) -> Source:
    """Say what a folder that was named on its own is part of."""
    repository = hf_cache.repository_of(folder / "file")
    if repository is not None:
        return Source(path=folder, root=os.path.realpath(repository.parent), layout="hf_cache")
    if folder.name == "blobs" and is_folder_at(folder.parent / "manifests"):
        return Source(path=folder, root=os.path.realpath(folder.parent), layout="ollama")
    return Source(path=folder, root=os.path.realpath(folder), is_owned=is_owned)


def _list(folder: Path) -> list[os.DirEntry[str]]:
    """Return what is not hidden in a folder, by name; Finder writes hidden files of its own among a model's."""
    with about(folder), os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)


def _walk(source: Source, folders: list[Path]) -> Iterator[Candidate]:
    """Visit the folders below a source, links to folders included, each once, to a bounded depth."""
    visited: set[tuple[int, int]] = set()
    num_left = MAX_ENTRIES
    pending = [(source.path, 0)]
    while pending and num_left > 0:
        folder, depth = pending.pop()
        try:
            with about(folder):
                info = folder.stat()
            if (info.st_dev, info.st_ino) in visited:
                continue
            visited.add((info.st_dev, info.st_ino))
            entries = _list(folder)
        except ArtifactError:
            if folder == source.path:
                raise
            continue
        folders.append(folder)
        num_left -= len(entries)
        yield from _candidates(folder, entries, source)
        if depth < MAX_DEPTH:
            # Backwards, so that the first name is taken from the stack first.
            pending.extend((folder / entry.name, depth + 1) for entry in reversed(entries) if is_folder(entry))


def _candidates(folder: Path, entries: list[os.DirEntry[str]], source: Source) -> Iterator[Candidate]:
    """Group the entries of one folder."""
    names = {entry.name for entry in entries}
    if is_mlx_dir(names):
        yield mlx_candidate(folder, entries, source)
    sets: defaultdict[tuple[str, int], dict[int, str]] = defaultdict(dict)
    for name in sorted(names):
        if not name.lower().endswith(".gguf"):
            continue
        shard = parse_shard_name(name)
        if shard is not None and shard.num_files > 1:
            sets[shard.prefix, shard.num_files][shard.number] = name
        elif not is_folder_at(folder / name):
            yield gguf_candidate(folder, (name,), source)
    for (_, num_files), members in sets.items():
        missing = [number for number in range(1, num_files + 1) if number not in members][:5]
        problem = None
        if missing:
            text = ", ".join(map(str, missing))
            problem = ArtifactError("incomplete_split", f"of its {num_files} files, number {text} is missing")
        yield gguf_candidate(folder, tuple(members[number] for number in sorted(members)), source, problem)


def file_candidate(path: Path, *, is_owned: bool) -> Candidate:
    """Make the candidate of a GGUF file that is named on its own, whatever its suffix; a shard brings its whole set."""
    folder = path.parent
    shard = parse_shard_name(path.name)
    if shard is not None and shard.num_files > 1:
        for candidate in folder_candidates(folder, is_owned=is_owned):
            if path in candidate.files:
                return candidate
    return gguf_candidate(folder, (path.name,), _source_of(folder, is_owned=is_owned))
