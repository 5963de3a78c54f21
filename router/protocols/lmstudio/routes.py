"""Routes of LM Studio's REST API v0, which Zed and others ask for what a model's context holds.

Its endpoints that generate are OpenAI's by another path. Source: LM Studio, "REST API v0"; `loaded_context_length` and
`capabilities` are there since 0.3.16.
"""

from typing import Final, Literal

from litestar.params import FromPath
from litestar.types import ASGIApp
from msgspec import UNSET, UnsetType

from registry.catalogue import Model
from registry.engines import EngineKind
from router.http.asgi import json_reply
from router.http.caller import Scope
from router.http.streaming import SSE
from router.protocols.abilities import VISION, abilities_of
from router.protocols.answers import AnswerBody
from router.protocols.endpoint import Api, Stream
from router.protocols.openai.answer_schemas import ChatChunk, ChatCompletion, TextChunk, TextCompletion
from router.protocols.openai.api import OPENAI_API
from router.protocols.openai.progress import PrefillProgress
from router.protocols.openai.routes import serve_completion
from router.protocols.openai.schemas import ChatRequest, CompletionRequest
from router.protocols.parts import AnyRequest, ServingPart
from router.protocols.serving import RequestService

LMSTUDIO_API: Final = Api("lmstudio", "LM Studio's list of models.", prefixes=("/api/v0",))


class ListedModel(AnswerBody, frozen=True, kw_only=True):
    """A model. Lengths are tokens: what a load takes, and what the present one does."""

    id: str
    object: Literal["model"]
    type: Literal["llm", "vlm", "embeddings"]
    publisher: str
    arch: str
    compatibility_type: Literal["gguf", "mlx"]
    quantization: str
    state: Literal["loaded", "not-loaded"]
    max_context_length: int
    loaded_context_length: int | UnsetType = UNSET
    capabilities: list[Literal["tool_use"]] | UnsetType = UNSET


class ListedModels(AnswerBody, frozen=True, tag_field="object", tag="list"):
    """All models."""

    data: list[ListedModel]


@LMSTUDIO_API.get("/api/v0/models", ListedModels, scope=Scope.INFERENCE)
async def list_models(serving: ServingPart) -> ASGIApp:
    """List the models, with what their contexts hold."""
    return json_reply(ListedModels([_listed(serving, model) for model in serving.models.list()]))


@LMSTUDIO_API.get("/api/v0/models/{model_id:path}", ListedModel, scope=Scope.INFERENCE)
async def get_model(model_id: FromPath[str], serving: ServingPart) -> ASGIApp:
    """Describe a model, with what its context holds."""
    return json_reply(_listed(serving, serving.models.named(model_id.removeprefix("/"))))


@OPENAI_API.inference(
    "/api/v0/chat/completions", ChatCompletion, body=ChatRequest, stream=Stream(SSE, (ChatChunk, PrefillProgress))
)
async def create_chat_completion(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Answer a conversation, as POST /v1/chat/completions does."""
    return await serve_completion(request, serving, ChatRequest)


@OPENAI_API.inference(
    "/api/v0/completions", TextCompletion, body=CompletionRequest, stream=Stream(SSE, (TextChunk, PrefillProgress))
)
async def create_completion(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Continue texts, as POST /v1/completions does."""
    return await serve_completion(request, serving, CompletionRequest)


def _listed(serving: RequestService, model: Model) -> ListedModel:
    found = abilities_of(serving, model)
    facts = None if found.artifact is None else found.artifact.facts
    is_embedding = not {"embedding", "rerank"}.isdisjoint(found.can)
    engine = EngineKind.LLAMACPP if found.artifact is None else found.artifact.engine
    return ListedModel(
        id=model.name,
        object="model",
        type="embeddings" if is_embedding else "vlm" if VISION in found.can else "llm",
        publisher=(None if facts is None else facts.provenance.organization) or "mlxr",
        arch=(None if facts is None else facts.architecture) or "unknown",
        compatibility_type="gguf" if engine is EngineKind.LLAMACPP else "mlx",
        quantization="unknown" if facts is None or facts.quantization is None else facts.quantization.label,
        state="not-loaded" if found.loaded_length is None else "loaded",
        # Clients fill what they are told: not what the model was made for, but what it is loaded with.
        max_context_length=found.context_length or 0,
        loaded_context_length=UNSET if found.loaded_length is None else found.loaded_length,
        capabilities=["tool_use"] if "tools" in found.can else UNSET,
    )


ROUTES: Final = (list_models, get_model, create_chat_completion, create_completion)
