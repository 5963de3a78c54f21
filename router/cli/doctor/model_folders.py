"""The doctor's questions about model folders: what lies there that nothing needs, and what is gone. Nothing is changed.

Not here: the other questions (`installation.py`), and damage inside files (`mlxr models verify`).
"""

import shlex
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from registry.adapters.mlx_lora import CONFIG_NAME
from registry.errors import ArtifactError, RegistryError
from registry.files import absence, is_there
from registry.pull.folder import PullFolder
from registry.pull.orphans import find_orphans
from registry.pull.ownership import as_it_is
from registry.scan import ScanRoot
from registry.scan.folders import find_candidates
from registry.scan.watch import what_changed
from registry.store import Registry
from router.cli.doctor.check import Check
from router.cli.terminal.catalogue import open_registry_for_reading
from router.cli.terminal.context import read_config
from router.cli.terminal.output import plural
from router.config.paths import Paths
from router.config.roots import own_folders
from router.errors import ConfigError
from router.jobs.convert.scratch import leftovers


def check_model_folders(paths: Paths) -> Iterable[Check]:
    """Look for leftovers, unregistered folders, files of nobody, and artifacts that vanished.

    Yields:
        A warning per finding; nothing where all is well. A catalogue that cannot be read is another check's.
    """
    if not paths.registry_db.exists():
        return
    try:
        with open_registry_for_reading(paths) as registry:
            yield from [*_vanished(registry), *_leftovers(paths), *_partial(paths)]
            for own in own_models_folders(paths):
                yield from [*_strays(registry, own)]
    except (RegistryError, OSError):
        return


def _vanished(registry: Registry) -> Iterator[Check]:
    for model in registry.models.list():
        for artifact in model.artifacts:
            gone = next((file for file in artifact.files if not is_there(file)), None)
            if gone is not None:
                remedy = f"mlxr models scan finds it where it went; mlxr models rm {model.name} gives it up"
                yield _warning("vanished", f"{model.name} ({artifact.format}): {gone} {absence(gone)}", remedy)
        for adapter in model.adapters:
            change = what_changed(adapter)
            if change is not None:
                remedy = (
                    f"mlxr models adapter add {model.name} PATH --name {adapter.name} reads it anew; "
                    f"mlxr models adapter rm {adapter.reference} gives it up"
                )
                yield _warning("adapter", f"{adapter.reference} ({adapter.engine}): {change}", remedy)


def own_models_folders(paths: Paths) -> tuple[Path, ...]:
    """List mlxr's own models folders, where models go first; a config that cannot be used names none."""
    try:
        return own_folders(read_config(paths), paths)
    except ConfigError:
        return (paths.models_dir,)


def _leftovers(paths: Paths) -> Iterator[Check]:
    folders = [folder for own in own_models_folders(paths) for folder in leftovers(own)]
    if folders:
        found = f"{plural(len(folders), 'folder')} of conversions that were killed, e.g. {folders[0]}"
        yield _warning("conversions", found, _removal(folders))


def _partial(paths: Paths) -> Iterator[Check]:
    """Look for pulls that wait for somebody to go on with them, and for partial files that no pull needs."""
    with Registry(paths.registry_db, is_read_only=True) as registry:
        folder = PullFolder(own_models_folders(paths)[0])
        orphans = find_orphans(folder, registry, now=time.time())
        pulls = [as_it_is(pull, folder) for pull in registry.pulls.list()]
    for pull in pulls:
        if pull.state not in {"paused", "failed", "interrupted"}:
            continue
        share = f", {100 * pull.done_bytes // pull.total_bytes} % done" if pull.total_bytes else ""
        state = "was interrupted" if pull.state == "interrupted" else f"is {pull.state}"
        found = f"pull {pull.id} of {pull.reference.partition('?')[0]} {state}{share}"
        remedy = f"mlxr models pulls resume {pull.id}   (or, to delete what came: mlxr models pulls cancel {pull.id})"
        yield _warning("unfinished pull", found, remedy)
    if orphans:
        num_bytes = sum(orphan.size_bytes for orphan in orphans)
        what = f"{plural(len(orphans), 'partial file')} that no pull needs ({num_bytes / 1e9:.1f} GB)"
        yield _warning("partial files", f"{what}, e.g. {orphans[0].path}", "mlxr models pulls clean")


def _strays(registry: Registry, own: Path) -> Iterator[Check]:
    """Compare one of mlxr's own models folders with the catalogue."""
    try:
        candidates = tuple(find_candidates(ScanRoot(path=own, is_owned=True)))
    except ArtifactError:  # there is no such folder yet
        return
    known = registry.files.known()
    unknown = [candidate.path for candidate in candidates if str(candidate.path) not in known]
    if unknown:
        found = f"{plural(len(unknown), 'model')} not in the catalogue, e.g. {unknown[0]}"
        yield _warning("unregistered", found, "mlxr models scan")
    owned = {str(file) for candidate in candidates for file in candidate.files} | known.keys()
    owned |= {file for item in known.values() for file in (*item.files, item.mmproj_path or "")}
    files = list(_visible_files(own))
    # What lies in a folder of mlx-lm's is somebody's training, whether it is registered or not.
    trained = {path.parent for path in files if path.name == CONFIG_NAME}
    registered = {adapter.path for model in registry.models.list() for adapter in model.adapters}
    unused = sorted(str(folder) for folder in trained if str(folder) not in registered)
    if unused:
        found = f"{plural(len(unused), 'adapter')} of no model, e.g. {unused[0]}"
        yield _warning("adapter", found, f"mlxr models adapter add BASE {shlex.quote(unused[0])}")
    orphans = [path for path in files if str(path) not in owned and path.parent not in trained]
    if orphans:
        yield _warning("orphans", f"{plural(len(orphans), 'file')} of no model, e.g. {orphans[0]}", _removal(orphans))


def _warning(name: str, found: str, remedy: str) -> Check:
    return Check(name, "warning", found, remedy)


def _visible_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path


def _removal(paths: Sequence[Path]) -> str:
    """Give the command that removes them; of many, for the first."""
    more = f"   (and {len(paths) - 1} more)" if len(paths) > 1 else ""
    return f"rm -r -- {shlex.quote(str(paths[0]))}{more}"
