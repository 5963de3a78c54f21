"""Moving an artifact's files so that a crash at any moment leaves catalogue and disk in agreement.

The files get a second name (a hard link) in a hidden folder beside the target, or are copied there and compared; what
a crash leaves of a copy is gone on with. Then, in one transaction, they get their names and the catalogue their path,
while the old files become a row that is being removed: whatever ends the process then, the next scan deletes them.
Not here: who uses the model meanwhile, and asking the user.

    DIR/.partial/move-KEY/      on its way
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from registry.catalogue import Artifact, FileHash, Place, all_files
from registry.checksums.sha256 import CHUNK_BYTES, hash_file
from registry.disk import (
    RESERVE_BYTES,
    existing,
    free_bytes,
    make_folder,
    sync_file,
    sync_folder,
    translate_os_errors,
)
from registry.errors import ArtifactError, PullDiskFullError, PullStoreError
from registry.facts import ArtifactFormat
from registry.files import open_regular, size_and_time
from registry.pull.folder import PARTIAL_NAME
from registry.removing.plan import plan_place
from registry.removing.removal import finish_removals
from registry.store import Registry

OnProgress = Callable[[int], None]

_KEPT: Final = "What was copied is kept: free some space and move it again."


class PlannedMove(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done with one artifact.

    Attributes:
        files: Where each file is -> where it goes; the projector is among them.
        path: What engines will be given.
        stage: Where the files gather.
        size_bytes: Of all files.
        is_copied: They lie on another disk, so that their bytes must be copied.
    """

    artifact: Artifact
    files: tuple[tuple[Path, Path], ...]
    path: Path
    stage: Path
    size_bytes: int
    is_copied: bool

    def staged(self, target: Path) -> Path:
        """Where a file waits for the others."""
        return self.stage / target.name


def plan_move(artifact: Artifact, directory: Path, own_folders: Sequence[Path]) -> PlannedMove | None:
    """Plan where the files of an artifact go; None when they are there.

    Files keep their place below mlxr's own folder, or the scanned one, that they come from; others get a folder of the
    model's name.

    Args:
        directory: Absolute.
        own_folders: mlxr's own.

    Raises:
        ArtifactError: A file is gone, or the store that keeps it would not find it again.
    """
    if artifact.layout == "ollama":
        raise ArtifactError("not_movable", "it is in Ollama's store; `mlxr models create` makes a model of its files")
    files = [Path(file) for file in all_files(artifact)]
    folder = Path(artifact.path) if artifact.format is ArtifactFormat.MLX else files[0].parent
    target = directory / _place_below(artifact, folder, own_folders)
    if Path(os.path.realpath(target)) == Path(os.path.realpath(folder)):
        return None
    size_bytes = 0
    for file in files:
        try:
            size_bytes += size_and_time([file])[0]
        except OSError as exc:
            raise ArtifactError("not_found", "the file is gone; run `mlxr models scan`", path=file) from exc
    key = hashlib.sha256(f"{artifact.path}\0{artifact.version}\0{target}".encode(errors="surrogateescape")).hexdigest()
    is_folder = artifact.format is ArtifactFormat.MLX
    return PlannedMove(
        artifact=artifact,
        files=tuple((file, target / file.name) for file in files),
        path=target if is_folder else target / files[0].name,
        stage=directory / PARTIAL_NAME / f"move-{key[:40]}",
        size_bytes=size_bytes,
        is_copied=existing(directory).stat().st_dev != folder.stat().st_dev,
    )


def _place_below(artifact: Artifact, folder: Path, own_folders: Sequence[Path]) -> Path:
    real = Path(os.path.realpath(folder))
    base = _root_of(real, own_folders)
    if base is None and artifact.layout == "plain":
        base = artifact.root
    is_whole = artifact.format is ArtifactFormat.MLX and str(real) == base
    if base is not None and real.is_relative_to(base) and not is_whole:
        return real.relative_to(base)
    name = artifact.model_name.replace(":", "-")
    return Path(f"{name}-mlx" if artifact.format is ArtifactFormat.MLX else name)


def carry_out(
    registry: Registry, move: PlannedMove, *, own_folders: Sequence[Path], on_progress: OnProgress | None = None
) -> None:
    """Do what a plan says; doing it again goes on where it was cut.

    Args:
        own_folders: mlxr's own; files that come to lie below one of them are mlxr's.
        on_progress: Called with numbers of bytes, in all three times those of a copy: written, and read on both sides.

    Raises:
        ArtifactError: A file cannot be read, changed meanwhile, or its copy is not the same.
        PullDiskFullError: There is no room.
        PullStoreError: The folder cannot be written, or something else lies there.
    """
    finish_removals(registry)
    tell = on_progress or (lambda _num_bytes: None)
    directory = move.stage.parent.parent
    with translate_os_errors(move.path, kept=_KEPT):
        _check_room(move, directory)
        make_folder(move.stage, directory)
        hashes = [_gather(registry, source, move.staged(target), target, tell) for source, target in move.files]
        sync_folder(move.stage)
        _switch(registry, move, [item for item in hashes if item is not None], own_folders)
        sync_folder(move.path.parent)
        with contextlib.suppress(OSError):
            move.stage.rmdir()
    failures = finish_removals(registry)
    if failures:
        raise failures[0]


def _check_room(move: PlannedMove, directory: Path) -> None:
    if not move.is_copied:
        return
    staged = (move.staged(target) for _, target in move.files)
    needed = move.size_bytes - sum(file.stat().st_size for file in staged if file.exists())
    free = free_bytes(directory)
    if needed > free - RESERVE_BYTES:
        raise PullDiskFullError(
            f"{needed / 1e6:,.1f} MB must be copied to {directory}, where {free / 1e6:,.1f} MB are free, of which "
            f"{RESERVE_BYTES / 1e6:,.1f} MB stay in reserve. Free some space, or choose another folder."
        )


def _gather(registry: Registry, source: Path, staged: Path, target: Path, tell: OnProgress) -> FileHash | None:
    """Have a file's bytes in the stage; give their checksum under the target's name, if it is known.

    A file that a move which was cut had put into its place already is taken back.
    """
    if not staged.exists() and os.path.lexists(target):
        _take_back(source, target, staged)
    known = registry.files.hashes([str(source)]).get(str(source))
    if known is not None and size_and_time([source]) != (known.size_bytes, known.mtime_ns):
        known = None
    if not _is_same_file(source, staged) and not _link(source, staged):
        known = _copy(source, staged, known, tell)
    return None if known is None else msgspec.structs.replace(known, path=str(target))


def _take_back(source: Path, target: Path, staged: Path) -> None:
    is_ours = not target.is_symlink() and target.is_file() and target.stat().st_size == source.stat().st_size
    if not is_ours or (not source.samefile(target) and hash_file(source).sha256 != hash_file(target).sha256):
        raise PullStoreError(f"{target} is in the way: it is something else. Move it away, or choose another folder.")
    target.rename(staged)


def _is_same_file(source: Path, staged: Path) -> bool:
    return staged.exists() and source.samefile(staged)


def _link(source: Path, staged: Path) -> bool:
    """Give a file a second name; False where that cannot be, or a part of a copy is there."""
    try:
        os.link(os.path.realpath(source), staged)
    except OSError:
        return False
    return True


def _copy(source: Path, staged: Path, known: FileHash | None, tell: OnProgress) -> FileHash:
    """Copy what is missing, then compare both files as a whole; the copy gets the time of its source."""
    with open_regular(source) as (fd, before), staged.open("ab") as copy:
        offset = min(copy.tell(), before.st_size)
        copy.truncate(offset)
        tell(offset)
        while chunk := os.pread(fd, CHUNK_BYTES, offset):
            copy.write(chunk)
            offset += len(chunk)
            tell(len(chunk))
        copy.flush()
        sync_file(copy.fileno())
    if known is None or not known.is_computed:
        known = hash_file(source, on_progress=tell)
    else:
        tell(known.size_bytes)
    if hash_file(staged, on_progress=tell).sha256 != known.sha256:
        staged.unlink()
        raise ArtifactError("damaged_copy", "its copy is not the same; it was thrown away. Move it again", path=source)
    os.utime(staged, ns=(before.st_atime_ns, before.st_mtime_ns))
    info = staged.stat()
    return FileHash.of(staged, info, known.sha256, is_computed=True)


def _switch(registry: Registry, move: PlannedMove, hashes: Sequence[FileHash], own_folders: Sequence[Path]) -> None:
    """Give the files their names, and the catalogue their path."""
    artifact, folder = move.artifact, move.files[0][1].parent
    make_folder(folder, move.stage.parent.parent)
    with registry.write():
        old = dict(place for place in registry.artifacts.places() if place[1].path == artifact.path).get(artifact.id)
        if old is None:
            shutil.rmtree(move.stage, ignore_errors=True)
            raise ArtifactError("not_found", "it left the catalogue while it was copied", path=Path(artifact.path))
        for _, target in move.files:
            move.staged(target).rename(target)
        own = [target for _, target in move.files[: len(artifact.files)]]
        size_bytes, mtime_ns = size_and_time(own)
        root = _root_of(folder, own_folders)
        place = Place(
            format=artifact.format,
            path=str(move.path),
            files=tuple(map(str, own)),
            mmproj_path=None if artifact.mmproj_path is None else str(move.files[-1][1]),
            size_bytes=size_bytes,
            is_owned=root is not None,
            root=root or os.path.realpath(move.stage.parent.parent),
        )
        registry.artifacts.relocate(artifact.id, place, mtime_ns)
        registry.files.put_hashes(hashes)
        registry.removals.begin_for_place(artifact.id, old, plan_place(registry, artifact.id, old).deletions)
        sync_folder(folder)


def _root_of(folder: Path, own_folders: Sequence[Path]) -> str | None:
    """Give the one of mlxr's own folders that a folder lies in, or is, its links resolved."""
    real = Path(os.path.realpath(folder))
    return next((base for base in map(os.path.realpath, own_folders) if real.is_relative_to(base)), None)
