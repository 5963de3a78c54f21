"""What follows the transfer of a pull: its files become a model, and the form that no repository has is made.

Not here: the pull (`registry.pull`), and who calls this when (`pulls.py`).
"""

import logging
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from registry.catalogue import Artifact, FileHash, Model
from registry.checksums.hashing import HashTask, hash_artifact
from registry.engines import EngineKind
from registry.errors import ArtifactError, ModelExistsError, PullUnfinishedError, RegistryError
from registry.pull.events import PullEvent, Registered
from registry.pull.folder import PullFolder, fingerprint
from registry.pull.puller import PullResult
from registry.pull_record import PullOptions, PullPlan
from registry.scan import register_path
from registry.settings import set_settings
from registry.store import Registry
from registry.threads import with_registry
from router.errors import ConversionError
from router.http.caller import is_one_of
from router.jobs.conversions import Converter
from router.jobs.convert.report import ConversionOptions
from router.jobs.job import Job

logger = logging.getLogger(__name__)

SMALL_BYTES: Final = 64 << 20
"""Files whose checksum no hub told are read at once when they are no more than that: an MLX folder's small ones."""


async def conclude(
    database: Path,
    models_dir: Path,
    converter: Converter,
    job: Job[PullEvent],
    options: PullOptions,
    result: PullResult,
) -> None:
    """Register what came, and make the MLX form that no repository has.

    Raises:
        PullUnfinishedError: That cannot be done; the files stay.
    """
    models = await _registered(database, models_dir, options, result)
    for model in models:
        job.tell(model)
    logger.info("pull %d brought %s", job.name, ", ".join(model.model for model in models))
    if EngineKind.MLX in result.plan.needs_conversion and EngineKind.MLX not in models[0].engines:
        await _convert(converter, job, models[0].model)


async def _registered(
    database: Path, models_dir: Path, options: PullOptions, result: PullResult
) -> tuple[Registered, ...]:
    try:
        return await with_registry(
            database, lambda registry: _register(registry, PullFolder(models_dir), result, options)
        )
    except OSError as exc:
        code, message = "unreadable", f"{exc.filename or models_dir}: {exc.strerror or exc}."
    except ArtifactError as exc:
        # Every byte was checked against what the hub says: it has the file so itself.
        message = f"{exc}. The hub has it so; choose another file or repository. What came lies where it was put."
        raise PullUnfinishedError(exc.code, message) from exc
    except RegistryError as exc:
        code, message = exc.code, str(exc)
    remedy = f"mlxr models add {' '.join(shlex.quote(str(path)) for path in result.paths[:1])}"
    raise PullUnfinishedError(code, f"{message} The files came: `{remedy}`, with another --name, registers them.")


async def _convert(converter: Converter, job: Job[PullEvent], model: str) -> None:
    try:
        made = await converter.convert(model, ConversionOptions(), on_progress=job.tell)
    except (ConversionError, RegistryError) as exc:
        words = f"{model} is there and runs on llamacpp, but was not converted for mlx: {exc}"
        raise PullUnfinishedError(exc.code, words) from exc
    job.tell(Registered(model=made.model, engines=made.engines, path=made.path))


def _register(
    registry: Registry, folder: PullFolder, result: PullResult, options: PullOptions
) -> tuple[Registered, ...]:
    """Register all that came, with the checksums that were proved on the way; again, it changes nothing.

    Returns:
        One event per artifact, with the model's name in the end.
    """
    registry.files.put_hashes(_proved(result.plan, folder))
    paths = list(dict.fromkeys(str(path) for path in result.paths))
    with registry.write():
        if options.patterns is not None:
            _check_nobody_elses(registry, paths, options.patterns)
        before = {summary.name for summary in registry.models.summaries()}
        name = options.name or result.plan.name
        models = [register_path(registry, path, name=name, is_owned=True) for path in paths]
        if (called := options.called) is not None:
            models = [_call(registry, model, called, is_new=model.name not in before) for model in models]
        _set_as_published(registry, result.plan)
        for model in models if options.patterns is not None else ():
            registry.models.keep_apart(model.name)
    for model in models:
        _conclude_hashes(registry, [item for item in model.artifacts if item.path in paths and item.sha256 is None])
    # Equal bytes may have made two models one; the name that was given up is an alias then.
    models = [registry.models.get(model.name) for model in models]
    return tuple(
        Registered(model=model.name, engines=model.engines, path=path)
        for model, path in zip(models, paths, strict=True)
    )


def _check_nobody_elses(registry: Registry, paths: Iterable[str], patterns: Sequence[str]) -> None:
    """Refuse to take files from a model that whoever asks may not use."""
    for path in paths:
        found = registry.artifacts.find(path)
        if found is not None and not is_one_of(found.model_name, patterns):
            raise ModelExistsError(
                f"These files are here already, as a model that the API key may not use: it has {', '.join(patterns)}."
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
