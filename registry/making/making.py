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

from registry.catalogue import Artifact, FileHash, Model, SkippedFile, combined_sha256
from registry.checksums.hashing import has_all
from registry.errors import ArtifactError, ModelExistsError, PullDiskFullError
from registry.facts import ArtifactFormat
from registry.names import check_model_name, parse_shard_name
from registry.pull.disk import free_bytes, link_or_copy, make_folder, move, translate_os_errors
from registry.pull.folder import PARTIAL_NAME
from registry.removing.removal import remove_artifacts
from registry.scan.candidates import Candidate, Source, mlx_candidate
from registry.scan.discovery import register_path
from registry.scan.folders import file_candidate
from registry.scan.inspection import inspect
from registry.settings import ENGINE_KEY, SETTING_KEYS, check_settings, set_settings
from registry.store import Registry

FOLDER: Final = "made"
RESERVE_BYTES: Final = 1 << 30
"""Disk space that copies leave free."""


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """The files of one artifact that is to be made.

    Attributes:
        format: `gguf` or `mlx`.
        files: Name in its folder -> where the bytes are; of a GGUF model the first file comes first.
        sha256s: Of these files, where the bytes are -> what was proved of them; others may be known to the catalogue.
    """

    format: ArtifactFormat
    files: tuple[tuple[str, Path], ...]
    sha256s: dict[Path, str] = {}


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """What was made.

    Attributes:
        layers: SHA-256 of its artifacts, as far as they are known.
    """

    model: Model
    layers: tuple[str, ...]


def make_from_model(
    registry: Registry, models_dir: Path, name: str, source: str, changes: Mapping[str, Any] | None = None
) -> Made:
    """Make a model of another one, with its settings and some of its own.

    Args:
        name: Of what is made. A model that was made before is replaced; the source itself only gets the settings.
        source: Name or alias of the other model.

    Raises:
        InvalidModelNameError: `name` is no name.
        ModelNotFoundError: There is no model `source`.
        ModelExistsError: `name` is that of a model that was not made, or an alias.
        InvalidSettingError: A setting cannot be stored.
        ArtifactError: The source's files are not as they should be.
        PullDiskFullError: There is no space for copies.
        PullStoreError: The files cannot be put into their place.
    """
    check_settings(changes or {})
    model = registry.models.get(source)
    engine = {} if model.engine is None else {ENGINE_KEY: model.engine}
    settings = engine | set_settings(model.settings) | dict(changes or {})
    if name == model.name:
        model = registry.models.change_settings(name, settings)
    else:
        check_may_be_made(registry, name)
        forms = [_form_of(artifact, name) for artifact in model.artifacts if artifact.status == "ok"]
        if not forms:
            raise ArtifactError("not_found", f"{model.name} has no files that could be used; see `mlxr models list`")
        model = _make(registry, models_dir, name, forms, settings)
    return Made(model=model, layers=tuple(item.sha256 for item in model.artifacts if item.sha256 is not None))


def make_from_files(
    registry: Registry,
    models_dir: Path,
    name: str,
    files: Sequence[tuple[str, Path]],
    changes: Mapping[str, Any] | None = None,
    *,
    sha256s: Mapping[Path, str] | None = None,
) -> Made:
    """Make a model of files that are on this machine.

    Args:
        name: Of what is made; see `make_from_model`.
        files: Name -> where the bytes are; names are checked, and safe below any folder.
        sha256s: Checksums that were proved of some of the files.

    Raises:
        ArtifactError: The files are no model.
        RegistryError: As from `make_from_model`.
    """
    check_settings(changes or {})
    check_may_be_made(registry, name)
    form = msgspec.structs.replace(_form_of_files(name, files), sha256s=dict(sha256s or {}))
    model = _make(registry, models_dir, name, [form], dict(changes or {}))
    return Made(model=model, layers=tuple(item.sha256 for item in model.artifacts if item.sha256 is not None))


def check_may_be_made(registry: Registry, name: str) -> None:
    """Refuse a name whose model would be lost.

    Raises:
        InvalidModelNameError: It is no name.
        ModelExistsError: It is that of a model that was not made, or an alias.
    """
    check_model_name(name)
    known = registry.models.find_exactly(name)
    if known is None:
        return
    if known.name != name:
        raise ModelExistsError(
            f"{name!r} is another name of {known.name!r}; `mlxr models alias {known.name} {name} --remove` frees it."
        )
    if not registry.models.is_apart(name):
        raise ModelExistsError(
            f"{name!r} is a model with files of its own, which would be lost. Delete it first, or choose another name."
        )


def _form_of(artifact: Artifact, name: str) -> Form:
    sources = [Path(file) for file in artifact.files]
    if artifact.format is ArtifactFormat.MLX:
        root = Path(artifact.path)
        return Form(format=artifact.format, files=tuple((file.relative_to(root).as_posix(), file) for file in sources))
    names = [file.name for file in sources] if len(sources) > 1 else [_file_name(name)]
    files = list(zip(names, sources, strict=True))
    if artifact.mmproj_path is None:
        return Form(format=artifact.format, files=tuple(files))
    projector = (f"mmproj-{_file_name(name)}", Path(artifact.mmproj_path))
    return Form(format=artifact.format, files=(*files, projector))


def _form_of_files(name: str, files: Sequence[tuple[str, Path]]) -> Form:
    if any(file == "config.json" for file, _ in files):
        return Form(format=ArtifactFormat.MLX, files=tuple(files))
    if len(files) == 1:
        return Form(format=ArtifactFormat.GGUF, files=((_file_name(name), files[0][1]),))
    if not files or any(parse_shard_name(file) is None for file, _ in files):
        raise ArtifactError(
            "not_a_model", "the files are neither one GGUF file, nor a split set of them, nor an MLX folder"
        )
    return Form(format=ArtifactFormat.GGUF, files=tuple(sorted(files)))


def _file_name(name: str) -> str:
    """Give a GGUF file a name that a scan of an empty catalogue would call the model by."""
    segment = name.partition(":")[0].rpartition("/")[2]
    return f"{segment}.gguf" if parse_shard_name(f"{segment}.gguf") is None else "model.gguf"


def _folder_of(name: str) -> str:
    path, _, tag = name.partition(":")
    organization, _, segment = path.rpartition("/")
    # A tag may begin with a dot, which hides a folder, or be one.
    return f"{FOLDER}/{organization or '_'}/{segment}/{tag if tag[:1].isalnum() else f'@{tag}'}"


def _make(registry: Registry, models_dir: Path, name: str, forms: Sequence[Form], settings: Mapping[str, Any]) -> Model:
    for form in forms:
        _check_files(form)
    _check_space(models_dir, [path for form in forms for _, path in form.files])
    paths = [_put(models_dir, name, form) for form in forms]
    known = registry.models.find_exactly(name)
    stale = [] if known is None else [item for item in known.artifacts if Path(item.path) not in paths]
    if stale:
        remove_artifacts(registry, stale)
    with registry.write():
        for form, path in zip(forms, paths, strict=True):
            registry.files.put_hashes(_same_hashes(registry, form, path))
            register_path(registry, path, name=name, is_owned=True)
        for artifact in registry.models.get(name).artifacts:
            hashes = registry.files.hashes(artifact.files)
            sha256 = combined_sha256(hashes.values()) if has_all(artifact.files, hashes) else None
            if artifact.sha256 is None and sha256 is not None:
                registry.artifacts.set_sha256(artifact.id, sha256)
        registry.models.keep_apart(name)
        return registry.models.change_settings(name, dict.fromkeys(SETTING_KEYS) | dict(settings))


def _check_files(form: Form) -> None:
    for file, path in form.files:
        if not path.is_file():
            raise ArtifactError("not_found", f"the file {file} is gone; `mlxr models scan` brings the list up to date")


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


def _put(models_dir: Path, name: str, form: Form) -> Path:
    """Gather a form's files, look whether they are a model, and put them into their place; return what to register."""
    key = hashlib.sha256(f"{name}\0{form.format}".encode()).hexdigest()[:40]
    stage = models_dir / PARTIAL_NAME / f"made-{key}"
    replaced = models_dir / PARTIAL_NAME / f"replaced-{key}"
    target = models_dir / _folder_of(name) / form.format.value
    with translate_os_errors(target):
        models_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        for old in (stage, replaced):
            shutil.rmtree(old, ignore_errors=True)
        try:
            for file, source in form.files:
                make_folder((stage / file).parent, models_dir)
                link_or_copy(Path(os.path.realpath(source)), stage / file)
            _check_is_model(stage, form)
            make_folder(target.parent, models_dir)
            if target.exists():
                move(target, replaced)
            move(stage, target)
        finally:
            for old in (stage, replaced):
                shutil.rmtree(old, ignore_errors=True)
    return target if form.format is ArtifactFormat.MLX else target / form.files[0][0]


def _check_is_model(stage: Path, form: Form) -> None:
    result = inspect(_candidate(stage, form))
    if isinstance(result, SkippedFile):
        raise ArtifactError(result.code, f"the files are no model: {result.reason}")


def _candidate(stage: Path, form: Form) -> Candidate:
    if form.format is ArtifactFormat.GGUF:
        return file_candidate(stage / form.files[0][0], is_owned=True)
    with os.scandir(stage) as entries:
        return mlx_candidate(stage, sorted(entries, key=lambda entry: entry.name), Source(path=stage, root=str(stage)))


def _same_hashes(registry: Registry, form: Form, path: Path) -> Iterable[FileHash]:
    """Give the files the checksums that are known of their bytes under their other names."""
    folder = path if form.format is ArtifactFormat.MLX else path.parent
    known = registry.files.hashes(str(source) for _, source in form.files)
    for file, source in form.files:
        own = folder / file
        info, item = own.stat(), known.get(str(source))
        if source in form.sha256s:
            yield FileHash(
                path=str(own),
                size_bytes=info.st_size,
                mtime_ns=info.st_mtime_ns,
                sha256=form.sha256s[source],
                is_computed=True,
            )
        elif item is not None and (item.size_bytes, item.mtime_ns) == (info.st_size, info.st_mtime_ns):
            yield msgspec.structs.replace(item, path=str(own))
