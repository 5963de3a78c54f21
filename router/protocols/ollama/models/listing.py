"""GET /api/tags and /api/ps, POST /api/show: the models that there are, those that are loaded, and one with everything.

Source: Ollama, api/types.go (`ListModelResponse`, `ProcessModelResponse`, `ShowResponse`), server/routes.go
(`PsHandler`, `GetModelInfo`).
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from litestar.types import ASGIApp

from registry.catalogue import Artifact, Model
from registry.facts import ArtifactFormat
from registry.gguf import read_header
from registry.mlx.config import read_chat_template
from router.errors import MissingFieldError, ModelLoadFailedError
from router.http.asgi import json_reply
from router.http.caller import Scope
from router.models.targets import Target, keep_alive_seconds
from router.protocols.abilities import VISION, Abilities, abilities_of, capabilities_of
from router.protocols.answers import AnswerBody
from router.protocols.choice import resident_workers
from router.protocols.fields.json_types import JSONObject
from router.protocols.fields.support import refuse_with_hint
from router.protocols.ollama.api import OLLAMA_API
from router.protocols.ollama.durations import MAX_KEEP_ALIVE_S, timestamp
from router.protocols.ollama.models.answers import ListedModel, ShownMessage, ShowResponse
from router.protocols.ollama.models.details import (
    ModelDetails,
    details_of,
    digest_of,
    gguf_keys,
)
from router.protocols.ollama.models.modelfile import modelfile_of, parameters_of
from router.protocols.ollama.models.remote import listed_remote, shown_remote
from router.protocols.ollama.names import display_name, model_named
from router.protocols.ollama.schemas import ShowRequest
from router.protocols.parts import AnyRequest, ServingPart
from router.protocols.serving import RequestService
from router.workers.residency import ManagedWorker, memory_of

_FOREVER_S: Final = 292 * 365.25 * 86_400
"""What Ollama adds for a model that stays: the longest time that Go can say. Its clients know it as forever."""

_HIDDEN_KEYS: Final = ("general.name", "tokenizer.chat_template")
"""Ollama leaves them out of `model_info`; the template has a field of its own."""

TRAINED_KEY: Final = "mlxr.trained_context_length"
"""Tokens that the model was made for, where `context_length` is what is in force."""

_INFILL_KEYS: Final = ("tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id")


class LoadedModel(msgspec.Struct, frozen=True, kw_only=True):
    """One model of `/api/ps`; `engine` is our own."""

    name: str
    model: str
    size: int
    digest: str
    details: ModelDetails
    expires_at: str
    size_vram: int
    context_length: int
    engine: str


class TagsAnswer(AnswerBody, frozen=True):
    """All models."""

    models: list[ListedModel]


class LoadedAnswer(AnswerBody, frozen=True):
    """The models that are loaded."""

    models: list[LoadedModel]


@OLLAMA_API.get("/api/tags", TagsAnswer, scope=Scope.INFERENCE)
async def list_models(serving: ServingPart) -> ASGIApp:
    """List the models."""
    found = [(abilities_of(serving, model), model) for model in serving.models.list()]
    shown = [(each.artifact, each, model) for each, model in found if each.artifact is not None]
    shown.sort(key=lambda row: -row[0].mtime_ns)
    listed = [
        _listed(artifact, model, display_name(name), abilities)
        for artifact, abilities, model in shown
        for name in (model.name, *model.aliases)
    ]
    offered = [(serving.models.offers.of(model.name), each, model) for each, model in found if each.artifact is None]
    listed += [
        listed_remote(model, display_name(model.name), offers, each) for offers, each, model in offered if offers
    ]
    return json_reply(TagsAnswer(listed))


@OLLAMA_API.get("/api/ps", LoadedAnswer, scope=Scope.INFERENCE)
async def list_loaded(serving: ServingPart) -> ASGIApp:
    """List the models that are loaded."""
    sizes = await memory_of(serving.supervisor.workers)  # workers may go meanwhile: who is there is asked afterwards
    by_target: dict[Target, list[ManagedWorker]] = {}
    for worker in resident_workers(serving):
        assert worker.target is not None
        by_target.setdefault(worker.target, []).append(worker)
    loaded = [_loaded(serving, target, workers, sizes) for target, workers in by_target.items()]
    return json_reply(LoadedAnswer([each for each in loaded if each is not None]))


def _listed(artifact: Artifact, model: Model, name: str, abilities: Abilities) -> ListedModel:
    return ListedModel(
        name=name,
        model=name,
        modified_at=timestamp(artifact.mtime_ns),
        size=_num_bytes(artifact),
        digest=digest_of(model, artifact),
        details=details_of(artifact.facts, abilities.context_length),
        capabilities=list(abilities.can),
    )


def _num_bytes(artifact: Artifact) -> int:
    """Return what all of a model's files have; Ollama counts its layers, the projector among them."""
    if artifact.mmproj_path is None or artifact.vision is None:
        return artifact.size_bytes
    return artifact.size_bytes + artifact.vision.size_bytes


def _loaded(
    serving: RequestService, target: Target, workers: list[ManagedWorker], sizes: dict[int, int]
) -> LoadedModel | None:
    artifact = serving.models.artifact_of(target)
    models = [worker.client.loaded for worker in workers if worker.client is not None and worker.client.loaded]
    if artifact is None or not models:
        return None
    name = display_name(target.model)
    size = sum(sizes.get(worker.worker_id, 0) for worker in workers) or _num_bytes(artifact)
    is_on_cpu = all(device.upper().startswith("CPU") for model in models for device in model.devices)
    return LoadedModel(
        name=name,
        model=name,
        size=size,
        digest=digest_of(serving.models.get(target.model), artifact),
        details=details_of(artifact.facts, models[0].context_length),
        expires_at=_expires_at(serving, workers),
        size_vram=0 if is_on_cpu else size,
        context_length=models[0].context_length,
        engine=str(target.engine),
    )


def _expires_at(serving: RequestService, workers: list[ManagedWorker]) -> str:
    """Return when a model goes: for one that is used, as if it were not from now on."""
    now = time.monotonic()
    expires_at = serving.supervisor.expires_at(workers[0])
    if expires_at is None:
        last = max(workers, key=lambda worker: worker.use.used_at)
        by_config = keep_alive_seconds(serving.config.limits.keep_alive_s)
        wish_s = by_config if last.use.keep_alive_s is None else last.use.keep_alive_s
        expires_at = now + (_FOREVER_S if wish_s is None or wish_s > MAX_KEEP_ALIVE_S else wish_s)
    return timestamp(time.time_ns() + round((expires_at - now) * 1e9))


class FileInfo(msgspec.Struct, frozen=True):
    """What is read anew from the files of an artifact.

    Attributes:
        template: Jinja text, or None.
    """

    keys: JSONObject
    template: str | None


@OLLAMA_API.post("/api/show", ShowResponse, body=ShowRequest, scope=Scope.INFERENCE)
async def show_model(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Describe a model."""
    body = await serving.read(request, ShowRequest)
    reference = body.model or body.name
    if not reference:
        raise MissingFieldError("model is required", "model")
    refuse_with_hint(body)
    model = model_named(serving.models, reference)
    abilities = abilities_of(serving, model)
    artifact = abilities.artifact
    if artifact is None and (offers := serving.models.offers.of(model.name)):
        return json_reply(shown_remote(model, offers, abilities))
    if artifact is None:
        raise ModelLoadFailedError(f"the model '{model.name}' has no files that can be used; see `mlxr models show`")
    # A header has megabytes of vocabulary to step over.
    info = await asyncio.to_thread(file_info, artifact)
    recommended = serving.models.recommended_for(model)
    can_see = VISION in abilities.can
    return json_reply(shown(model, artifact, info, recommended, abilities.context_length, can_see=can_see))


def file_info(artifact: Artifact) -> FileInfo:
    """Read what only the files say.

    Raises:
        RegistryError: They cannot be read any more.
    """
    if artifact.format is ArtifactFormat.MLX:
        return FileInfo(gguf_keys(artifact.facts), read_chat_template(artifact.path))
    header = read_header(artifact.path)
    own = {key: value for key, value in header.metadata.items() if key not in _HIDDEN_KEYS}
    return FileInfo(gguf_keys(artifact.facts) | own, header.chat_template)


def shown(
    model: Model,
    artifact: Artifact,
    info: FileInfo,
    recommended: Mapping[str, Any] | None = None,
    context_length: int | None = None,
    *,
    can_see: bool = False,
) -> ShowResponse:
    """Return the answer.

    Args:
        recommended: What counts of the makers' recommendation. No line of the Modelfile: its file says it by itself.
        context_length: In force, tokens, into which clients fit their conversations; None = that of the files.
        can_see: Whether it is shown pictures.
    """
    settings, trained = model.settings, artifact.facts.context_length
    keys = info.keys
    if context_length is not None and trained is not None:
        family = artifact.facts.architecture or "unknown"
        keys = keys | {f"{family}.context_length": context_length, TRAINED_KEY: trained}
    in_force = msgspec.structs.replace(settings, **recommended or {})
    can_infill = any(key in info.keys for key in _INFILL_KEYS)
    return ShowResponse(
        license=settings.license or artifact.facts.provenance.license or "",
        modelfile=modelfile_of(model, artifact),
        parameters="\n".join(f"{name:<30} {value}" for name, value in parameters_of(in_force)),
        template=settings.template or info.template or "",
        system=settings.system or "",
        details=details_of(artifact.facts, context_length),
        messages=[ShownMessage(message.role, message.content) for message in settings.messages or ()],
        model_info=keys,
        projector_info=dict(artifact.vision.metadata) if can_see and artifact.vision is not None else {},
        capabilities=capabilities_of(model, artifact.facts, can_see=can_see, can_infill=can_infill),
        modified_at=timestamp(artifact.mtime_ns),
    )
