"""Puts what a pull brought into the catalogue, with the checksums that were proved on the way. Blocking.

Not here: the pull (`registry.pull`), and who calls this when (`pulls.py`).
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from registry.catalogue import Artifact, FileHash, Model
from registry.checksums.hashing import HashTask, hash_artifact
from registry.pull.events import Registered
from registry.pull.folder import PullFolder, fingerprint
from registry.pull.plan import PullPlan
from registry.pull.puller import PullResult
from registry.scan import register_path
from registry.settings import set_settings
from registry.store import Registry

SMALL_BYTES: Final = 64 << 20
"""Files whose checksum no hub told are read at once when they are no more than that: an MLX folder's small ones."""


def register_pulled(
    database: Path, models_dir: Path, result: PullResult, *, name: str | None, called: str | None = None
) -> tuple[Registered, ...]:
    """Register all that came. Doing it again changes nothing.

    Args:
        name: The model that gets it; None derives it, or takes the plan's.
        called: Another name that the model is to have; its own, when it is new and no name was given.

    Returns:
        One event per artifact, with the model's name in the end.

    Raises:
        RegistryError: It cannot be registered; its files stay.
    """
    with Registry(database) as registry:
        registry.files.put_hashes(_proved(result.plan, PullFolder(models_dir)))
        paths = [str(path) for path in result.paths]
        with registry.write():
            before = {summary.name for summary in registry.models.summaries()}
            own_name = name or result.plan.name
            models = [
                register_path(registry, path, name=own_name, is_owned=result.is_owned) for path in dict.fromkeys(paths)
            ]
            if called is not None:
                models = [_call(registry, model, called, is_new=model.name not in before) for model in models]
            _set_as_published(registry, result.plan)
        for model in models:
            _conclude_hashes(registry, [item for item in model.artifacts if item.path in paths and item.sha256 is None])
        # Equal bytes may have made two models one; the name that was given up is an alias then.
        models = [registry.models.get(model.name) for model in models]
        return tuple(
            Registered(model=model.name, engines=model.engines, path=path)
            for model, path in zip(models, dict.fromkeys(paths), strict=True)
        )


def _call(registry: Registry, model: Model, called: str, *, is_new: bool) -> Model:
    """Give a model the name that was asked for, beside the one under which it may be known already."""
    known = registry.models.find_exactly(called)
    if known is not None and known.name == model.name:
        return model
    return registry.models.rename(model.name, called) if is_new else registry.aliases.set(called, model.name)


def _set_as_published(registry: Registry, plan: PullPlan) -> None:
    """Put what a publisher says of a model into its settings; a user's other settings stay."""
    model = None if plan.name is None else registry.models.find_exactly(plan.name)
    if model is None or model.name != plan.name:
        return  # The bytes are another model's, whose settings are its user's.
    if plan.parts:
        registry.models.keep_apart(model.name)
    registry.models.change_settings(model.name, set_settings(plan.settings))


def _proved(plan: PullPlan, folder: PullFolder) -> Iterable[FileHash]:
    for part in plan.parts:
        for file in part.files:
            target = folder.target(part, file)
            info = fingerprint(target)
            if file.sha256 is not None and info is not None and info[0] == file.size_bytes:
                yield FileHash(
                    path=str(target), size_bytes=info[0], mtime_ns=info[1], sha256=file.sha256, is_computed=True
                )


def _conclude_hashes(registry: Registry, artifacts: Sequence[Artifact]) -> None:
    """Give artifacts their checksum, where next to nothing is left to read for it."""
    for artifact in artifacts:
        known = registry.files.hashes(artifact.files)
        left = tuple(file for file in artifact.files if file not in known or not known[file].is_computed)
        sizes = [info[0] for file in left if (info := fingerprint(Path(file))) is not None]
        if sum(sizes) <= SMALL_BYTES:
            task = HashTask(artifact_id=artifact.id, files=artifact.files, left=left, left_bytes=sum(sizes))
            hash_artifact(registry, task)
