"""Routes of Ollama's API for inference: decode, ask for a generation, encode. Routes about models: `models`."""

from typing import Final

from litestar.types import ASGIApp

from router.http.asgi import BytesResponse, json_reply
from router.http.streaming import NDJSON
from router.models.targets import Purpose
from router.protocols.endpoint import TEXT, Answer, Stream
from router.protocols.fields.support import decode_body
from router.protocols.ollama import answer_schemas as answers
from router.protocols.ollama.api import OLLAMA_API, OLLAMA_ERRORS
from router.protocols.ollama.embeddings import embed, embed_one
from router.protocols.ollama.encoding import OllamaHead
from router.protocols.ollama.loading import reply_to_empty
from router.protocols.ollama.models.routes import MODEL_ROUTES
from router.protocols.ollama.request import ollama_answering
from router.protocols.ollama.requested_model import requested_model
from router.protocols.ollama.schemas import ChatRequest, GenerateRequest
from router.protocols.parts import AnyRequest, ServerPart, ServingPart
from router.protocols.serving import RequestService

API_VERSION: Final = "0.33.0"
"""Of Ollama's API that is spoken here: clients ask for a version to know what they may send."""


@(OLLAMA_API.get("/", answers={200: Answer((str,), TEXT)}) | OLLAMA_API.head("/"))
async def say_hello() -> ASGIApp:
    """Tell that the API is there."""
    return BytesResponse(b"Ollama is running", headers=[(b"content-type", b"text/plain; charset=utf-8")])


@OLLAMA_API.get("/api/version", answers.Version)
async def get_version(server: ServerPart) -> ASGIApp:
    """Tell the version of the API."""
    return json_reply(answers.Version(API_VERSION, server.version))


@OLLAMA_API.inference("/api/chat", answers.ChatLine, body=ChatRequest, stream=Stream(NDJSON, (answers.ChatLine,)))
async def chat(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Answer a conversation; without messages, load or unload the model."""
    return await _serve(request, serving, ChatRequest)


@OLLAMA_API.inference(
    "/api/generate", answers.GenerateLine, body=GenerateRequest, stream=Stream(NDJSON, (answers.GenerateLine,))
)
async def generate(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Continue a text, or answer it; without one, load or unload the model."""
    return await _serve(request, serving, GenerateRequest)


ROUTES: Final = (say_hello, get_version, chat, generate, embed, embed_one, *MODEL_ROUTES)


async def _serve(request: AnyRequest, serving: RequestService, schema: type[ChatRequest | GenerateRequest]) -> ASGIApp:
    arrival = await serving.arrive(request)
    body = decode_body(arrival.raw, schema)
    asked = requested_model(serving, arrival, body, Purpose.GENERATE)
    answer_head = OllamaHead(model=body.model, is_chat=isinstance(body, ChatRequest))
    if not (body.messages if isinstance(body, ChatRequest) else body.prompt or body.suffix):
        return await reply_to_empty(serving, arrival, asked, answer_head, is_stream=body.stream is not False)
    running = serving.start_or_rejoin(arrival, lambda: ollama_answering(body, asked, arrival, answer_head))
    return await serving.reply(arrival, running, dialect=OLLAMA_ERRORS)
