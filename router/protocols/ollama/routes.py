"""Routes of Ollama's API for inference: decode, ask for a generation, encode. The other routes are in `management`."""

from typing import Any, Final

from litestar import HttpMethod, Request, Router, get, post, route
from litestar.di import NamedDependency
from litestar.types import ASGIApp

from router.http.asgi import BytesResponse, json_reply
from router.http.error_response import Dialect
from router.models.targets import Purpose
from router.protocols.fields.support import decode_body
from router.protocols.ollama.answer_schemas import Version
from router.protocols.ollama.answering import ollama_answering
from router.protocols.ollama.asked import asked_model
from router.protocols.ollama.embeddings import embed, embed_one
from router.protocols.ollama.encoding import OllamaHead
from router.protocols.ollama.loading import reply_to_empty
from router.protocols.ollama.models.listing import list_loaded, list_models
from router.protocols.ollama.models.show import show_model
from router.protocols.ollama.schemas import ChatRequest, GenerateRequest
from router.protocols.serving import arrive, reply, start_or_rejoin
from router.services import Services

_AnyRequest = Request[Any, Any, Any]

API_VERSION: Final = "0.33.0"
"""Of Ollama's API that is spoken here: clients ask for a version to know what they may send."""

_RUNNING: Final = b"Ollama is running"


@route("/", http_method=[HttpMethod.GET, HttpMethod.HEAD], sync_to_thread=False)
def say_hello() -> ASGIApp:
    """Tell clients that look whether Ollama is there that its API is; to HEAD the server gives no body."""
    return BytesResponse(_RUNNING, status=200, headers=[(b"content-type", b"text/plain; charset=utf-8")])


@get("/api/version")
async def get_version(services: NamedDependency[Services]) -> ASGIApp:
    """Tell the version of Ollama's API, and our own."""
    return json_reply(Version(API_VERSION, services.version))


@post("/api/chat", status_code=200)
async def chat(request: _AnyRequest, services: NamedDependency[Services]) -> ASGIApp:
    """Answer a conversation; without messages, load or unload the model."""
    return await _serve(request, services, ChatRequest)


@post("/api/generate", status_code=200)
async def generate(request: _AnyRequest, services: NamedDependency[Services]) -> ASGIApp:
    """Answer a text, or continue it; without one, load or unload the model."""
    return await _serve(request, services, GenerateRequest)


ollama_router = Router(
    path="/",
    route_handlers=[
        say_hello,
        get_version,
        chat,
        generate,
        embed,
        embed_one,
        list_models,
        list_loaded,
        show_model,
    ],
)


async def _serve(request: _AnyRequest, services: Services, schema: type[ChatRequest | GenerateRequest]) -> ASGIApp:
    arrival = await arrive(request, services)
    body = decode_body(arrival.raw, schema)
    asked = asked_model(services, arrival, body, Purpose.GENERATE)
    answer_head = OllamaHead.new(body.model, is_chat=isinstance(body, ChatRequest))
    if not (body.messages if isinstance(body, ChatRequest) else body.prompt or body.suffix):
        return await reply_to_empty(services, arrival, asked, answer_head, is_stream=body.stream is not False)
    running = start_or_rejoin(services, arrival, lambda: ollama_answering(body, asked, arrival, answer_head))
    return await reply(services, arrival, running, Dialect.OLLAMA)
