"""What a name of an Ollama registry means as a pull: a GGUF file, perhaps a projector, a name, and settings.

The settings are made of the small layers.

Templates are left where they are: they are written in Go's template language, and the GGUF file brings its own. Not
here: fetching the weights.
"""

import re
from pathlib import Path
from typing import Any, Final

import msgspec

from registry.engines import EngineKind
from registry.errors import HubAnswerError, InvalidSettingError, NothingToPullError, PullConflictError
from registry.facts import ArtifactFormat
from registry.hub.ollama.client import OllamaRegistry
from registry.hub.ollama.manifest import (
    LICENSE_LAYER,
    MESSAGES_LAYER,
    PARAMETERS_LAYER,
    SYSTEM_LAYER,
    RemoteManifest,
    sha256_of,
)
from registry.hub.ollama.parameters import settings_of_parameters
from registry.hub.references import OllamaReference
from registry.names import parse_shard_name
from registry.places.ollama import Layer
from registry.pull.folder import PullFolder
from registry.pull_record import PlannedFile, PlannedPart, PullOptions, PullPlan
from registry.settings import MAX_TEXT_BYTES, ModelSettings, check_settings
from registry.store import Registry
from registry.threads import in_thread

FOLDER: Final = "ollama"
"""Below the models folder."""

_UNSAFE: Final = re.compile(r"[^a-z0-9_.-]")


async def plan_ollama(
    text: str,
    reference: OllamaReference,
    source: OllamaRegistry,
    folder: PullFolder,
    database: Path,
    options: PullOptions,
) -> PullPlan:
    """Find out what the pull of a name would do.

    Returns:
        The plan; without parts when the model is here already, from elsewhere.

    Raises:
        NothingToPullError: It has no projector, and one is demanded.
        PullConflictError: Another model has the name.
    """
    manifest = await source.manifest(reference)
    settings, notes = await _settings(reference, manifest, source)
    if options.vision and manifest.projector is None:
        raise NothingToPullError(f"{reference.name} has no vision projector; leave out --vision.")
    projector = None if options.vision is False else manifest.projector
    part = _part(reference, manifest.model, projector, source)
    wanted = options.name or reference.name
    target = folder.target(part, part.files[0])
    is_here = await in_thread(lambda: _is_here(database, wanted, manifest.model, target))
    if is_here:
        notes.append(f"{wanted} is here already, with the same bytes.")
    return PullPlan(
        reference=text,
        parts=() if is_here else (part,),
        name=wanted,
        settings=msgspec.convert(settings, ModelSettings),
        notes=tuple(notes),
    )


def _part(reference: OllamaReference, model: Layer, projector: Layer | None, source: OllamaRegistry) -> PlannedPart:
    parts = [_UNSAFE.sub("-", item.lower()) for item in (reference.namespace, reference.model, reference.tag)]
    file_name = f"{parts[1]}-{parts[2]}.gguf"
    path = "model.gguf" if parse_shard_name(file_name) is not None else file_name
    named = [(path, model), *([(f"mmproj-{path}", projector)] if projector is not None else [])]
    return PlannedPart(
        format=ArtifactFormat.GGUF,
        repo=reference.repository,
        commit=None,
        folder="/".join((FOLDER, *parts)),
        files=tuple(
            PlannedFile(
                url=source.blob_url(reference, layer), path=name, size_bytes=layer.size, sha256=sha256_of(layer)
            )
            for name, layer in named
        ),
        has_projector=projector is not None,
    )


def _is_here(database: Path, name: str, layer: Layer, target: Path) -> bool:
    """Tell whether the name stands for these very bytes in a place of their own, such as Ollama's store."""
    if not database.exists():
        return False
    with Registry(database) as registry:
        model = registry.models.find_exactly(name)
    artifact = None if model is None else model.artifact_for(EngineKind.LLAMACPP)
    if model is None or artifact is None or (model.name == name and artifact.path == str(target)):
        return False
    if artifact.sha256 == sha256_of(layer) and artifact.status == "ok":
        return True
    way_out = (
        f"`mlxr models alias {model.name} {name} --remove` frees it"
        if model.name != name
        else f"`mlxr models rm {model.name}` takes it off"
    )
    raise PullConflictError(
        f"The name {name} is taken by other bytes than the registry has: {artifact.path}. {way_out}; a model "
        "in Ollama's own store is brought up to date by Ollama."
    )


async def _settings(
    reference: OllamaReference, manifest: RemoteManifest, source: OllamaRegistry
) -> tuple[dict[str, Any], list[str]]:
    """Read the small layers. What cannot be honoured is told, and does not keep the weights from coming."""
    settings: dict[str, Any] = {}
    notes: list[str] = []
    for layer in manifest.texts:
        if layer.size > MAX_TEXT_BYTES:
            notes.append(f"A {layer.media_type} of {layer.size} bytes is left out; {MAX_TEXT_BYTES} do.")
            continue
        body = await source.layer(reference, layer, limit_bytes=MAX_TEXT_BYTES)
        try:
            _add(settings, notes, layer.media_type, body)
        except InvalidSettingError as exc:
            notes.append(f"Left out: {exc}")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise HubAnswerError(f"{reference.name}: its {layer.media_type} cannot be read: {str(exc)[:200]}.") from exc
    return settings, notes


def _add(settings: dict[str, Any], notes: list[str], kind: str, body: bytes) -> None:
    if kind == PARAMETERS_LAYER:
        read = settings_of_parameters(msgspec.json.decode(body, type=dict[str, Any]))
        settings |= read.settings
        notes += [f"Left out: {problem}" for problem in read.problems.values()]
    elif kind == MESSAGES_LAYER:
        messages = msgspec.json.decode(body, type=list[dict[str, Any]])
        plain = [{key: item.get(key) for key in ("role", "content")} for item in messages]
        settings |= check_settings({"messages": plain})
    elif kind == SYSTEM_LAYER and body.strip():
        settings |= check_settings({"system": body.decode()})
    elif kind == LICENSE_LAYER and body.strip():
        texts = [*filter(None, [settings.get("license")]), body.decode()]
        settings |= check_settings({"license": "\n\n".join(texts)})
