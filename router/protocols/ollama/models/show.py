"""POST /api/show: everything about one model, from its files' headers and its settings.

Source: Ollama, api/types.go (`ShowResponse`), server/routes.go (`GetModelInfo`).
"""

import asyncio
from typing import Final

import msgspec
from litestar.types import ASGIApp

from registry.catalogue import Artifact, Model
from registry.facts import ArtifactFormat
from registry.gguf import read_header
from registry.mlx.config import read_chat_template
from router.errors import MissingFieldError, ModelLoadFailedError
from router.http.asgi import json_reply
from router.protocols.fields.json_types import JSONObject
from router.protocols.fields.support import refuse_with_hint
from router.protocols.ollama.api import OLLAMA_API
from router.protocols.ollama.durations import timestamp
from router.protocols.ollama.models.details import ModelDetails, capabilities_of, details_of, gguf_keys
from router.protocols.ollama.models.listing import shown_artifact
from router.protocols.ollama.models.modelfile import modelfile_of, parameters_of
from router.protocols.ollama.names import model_named
from router.protocols.ollama.schemas import ShowRequest
from router.protocols.parts import AnyRequest, ServingPart

_HIDDEN_KEYS: Final = ("general.name", "tokenizer.chat_template")
"""Ollama leaves them out of `model_info`; the template has a field of its own."""

_INFILL_KEYS: Final = ("tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id")


class FileInfo(msgspec.Struct, frozen=True):
    """What is read anew from the files of an artifact.

    Attributes:
        template: Jinja text, or None.
    """

    keys: JSONObject
    template: str | None


class ShownMessage(msgspec.Struct, frozen=True):
    """One message of a model's preset conversation."""

    role: str
    content: str


class ShowResponse(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer; texts that there are none of are left out."""

    license: str = ""
    modelfile: str
    parameters: str = ""
    template: str = ""
    system: str = ""
    details: ModelDetails
    messages: list[ShownMessage] = []
    model_info: JSONObject
    capabilities: list[str]
    modified_at: str


@OLLAMA_API.post("/api/show", ShowResponse, body=ShowRequest)
async def show_model(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Describe a model."""
    body = await serving.read(request, ShowRequest)
    reference = body.model or body.name
    if not reference:
        raise MissingFieldError("model is required", "model")
    refuse_with_hint(body)
    model = model_named(serving.models, reference)
    artifact = shown_artifact(serving.models, model)
    if artifact is None:
        raise ModelLoadFailedError(f"the model '{model.name}' has no files that can be used; see `mlxr models show`")
    # A header has megabytes of vocabulary to step over.
    info = await asyncio.to_thread(file_info, artifact)
    return json_reply(shown(model, artifact, info))


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


def shown(model: Model, artifact: Artifact, info: FileInfo) -> ShowResponse:
    """Return the answer."""
    settings = model.settings
    can_infill = any(key in info.keys for key in _INFILL_KEYS)
    return ShowResponse(
        license=settings.license or artifact.facts.provenance.license or "",
        modelfile=modelfile_of(model, artifact),
        parameters="\n".join(f"{name:<30} {value}" for name, value in parameters_of(settings)),
        template=settings.template or info.template or "",
        system=settings.system or "",
        details=details_of(artifact.facts),
        messages=[ShownMessage(message.role, message.content) for message in settings.messages or ()],
        model_info=info.keys,
        capabilities=capabilities_of(model, artifact.facts, can_infill=can_infill),
        modified_at=timestamp(artifact.mtime_ns),
    )
