"""Making a model out of another one, or of files that are at hand: the same bytes under another name, and settings.

The files get a second name (a hard link) in mlxr's own folder, so that either model can be removed without the other;
they are copied only where that cannot be. What is made stands apart: equal bytes do not make it one with its source.
Blocking; one at a time for a name (the caller has the lock). Not here: reading recipes, uploads, and HTTP.

    models/made/ORG/NAME/TAG/gguf/, mlx/       what was made; ORG is `_` for names without one
    models/.partial/made-KEY/                  on its way
"""

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from registry.catalogue import Artifact, FileHash, Model, SkippedFile
from registry.disk import RESERVE_BYTES, free_bytes, link_or_copy, make_folder, translate_os_errors
from registry.errors import ArtifactError, ModelExistsError, PullDiskFullError
from registry.facts import ArtifactFormat, ModelFacts, ModelKind
from registry.gguf import read_header
from registry.gguf.facts import facts_from_header
from registry.gguf.projector import read_projector
from registry.names import check_new_name, parse_shard_name
from registry.pull.folder import PARTIAL_NAME
from registry.pull.publishing import swap
from registry.removing.removal import remove_artifacts
from registry.scan import register_path
from registry.scan.candidates import Candidate, Source, mlx_candidate
from registry.scan.folders import file_candidate
from registry.scan.inspection import inspect
from registry.scan.pairing import why_misfit
from registry.settings import ENGINE_KEY, SETTING_KEYS, check_settings, set_settings
from registry.store import Registry

FOLDER: Final = "made"


class _Files(msgspec.Struct, frozen=True, kw_only=True):
    """The files of one artifact that is to be made.

    Attributes:
        files: Name in its folder -> where the bytes are; of a GGUF model the first file comes first, a projector last.
        has_projector: The last file is a vision projector.
        sha256s: Of these files, where the bytes are -> what was proved of them; others may be known to the catalogue.
    """

    format: ArtifactFormat
    files: tuple[tuple[str, Path], ...]
    has_projector: bool = False
    sha256s: dict[Path, str] = {}


def create_from_model(
    registry: Registry, models_dir: Path, name: str, source: str, changes: Mapping[str, Any] | None = None
) -> Model:
    """Make a model of another one, with its settings and some of its own.

    Args:
        name: Of what is made. A model that was made before is replaced; the source itself only gets the settings.
        source: Name or alias of the other model.

    Raises:
        RegistryError: A name or setting is none, the source is not there or not as it should be, `name` is that of a
            model that was not made, or its files cannot be put into their place.
    """
    check_settings(changes or {})
    model = registry.models.get(source)
    engine = {} if model.engine is None else {ENGINE_KEY: model.engine}
    settings = engine | set_settings(model.settings) | dict(changes or {})
    if name == model.name:
        return registry.models.change_settings(name, settings)
    check_may_be_created(registry, name)
    parts = [_files_of(artifact, name) for artifact in model.artifacts if artifact.status == "ok"]
    if not parts:
        raise ArtifactError("not_found", f"{model.name} has no files that could be used; see `mlxr models list`")
    return _create(registry, models_dir, name, parts, settings)


def create_from_files(
    registry: Registry,
    models_dir: Path,
    name: str,
    files: Sequence[tuple[str, Path]],
    changes: Mapping[str, Any] | None = None,
    *,
    sha256s: Mapping[Path, str] | None = None,
) -> Model:
    """Make a model of files that are on this machine; see `create_from_model`.

    Args:
        files: Name -> where the bytes are; names are checked, and safe below any folder.
        sha256s: Checksums that were proved of some of the files.
    """
    check_settings(changes or {})
    check_may_be_created(registry, name)
    part = msgspec.structs.replace(_named_files(name, files), sha256s=dict(sha256s or {}))
    return _create(registry, models_dir, name, [part], dict(changes or {}))


def check_may_be_created(registry: Registry, name: str) -> None:
    """Refuse a name whose model would be lost.

    Raises:
        ModelExistsError: It is that of a model that was not made, or an alias.
    """
    known = registry.models.find_exactly(name)
    if known is None:
        check_new_name(name)
        return
    if known.name != name:
        raise ModelExistsError(
            f"{name!r} is another name of {known.name!r}; `mlxr models alias {known.name} {name} --remove` frees it."
        )
    if not registry.models.is_apart(name):
        raise ModelExistsError(
            f"{name!r} is a model with files of its own, which would be lost. Delete it first, or choose another name."
        )


def _files_of(artifact: Artifact, name: str) -> _Files:
    sources = [Path(file) for file in artifact.files]
    if artifact.format is ArtifactFormat.MLX:
        names = [file.relative_to(artifact.path).as_posix() for file in sources]
    else:
        names = [file.name for file in sources] if len(sources) > 1 else [_file_name(name)]
    if artifact.mmproj_path is not None:
        names.append(f"mmproj-{_file_name(name)}")
        sources.append(Path(artifact.mmproj_path))
    return _Files(
        format=artifact.format,
        files=tuple(zip(names, sources, strict=True)),
        has_projector=artifact.mmproj_path is not None,
    )


def _named_files(name: str, files: Sequence[tuple[str, Path]]) -> _Files:
    if any(file == "config.json" for file, _ in files):
        return _Files(format=ArtifactFormat.MLX, files=tuple(files))
    projectors = [path for _, path in files if len(files) > 1 and _is_projector(path)]
    if len(projectors) > 1:
        raise ArtifactError("several_projectors", "there are several vision projectors among the files; name one")
    weights = [(file, path) for file, path in files if path not in projectors]
    if len(weights) == 1:
        weights = [(_file_name(name), weights[0][1])]
    elif not weights or any(parse_shard_name(file) is None for file, _ in weights):
        raise ArtifactError(
            "not_a_model",
            "the files are neither one GGUF file, nor a split set of them, perhaps with a projector, nor an MLX folder",
        )
    beside = [(f"mmproj-{_file_name(name)}", path) for path in projectors]
    return _Files(format=ArtifactFormat.GGUF, files=(*sorted(weights), *beside), has_projector=bool(beside))


def _is_projector(path: Path) -> bool:
    try:
        return facts_from_header(read_header(path)).kind is ModelKind.MMPROJ
    except ArtifactError:  # what it is instead is said when it is looked into as a model
        return False


def _file_name(name: str) -> str:
    """Give a GGUF file a name that a scan of an empty catalogue would call the model by."""
    segment = name.partition(":")[0].rpartition("/")[2]
    return f"{segment}.gguf" if parse_shard_name(f"{segment}.gguf") is None else "model.gguf"


def _folder_of(name: str) -> str:
    path, _, tag = name.partition(":")
    organization, _, segment = path.rpartition("/")
    # A tag may begin with a dot, which hides a folder, or be one.
    return f"{FOLDER}/{organization or '_'}/{segment}/{tag if tag[:1].isalnum() else f'@{tag}'}"


def _create(
    registry: Registry, models_dir: Path, name: str, parts: Sequence[_Files], settings: Mapping[str, Any]
) -> Model:
    for file, path in (file for part in parts for file in part.files):
        if not path.is_file():
            raise ArtifactError("not_found", f"the file {file} is gone; `mlxr models scan` brings the list up to date")
    _check_space(models_dir, [path for part in parts for _, path in part.files])
    paths = [_put(models_dir, name, part) for part in parts]
    known = registry.models.find_exactly(name)
    stale = [] if known is None else [item for item in known.artifacts if Path(item.path) not in paths]
    if stale:
        remove_artifacts(registry, stale)
    with registry.write():
        for part, path in zip(parts, paths, strict=True):
            registry.files.put_hashes(_same_hashes(registry, part, path))
            register_path(registry, path, name=name, is_owned=True)
        for artifact in registry.models.get(name).artifacts:
            sha256 = registry.files.sha256_of(artifact.files)
            if artifact.sha256 is None and sha256 is not None:
                registry.artifacts.set_sha256(artifact.id, sha256)
        registry.models.keep_apart(name)
        return registry.models.change_settings(name, dict.fromkeys(SETTING_KEYS) | dict(settings))


def _check_space(models_dir: Path, files: Iterable[Path]) -> None:
    """Refuse to copy what does not fit; files that can be linked need nothing."""
    folder = models_dir
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    with translate_os_errors(models_dir):
        device, user = folder.stat().st_dev, os.geteuid()
        infos = [file.stat() for file in files]
        needed = sum(info.st_size for info in infos if info.st_dev != device or info.st_uid != user)
        free = free_bytes(folder)
    if needed and needed > free - RESERVE_BYTES:
        raise PullDiskFullError(
            f"{needed / 1e6:,.1f} MB must be copied to {models_dir}, where {free / 1e6:,.1f} MB are free, of which "
            f"{RESERVE_BYTES / 1e6:,.1f} MB stay in reserve. Free some space."
        )


def _put(models_dir: Path, name: str, part: _Files) -> Path:
    """Gather a part's files, look whether they are a model, and put them into their place; return what to register."""
    key = hashlib.sha256(f"{name}\0{part.format}".encode()).hexdigest()[:40]
    stage = models_dir / PARTIAL_NAME / f"made-{key}"
    target = models_dir / _folder_of(name) / part.format.value
    with translate_os_errors(target):
        shutil.rmtree(stage, ignore_errors=True)
        try:
            for file, source in part.files:
                make_folder((stage / file).parent, models_dir)
                link_or_copy(Path(os.path.realpath(source)), stage / file)
            result = inspect(_candidate(stage, part))
            if isinstance(result, SkippedFile):
                raise ArtifactError(result.code, f"the files are no model: {result.reason}")
            if part.has_projector:
                _check_projector(stage / part.files[-1][0], result.facts)
            make_folder(target.parent, models_dir)
            swap(stage, target, models_dir / PARTIAL_NAME / f"replaced-{key}")
        finally:
            shutil.rmtree(stage, ignore_errors=True)
    return target if part.format is ArtifactFormat.MLX else target / part.files[0][0]


def _check_projector(path: Path, facts: ModelFacts) -> None:
    misfit = why_misfit(read_projector(path), facts)
    if misfit is not None:
        raise ArtifactError("misfit", f"the projector does not fit: {misfit}")


def _candidate(stage: Path, part: _Files) -> Candidate:
    if part.format is ArtifactFormat.GGUF:
        return file_candidate(stage / part.files[0][0], is_owned=True)
    with os.scandir(stage) as entries:
        return mlx_candidate(stage, sorted(entries, key=lambda entry: entry.name), Source(path=stage, root=str(stage)))


def _same_hashes(registry: Registry, part: _Files, path: Path) -> Iterable[FileHash]:
    """Give the files the checksums that are known of their bytes under their other names."""
    folder = path if part.format is ArtifactFormat.MLX else path.parent
    known = registry.files.hashes(str(source) for _, source in part.files)
    for file, source in part.files:
        own = folder / file
        info, item = own.stat(), known.get(str(source))
        if source in part.sha256s:
            yield FileHash.of(own, info, part.sha256s[source], is_computed=True)
        elif item is not None and (item.size_bytes, item.mtime_ns) == (info.st_size, info.st_mtime_ns):
            yield msgspec.structs.replace(item, path=str(own))
