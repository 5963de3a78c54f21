"""What may be an artifact, before any file is opened: names, sizes and times, and where it was found.

Not here: walking folders (`folders.py`), and what the candidates turn out to be (`inspection.py`).
"""

import os
import stat
from pathlib import Path
from typing import Any

import msgspec

from registry.catalogue import Layout
from registry.errors import ArtifactError
from registry.facts import ArtifactFormat
from registry.files import as_artifact_error
from registry.places import ollama


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Tell whether an entry is a folder, or a link to one."""
    try:
        return entry.is_dir()
    except OSError:
        return False


class ScanRoot(msgspec.Struct, frozen=True, kw_only=True):
    """A folder to look for models in.

    Attributes:
        layout: `plain`: any tree of folders. `hf_cache`: the `hub` folder of the Hugging Face cache. `lm_studio`:
            folders ORG/REPO. `ollama`: a folder with `manifests` and `blobs`.
        is_owned: It is mlxr's own models folder, so mlxr may delete files in it.
    """

    path: Path
    layout: Layout = "plain"
    is_owned: bool = False


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where a walk started: what all candidates of it have in common.

    Attributes:
        root: The root that was walked, its links resolved; of a file that was named on its own, its folder.
        is_owned: The root is mlxr's own models folder.
        layout: Of the root.
        organization: Who publishes the repository.
        repository: The repository's name, of a store that has repositories.
    """

    path: Path
    root: str
    is_owned: bool = False
    layout: Layout = "plain"
    organization: str | None = None
    repository: str | None = None

    def origin_of(self, path: Path) -> str | None:
        """Give what stays the same in the next revision of a repository; see ArtifactDraft."""
        if self.layout != "hf_cache" or self.repository is None:
            return None
        relative = path.relative_to(self.path).as_posix()
        return f"hf:{self.organization}/{self.repository}/{relative}"


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """What may be an artifact.

    Attributes:
        path: The file, the first file of a set, or the folder.
        mtime_ns: Newest over the files.
        inode: Device and number of the first file or the folder; the same file under two paths has one.
        hints: Texts that a name can be made of, best first.
        problem: Why it cannot be an artifact, when that is plain without opening it.
        names: The names that the store itself has for it, best first; empty when it has none.
        projector: Its vision projector, when the store says which.
    """

    format: ArtifactFormat
    path: Path
    files: tuple[Path, ...]
    source: Source
    size_bytes: int = 0
    mtime_ns: int = 0
    inode: tuple[int, int] | None = None
    hints: tuple[str, ...] = ()
    origin: str | None = None
    problem: ArtifactError | None = None
    names: tuple[str, ...] = ()
    projector: Path | None = None

    @property
    def is_owned(self) -> bool:
        """Whether it lies in mlxr's own models folder; what is reached through a link lies elsewhere."""
        folder = self.path if self.format is ArtifactFormat.MLX else self.path.parent
        return self.source.is_owned and Path(os.path.realpath(folder)).is_relative_to(self.source.root)


def gguf_candidate(
    folder: Path, names: tuple[str, ...], source: Source, problem: ArtifactError | None = None
) -> Candidate:
    """Make the candidate of one GGUF file or set."""
    files = tuple(folder / name for name in names)
    return Candidate(
        format=ArtifactFormat.GGUF,
        path=files[0],
        files=files,
        source=source,
        hints=(names[0], folder.name, *([source.repository] if source.repository else [])),
        origin=source.origin_of(files[0]),
        **_looks_of(files, problem),
    )


def mlx_candidate(folder: Path, entries: list[os.DirEntry[str]], source: Source) -> Candidate:
    """Make the candidate of an MLX folder."""
    files = tuple(folder / entry.name for entry in entries if not is_folder(entry))
    info = folder.stat()
    is_top = folder == source.path and source.repository is not None
    return Candidate(
        format=ArtifactFormat.MLX,
        path=folder,
        files=files,
        source=source,
        # A snapshot folder is named after its commit; the repository has the name.
        hints=(source.repository or folder.name,) if is_top else (folder.name, source.repository or ""),
        origin=source.origin_of(folder),
        **_looks_of(files) | {"inode": (info.st_dev, info.st_ino)},
    )


def manifest_candidate(file: Path, source: Source, problem: ArtifactError) -> Candidate:
    """Make the candidate that stands for a manifest of Ollama that means no file of weights."""
    looks = _looks_of((file,), problem) | {"inode": None}
    return Candidate(format=ArtifactFormat.GGUF, path=file, files=(file,), source=source, **looks)


def ollama_candidate(source: Source, blob: str, users: list[tuple[ollama.Manifest, ollama.Layer]]) -> Candidate:
    """Make the candidate of one blob. A tag `latest` comes first: names without a tag mean it."""
    users = sorted(users, key=lambda user: (not user[0].name.endswith(":latest"), user[0].name))
    manifest = users[0][0]
    file = source.path / "blobs" / blob
    projectors = manifest.layers_of(ollama.PROJECTOR_LAYER)
    looks = _looks_of((file,))
    sizes = {layer.size for _, layer in users}
    if looks["problem"] is None and sizes != {looks["size_bytes"]}:
        text = f"it has {looks['size_bytes']} bytes; {manifest.name} says {', '.join(map(str, sorted(sizes)))}"
        looks["problem"] = ArtifactError("wrong_size", text, path=file)
    return Candidate(
        format=ArtifactFormat.GGUF,
        path=file,
        files=(file,),
        source=source,
        origin=manifest.origin,
        names=tuple(dict.fromkeys(user.name for user, _ in users)),
        projector=file.with_name(ollama.blob_name(projectors[0])) if projectors else None,
        **looks,
    )


def _looks_of(files: tuple[Path, ...], problem: ArtifactError | None = None) -> dict[str, Any]:
    """Give size, time, inode and problem of a candidate; a file that is not there or not regular is the first one."""
    size_bytes, mtime_ns, inode = 0, 0, None
    for file in files:
        try:
            info = file.stat()
        except OSError as exc:
            problem = as_artifact_error(exc, file)
            break
        if not stat.S_ISREG(info.st_mode):
            problem = ArtifactError("not_a_regular_file", "it is not a regular file", path=file)
            break
        size_bytes += info.st_size
        mtime_ns = max(mtime_ns, info.st_mtime_ns)
        inode = inode or (info.st_dev, info.st_ino)
    return {"size_bytes": size_bytes, "mtime_ns": mtime_ns, "inode": inode, "problem": problem}
