"""Removing models so that a crash at any moment leaves catalogue and disk in agreement.

Row first marked, with the files that go; then the files; then the row. Whatever was begun is ended by the next scan.
Not here: which files those are (`plan.py`), and asking the user.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from registry.catalogue import Artifact, Deletion
from registry.disk import remove_folder, sync_folder
from registry.errors import ArtifactError
from registry.files import about
from registry.places.ollama import blobs_in_use, read_manifest, stands_for
from registry.removing.hf_cache import is_hf_file_free
from registry.removing.plan import RemovalReport, is_inside, plan, report_of
from registry.store import Registry

__all__ = ["RemovalReport", "finish_removals", "plan_removal", "remove_artifacts", "remove_model"]


def plan_removal(
    registry: Registry, artifacts: Sequence[Artifact], *, is_deleting_foreign_files: bool = False
) -> RemovalReport:
    """Tell what a removal would do, so that the user can be asked; arguments as of `remove_artifacts`."""
    return report_of(plan(registry, artifacts, is_deleting_foreign_files=is_deleting_foreign_files))


def remove_model(registry: Registry, name: str, *, is_deleting_foreign_files: bool = False) -> RemovalReport:
    """Remove a model; arguments and errors as of `remove_artifacts`."""
    artifacts = registry.models.get(name).artifacts
    return remove_artifacts(registry, artifacts, is_deleting_foreign_files=is_deleting_foreign_files)


def remove_artifacts(
    registry: Registry, artifacts: Sequence[Artifact], *, is_deleting_foreign_files: bool = False
) -> RemovalReport:
    """Remove some artifacts; a model without any left is removed with them.

    Args:
        is_deleting_foreign_files: Also delete files outside mlxr's own models folder.

    Raises:
        ArtifactError: A file cannot be deleted; the artifacts are gone from the lists, and the next scan tries again.
    """
    planned = plan(registry, artifacts, is_deleting_foreign_files=is_deleting_foreign_files)
    report = report_of(planned)
    with registry.write():
        for item in planned:
            registry.removals.begin(item.artifact_id, item.deletions)
    failures = finish_removals(registry)
    if failures:
        raise failures[0]
    return report


def finish_removals(registry: Registry) -> tuple[ArtifactError, ...]:
    """End the removals that were begun, by this process or by one that died in between.

    Returns:
        Why some could not be ended; they stay begun.
    """
    failures = []
    for artifact_id, deletions in registry.removals.pending():
        try:
            _delete(deletions)
        except ArtifactError as exc:
            failures.append(exc)
        else:
            registry.removals.finish(artifact_id)
    return tuple(failures)


def _delete(deletions: Sequence[Deletion]) -> None:
    """Delete files in their order; what is gone already is no error, and what came to be needed meanwhile stays."""
    blobs = frozenset(Path(item.path).name for item in deletions if Path(item.path).parent.name == "blobs")
    for item in deletions:
        path = Path(item.path)
        with about(path):
            if not is_inside(path, item.root):
                continue  # A folder on the way became a link to elsewhere: nothing there is ours to delete.
            if path.is_dir() and not path.is_symlink():
                remove_folder(path)
            elif _is_free(path, item, blobs):
                path.unlink(missing_ok=True)
    # On disk before the row goes: otherwise a power cut could bring the files back unseen.
    for folder in {Path(item.path).parent for item in deletions}:
        with suppress(OSError):
            sync_folder(folder)


def _is_free(path: Path, deletion: Deletion, blobs: frozenset[str]) -> bool:
    """Ask the store that the file is part of whether something else needs it by now."""
    if deletion.layout == "hf_cache":
        return is_hf_file_free(path, deletion.root)
    if deletion.layout == "ollama":
        root = Path(deletion.root)
        if path.parent == root / "blobs":
            in_use = blobs_in_use(root)
            return in_use is not None and path.name not in in_use
        try:
            return stands_for(read_manifest(root, path), blobs)
        except ArtifactError:
            return False
    return True
