"""Registering an adapter for its base: what its files are, whether they fit, and the row in the catalogue; its removal.

Nothing is copied: the files stay where they are, and whoever loads them asks first whether they are as they were
(`registry.scan.watch.what_changed`).
"""

import math
import os
from pathlib import Path
from typing import Final

from registry.adapters.gguf_lora import check_gguf_base, read_gguf_lora
from registry.adapters.mlx_lora import CONFIG_NAME, WEIGHTS_NAME, check_mlx_base, read_mlx_lora
from registry.catalogue import ENGINE_OF_FORMAT, Adapter, AdapterDraft, Artifact, Model
from registry.disk import remove_folder
from registry.engines import EngineKind
from registry.errors import ArtifactError, InvalidSettingError
from registry.facts import AdapterFacts, ArtifactFormat
from registry.files import about, as_artifact_error, size_and_time
from registry.names import MAX_ADAPTER_CHARS, check_adapter_name, strip_suffixes
from registry.store import Registry

MAX_SCALE: Final = 1000.0

_GENERIC_NAMES: Final = frozenset({"", "adapter", "adapters", "lora", "loras", "model", "output", "checkpoint"})


def register_adapter(
    registry: Registry, base: str, path: Path | str, *, name: str | None = None, scale: float = 1.0
) -> Adapter:
    """Put an adapter into the catalogue, where it lies. Doing it again reads its files anew.

    Args:
        path: A GGUF file, or a folder that mlx-lm wrote.
        name: What requests name it by, after the `+`; None derives it from the file or folder.
        scale: What its effect is multiplied by; 1 = as its makers have it.

    Raises:
        ArtifactError: It is no adapter, is broken, or does not fit the base.
        RegistryError: As from `Adapters.put`; or `scale` is out of range.
    """
    if not math.isfinite(scale) or abs(scale) > MAX_SCALE:
        raise InvalidSettingError(f"An adapter's scale is a number from -{MAX_SCALE:g} to {MAX_SCALE:g}, not {scale}.")
    if name is not None:
        check_adapter_name(name)
    if "\0" in str(path):
        raise ArtifactError("not_found", "the path has a NUL byte")
    path = Path(os.path.abspath(path))  # noqa: PTH100 - lexical, so that links stay links
    with about(path):
        _check_path(path)
        model = registry.models.get(base)
        files, facts = _checked_mlx(path, model) if path.is_dir() else _checked_gguf(path, model)
    with about(files[0]):
        size_bytes, mtime_ns = size_and_time(files)
    draft = AdapterDraft(
        name=name or _name_for(path, facts),
        format=facts.format,
        path=str(path),
        files=tuple(map(str, files)),
        size_bytes=size_bytes,
        mtime_ns=mtime_ns,
        scale=scale,
        facts=facts,
    )
    return registry.adapters.put(model.name, draft)


def remove_adapter(
    registry: Registry, base: str, name: str, *, engine: EngineKind | None = None, is_deleting_files: bool = False
) -> tuple[Adapter, ...]:
    """Forget an adapter of a model, and delete its files only where that is asked for.

    The row goes first: whatever happens then, files that are left are files that nothing names, as before.

    Args:
        engine: Only the one for this engine; None = for both.
        is_deleting_files: Also delete its files. One that is registered for another model too stays.

    Raises:
        AdapterNotFoundError: The model has no such adapter.
        ArtifactError: A file cannot be deleted; the adapter is forgotten all the same.
    """
    forgotten = registry.adapters.remove(base, name, engine)
    if is_deleting_files:
        needed = {adapter.path for model in registry.models.list() for adapter in model.adapters}
        for adapter in forgotten:
            if adapter.path not in needed:
                _delete(adapter)
    return forgotten


def _check_path(path: Path) -> None:
    if not path.exists():
        raise ArtifactError("not_found", "there is no such file or folder")
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError as exc:
        raise ArtifactError("bad_path", "its path is not UTF-8 text; rename it") from exc


def _checked_gguf(path: Path, model: Model) -> tuple[tuple[Path, ...], AdapterFacts]:
    lora = read_gguf_lora(path)
    check_gguf_base(lora, _base_of(model, ArtifactFormat.GGUF).files, model.name)
    return (path,), lora.facts


def _checked_mlx(folder: Path, model: Model) -> tuple[tuple[Path, ...], AdapterFacts]:
    lora = read_mlx_lora(folder)
    check_mlx_base(lora, Path(_base_of(model, ArtifactFormat.MLX).path), model.name)
    return (folder / CONFIG_NAME, folder / WEIGHTS_NAME), lora.facts


def _base_of(model: Model, kind: ArtifactFormat) -> Artifact:
    engine = ENGINE_OF_FORMAT[kind]
    artifact = model.artifact_for(engine)
    if artifact is None:
        raise ArtifactError(
            "adapter_without_base",
            f"this is an adapter for {engine}, and {model.name} has no {kind.value} artifact that it could change; "
            f"`mlxr models add PATH --name {model.name}` adds one",
        )
    if artifact.status != "ok":
        raise ArtifactError(
            "adapter_without_base",
            f"it cannot be compared with {model.name}, whose {kind.value} artifact is {artifact.status}: "
            f"{artifact.reason}",
        )
    return artifact


def _name_for(path: Path, facts: AdapterFacts) -> str:
    """Derive a name: of the file or folder, else of the folder around it, else from what a GGUF calls itself."""
    title = facts.title if facts.format is ArtifactFormat.GGUF else None
    for hint in (path.name, path.parent.name, title):
        found = strip_suffixes(hint or "")[:MAX_ADAPTER_CHARS].rstrip("._-")
        if found not in _GENERIC_NAMES:
            return found
    return "adapter"


def _delete(adapter: Adapter) -> None:
    for file in map(Path, adapter.files):
        try:
            file.unlink(missing_ok=True)  # a link goes, never what it leads to
        except OSError as exc:
            reason = f"the file cannot be deleted: {exc.strerror or exc}"
            raise ArtifactError(as_artifact_error(exc, file).code, reason, path=file) from exc
    if adapter.format is ArtifactFormat.MLX:
        remove_folder(Path(adapter.path))
