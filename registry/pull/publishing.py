"""The last step of a pull: a part's verified files from the stage to their final names. Blocking.

A GGUF model's files are renamed one by one, the first file last, so that a scan in between sees no model or an
incomplete set. An MLX folder is renamed as a whole; one that is in its place moves aside first, and is deleted only
when the new one is there. A crash anywhere leaves what the next run of the same pull ends. Not here: fetching.
"""

import shutil
from pathlib import Path

from registry.disk import is_left_by_finder, make_folder, move, translate_os_errors
from registry.errors import PullConflictError
from registry.facts import ArtifactFormat
from registry.pull.folder import PullFolder, blob_of
from registry.pull.inventory import note_verified
from registry.pull.planning import is_mlx_file
from registry.pull_record import PlannedPart
from registry.store import Registry


def publish(part: PlannedPart, folder: PullFolder, registry: Registry) -> Path:
    """Put a part, all of whose files are in the stage, in its place.

    Raises:
        PullConflictError: Something else lies where an MLX folder would go.
        PullError: There is no space, or it cannot be done.
    """
    stage, target = folder.stage_dir(part), folder.target_dir(part)
    # Told before the rename: others who look for the bytes find them under one of both names at any time.
    with translate_os_errors(target):
        if part.format is ArtifactFormat.MLX:
            make_folder(target.parent, folder.models_dir)
            _check_replaceable(target)
            for file in part.files:
                note_verified(registry, blob_of(file), folder.staged(part, file), folder.target(part, file))
            swap(stage, target, folder.replaced_dir(part))
        else:
            for file in reversed(part.files):
                staged, final = folder.staged(part, file), folder.target(part, file)
                make_folder(final.parent, folder.models_dir)
                note_verified(registry, blob_of(file), staged, final)
                move(staged, final)
            shutil.rmtree(stage, ignore_errors=True)
    for file in part.files:
        registry.files.forget_verified(str(folder.staged(part, file)))
    return folder.result(part)


def tidy(part: PlannedPart, folder: PullFolder) -> None:
    """Throw away what a crash left of a part that is in its place."""
    for path in (folder.stage_dir(part), folder.replaced_dir(part)):
        shutil.rmtree(path, ignore_errors=True)


def _check_replaceable(target: Path) -> None:
    """An MLX folder may be replaced by a newer one, but nothing that somebody else put there is thrown away."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise PullConflictError(f"{target} is in the way: it is a link or a file. Move it away, then resume.")
    names = sorted(entry.name for entry in target.iterdir()) if target.exists() else []
    others = [name for name in names if not is_mlx_file(name) and not is_left_by_finder(name)]
    if others:
        raise PullConflictError(
            f"{target} has what is no part of an MLX model ({', '.join(others[:3])}). Move it away, then resume."
        )


def swap(stage: Path, target: Path, replaced: Path) -> None:
    """Put a folder in its place; one that was there moves aside, to `replaced`, and goes when the new one is there."""
    shutil.rmtree(replaced, ignore_errors=True)
    if target.exists():
        move(target, replaced)
    move(stage, target)
    shutil.rmtree(replaced, ignore_errors=True)
