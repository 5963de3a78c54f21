"""Removing models so that a crash at any moment leaves catalogue and disk in agreement.

Row first marked, then files, then row: whatever was begun is ended by the next scan. Not here: asking the user.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from registry.catalogue import Artifact
from registry.errors import ArtifactError
from registry.files import as_artifact_error
from registry.store import Registry


class RemovalReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a removal did, or would do.

    Attributes:
        deleted: Files that are (to be) deleted.
        kept: Files that stay, because they lie outside mlxr's own folder or something else needs them.
        freed_bytes: Size of the artifacts whose files are deleted.
    """

    deleted: tuple[str, ...]
    kept: tuple[str, ...]
    freed_bytes: int


def plan_removal(
    registry: Registry, artifacts: Sequence[Artifact], *, is_deleting_foreign_files: bool = False
) -> RemovalReport:
    """Tell what a removal would do, so that the user can be asked.

    Args:
        registry: The catalogue.
        artifacts: What would be removed.
        is_deleting_foreign_files: Also delete files outside mlxr's own models folder.

    Returns:
        The report of what would happen.

    Raises:
        DatabaseError: Or a subclass.
    """
    ids = {artifact.id for artifact in artifacts}
    needed = {
        file
        for model in registry.list_models()
        for artifact in model.artifacts
        if artifact.id not in ids
        for file in (*artifact.files, *([artifact.mmproj_path] if artifact.mmproj_path else []))
    }
    deleted: list[str] = []
    kept: list[str] = []
    freed_bytes = 0
    for artifact in artifacts:
        is_deleting = artifact.is_owned or is_deleting_foreign_files
        freed_bytes += artifact.size_bytes if is_deleting else 0
        for file in (*artifact.files, *([artifact.mmproj_path] if artifact.mmproj_path else [])):
            (deleted if is_deleting and file not in needed else kept).append(file)
    return RemovalReport(deleted=tuple(deleted), kept=tuple(kept), freed_bytes=freed_bytes)


def remove_model(registry: Registry, name: str, *, is_deleting_foreign_files: bool = False) -> RemovalReport:
    """Remove a model: its rows, and the files of artifacts that lie in mlxr's own models folder.

    Args:
        registry: The catalogue.
        name: The model or an alias.
        is_deleting_foreign_files: Also delete files outside mlxr's own models folder.

    Returns:
        What was done.

    Raises:
        ModelNotFoundError: There is no such model.
        ArtifactError: A file cannot be deleted; the model is gone from the lists, and the next scan tries again.
        DatabaseError: Or a subclass.
    """
    artifacts = registry.get_model(name).artifacts
    return remove_artifacts(registry, artifacts, is_deleting_foreign_files=is_deleting_foreign_files)


def remove_artifacts(
    registry: Registry, artifacts: Sequence[Artifact], *, is_deleting_foreign_files: bool = False
) -> RemovalReport:
    """Remove some artifacts; a model without any left is removed with them.

    Args:
        registry: The catalogue.
        artifacts: What to remove.
        is_deleting_foreign_files: Also delete files outside mlxr's own models folder.

    Returns:
        What was done.

    Raises:
        ArtifactError: A file cannot be deleted; the next scan tries again.
        DatabaseError: Or a subclass.
    """
    report = plan_removal(registry, artifacts, is_deleting_foreign_files=is_deleting_foreign_files)
    with registry.write():
        for artifact in artifacts:
            is_deleting = artifact.is_owned or is_deleting_foreign_files
            registry.begin_removal([artifact.id], "delete" if is_deleting else "unregister")
    failures = finish_removals(registry)
    if failures:
        raise failures[0]
    return report


def finish_removals(registry: Registry) -> tuple[ArtifactError, ...]:
    """End the removals that were begun, by this process or by one that died in between.

    Args:
        registry: The catalogue.

    Returns:
        Why some could not be ended; they stay begun.

    Raises:
        DatabaseError: Or a subclass.
    """
    failures = []
    for artifact_id, removal, files in registry.pending_removals():
        try:
            if removal == "delete":
                _delete(files)
        except ArtifactError as exc:
            failures.append(exc)
        else:
            registry.finish_removal(artifact_id)
    return tuple(failures)


def _delete(files: Sequence[str]) -> None:
    """Delete files, then the folder they were in if it is empty; what is gone already is no error."""
    for file in files:
        path = Path(file)
        try:
            if path.is_dir() and not path.is_symlink():
                # A folder with something else left in it stays.
                with suppress(OSError):
                    path.rmdir()
            else:
                _delete_blob(path)
                path.unlink(missing_ok=True)
        except OSError as exc:
            raise as_artifact_error(exc, path) from exc
    _sync_folders({Path(file).parent for file in files})


def _delete_blob(link: Path) -> None:
    """Delete what a link of the HF cache points to, unless another snapshot needs it; other links keep their target.

    The blob goes before its link: a crash in between leaves a link without a target, which the next attempt removes,
    and not a blob that nothing points to.

    Source: huggingface_hub, "Understand caching": `models--ORG--NAME/snapshots/COMMIT/FILE` links to
    `models--ORG--NAME/blobs/HASH`.
    """
    repository = next((folder for folder in link.parents if folder.name == "snapshots"), link).parent
    if not link.is_symlink() or not repository.name.startswith("models--"):
        return
    blob = Path(os.path.realpath(link))
    if blob.parent != Path(os.path.realpath(repository / "blobs")):
        return
    others = (other for other in (repository / "snapshots").rglob("*") if other.is_symlink() and other != link)
    if not any(os.path.realpath(other) == str(blob) for other in others):
        blob.unlink(missing_ok=True)


def _sync_folders(folders: set[Path]) -> None:
    """Have the deletions on disk before the row goes: otherwise a power cut could bring the files back unseen."""
    for folder in folders:
        with suppress(OSError):
            fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
