"""Putting one file or folder into the catalogue, where it lies."""

import os
from pathlib import Path

from registry.catalogue import Model
from registry.errors import ArtifactError
from registry.facts import ArtifactFormat
from registry.files import is_folder_at
from registry.removing.removal import finish_removals
from registry.scan.candidates import Candidate
from registry.scan.folders import file_candidate, folder_candidates
from registry.scan.seen import Seen
from registry.store import Registry


def register_path(registry: Registry, path: Path | str, *, name: str | None = None, is_owned: bool = False) -> Model:
    """Put one file or folder into the catalogue, where it lies. Doing it again changes nothing.

    Args:
        path: A GGUF file (any file of a split set), an MLX folder, or a folder that holds exactly one of these.
        name: The model it must belong to, made when absent; None derives the name.
        is_owned: It lies in mlxr's own models folder.

    Raises:
        ArtifactError: It is no model, is broken, or the folder holds several.
        RegistryError: As from `Artifacts.add`.
    """
    if "\0" in str(path):
        raise ArtifactError("not_found", "the path has a NUL byte")
    finish_removals(registry)
    path = Path(os.path.abspath(path))  # noqa: PTH100 - lexical, so that links stay links
    is_owned = is_owned and not (is_folder_at(path) and path.is_symlink())
    seen = Seen({})
    for candidate in _candidates_at(path, is_owned=is_owned):
        seen.add(candidate)
    seen.attach_projectors()
    wanted = [item for item in seen.drafts.values() if is_folder_at(path) or str(path) in item.files]
    if not wanted:
        raise _why_not(path, seen)
    if len(wanted) > 1:
        names = ", ".join(sorted(Path(draft.path).name for draft in wanted)[:5])
        raise ArtifactError("several_models", f"there are several models in this folder ({names}); name one", path=path)
    artifact, _ = registry.artifacts.add(wanted[0], model_name=name)
    return registry.models.get(artifact.model_name)


def _candidates_at(path: Path, *, is_owned: bool) -> tuple[Candidate, ...]:
    """List what a path means; for a file also its neighbours, among which its projector may be."""
    if is_folder_at(path):
        here = folder_candidates(path, is_owned=is_owned)
        mlx = tuple(candidate for candidate in here if candidate.format is ArtifactFormat.MLX)
        return mlx or here
    own = file_candidate(path, is_owned=is_owned)
    if own.problem is not None and own.problem.code == "not_found":
        raise ArtifactError("not_found", "there is no such file or folder", path=path)
    projectors = (
        candidate
        for candidate in folder_candidates(path.parent, is_owned=is_owned)
        if "mmproj" in candidate.path.name.lower() and candidate.path != own.path
    )
    return (own, *projectors)


def _why_not(path: Path, seen: Seen) -> ArtifactError:
    for item in seen.skipped.values():
        if is_folder_at(path) or item.path == str(path):
            return ArtifactError(item.code, item.reason, path=Path(item.path))
    return ArtifactError("not_a_model", "there is no GGUF file and no MLX model here", path=path)
