"""Routes of Ollama's API for inference: chats, texts, and vectors. Routes about models: `models`.

A request without a prompt generates nothing: it loads its model, or unloads it where it is not to be kept at all.

Source: Ollama, docs/api.md, "Load a model" and "Unload a model"; "Generate Embeddings": "truncate: truncates the end of
each input to fit within context length. Returns error if false and context length is exceeded. Defaults to true";
server/routes.go (`GenerateHandler`, `ChatHandler`; `EmbedHandler` for `dimensions`, which cuts a vector and brings it
to the length 1 again).
"""

import secrets
import time
from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Final

import msgspec
from litestar.types import ASGIApp

from router.http.asgi import BytesResponse, json_reply
from router.http.caller import Scope
from router.http.headers import REQUEST_ID_HEADER
from router.http.page import PAGE_PATH, is_navigation
from router.http.streaming import NDJSON, EventStream, until_disconnect
from router.models.targets import Purpose
from router.protocols.answers import told_of_engine
from router.protocols.endpoint import TEXT, Answer, Stream
from router.protocols.fields.mlxr import wished_side
from router.protocols.fields.support import decode_body
from router.protocols.fields.vectors import encoded, numbers_of, shortened
from router.protocols.ollama import answer_schemas as answers
from router.protocols.ollama.api import OLLAMA_API, OLLAMA_ERRORS
from router.protocols.ollama.durations import nanoseconds
from router.protocols.ollama.encoding import OllamaHead
from router.protocols.ollama.images import sent_images
from router.protocols.ollama.models.routes import MODEL_ROUTES
from router.protocols.ollama.request import ollama_answering
from router.protocols.ollama.requested_model import RequestedModel, requested_model
from router.protocols.ollama.schemas import ChatRequest, EmbeddingsRequest, EmbedRequest, GenerateRequest
from router.protocols.parts import AnyRequest, ServerPart, ServingPart
from router.protocols.serving import Answering, Arrival, RequestService
from router.requests.embedding import Embeddings, EmbeddingWanted

API_VERSION: Final = "0.33.0"
"""Of Ollama's API that is spoken here: clients ask for a version to know what they may send."""


@(
    OLLAMA_API.get("/", answers={200: Answer((str,), TEXT)}, scope=Scope.PUBLIC)
    | OLLAMA_API.head("/", scope=Scope.PUBLIC)
)
async def say_hello(request: AnyRequest) -> ASGIApp:
    """Tell that the API is there; a browser's user is sent to the page."""
    if is_navigation(request.headers):
        headers = [(b"location", f"{PAGE_PATH}/".encode()), (b"vary", b"Accept, Sec-Fetch-Mode")]
        return BytesResponse(status=HTTPStatus.FOUND, headers=headers)
    return BytesResponse(b"Ollama is running", headers=[(b"content-type", b"text/plain; charset=utf-8")])


@OLLAMA_API.get("/api/version", answers.Version, scope=Scope.PUBLIC)
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


@OLLAMA_API.inference("/api/embed", answers.EmbedAnswer, body=EmbedRequest, use="embed")
async def embed(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Embed texts."""
    started_at = time.monotonic()
    arrival = await serving.arrive(request)
    body = decode_body(arrival.raw, EmbedRequest)
    asked = requested_model(serving, arrival, body, Purpose.EMBED)
    inputs = [body.input] if isinstance(body.input, str) else list(body.input or [])
    if not inputs or not body.input:
        await until_disconnect(request.receive, _load_or_unload(serving, asked))
        return json_reply(answers.EmbedAnswer(model=body.model, embeddings=[]))
    result, headers = await _vectors(serving, arrival, asked, inputs, truncates=body.truncate is not False)
    size = body.dimensions

    def shown(_: int, vector: bytes) -> list[float]:
        return shortened(numbers_of(vector), size) if size else numbers_of(vector)

    answer = answers.EmbedAnswer(
        model=body.model,
        embeddings=await encoded(result.vectors, shown),
        total_duration=nanoseconds((time.monotonic() - started_at) * 1000),
        load_duration=max(1, nanoseconds(result.queue_ms + result.load_ms)),
        prompt_eval_count=result.num_tokens,
        mlxr=told_of_engine(result.choice, result.worker),
    )
    return json_reply(answer, headers=headers)


@OLLAMA_API.inference("/api/embeddings", answers.EmbeddingAnswer, body=EmbeddingsRequest, use="embed")
async def embed_one(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Embed one text."""
    arrival = await serving.arrive(request)
    body = decode_body(arrival.raw, EmbeddingsRequest)
    asked = requested_model(serving, arrival, body, Purpose.EMBED)
    if not body.prompt:
        await until_disconnect(request.receive, _load_or_unload(serving, asked))
        return json_reply(answers.EmbeddingAnswer([]))
    result, headers = await _vectors(serving, arrival, asked, [body.prompt], truncates=False, param="prompt")
    return json_reply(answers.EmbeddingAnswer(numbers_of(result.vectors[0])), headers=headers)


async def _serve(request: AnyRequest, serving: RequestService, schema: type[ChatRequest | GenerateRequest]) -> ASGIApp:
    arrival = await serving.arrive(request)
    body = decode_body(arrival.raw, schema)
    asked = requested_model(serving, arrival, body, Purpose.GENERATE)
    answer_head = OllamaHead(model=asked.model_request.named_as(body.model), is_chat=isinstance(body, ChatRequest))
    if not (body.messages if isinstance(body, ChatRequest) else body.prompt or body.suffix or body.images):
        return await _reply_to_empty(serving, arrival, asked, answer_head, is_stream=body.stream is not False)

    async def answering() -> Answering:
        wish = wished_side(arrival.headers, body.mlxr)
        model_request, images = await serving.images.read(asked.model_request, sent_images(body), wish)
        if model_request is asked.model_request:
            return ollama_answering(body, asked, arrival, answer_head, images)
        model = requested_model(serving, arrival, body, Purpose.GENERATE, model_request)
        head = answer_head if images.stand_in is None else msgspec.structs.replace(answer_head, model=images.stand_in)
        return ollama_answering(body, model, arrival, head, images)

    running = await serving.start_or_rejoin(arrival, answering)
    return await serving.reply(arrival, running, dialect=OLLAMA_ERRORS)


async def _vectors(
    serving: RequestService,
    arrival: Arrival,
    asked: RequestedModel,
    inputs: list[str],
    *,
    truncates: bool,
    param: str = "input",
) -> tuple[Embeddings, list[tuple[bytes, bytes]]]:
    wanted = EmbeddingWanted(
        model_request=asked.model_request,
        inputs=[*inputs],
        priority=asked.priority,
        input_param=param,
        truncates=truncates,
    )
    answer_id = "ollama-" + secrets.token_hex(12)
    result = await serving.embeddings(arrival, wanted, answer_id=answer_id, protocol="ollama")
    return result, [(REQUEST_ID_HEADER, answer_id.encode())]


async def _load_or_unload(serving: RequestService, model: RequestedModel) -> answers.DoneReason:
    """Load a model for the time that the request says, or unload it when its running answers are done; return which."""
    if model.model_request.keep_alive_s == 0:
        await serving.supervisor.stop_model(model.model_request.model)
        return "unload"
    serving.models.note_use(model.model_request.model)
    # No place in the batch: nothing is to be computed.
    lease = await serving.supervisor.lease(model.model_request, 0, model.priority)
    lease.release()
    return "load"


async def _reply_to_empty(
    serving: RequestService, arrival: Arrival, model: RequestedModel, head: OllamaHead, *, is_stream: bool
) -> ASGIApp:
    """Answer a request without a prompt; a stream is kept alive during the load."""
    headers = [(REQUEST_ID_HEADER, head.answer_id.encode())]
    if not is_stream:
        reason = await until_disconnect(arrival.request.receive, _load_or_unload(serving, model))
        return json_reply(_empty_body(head, reason), headers=headers)
    return EventStream(
        _empty_lines(serving, model, head),
        dialect=OLLAMA_ERRORS,
        media_type=NDJSON,
        headers=headers,
        keep_alive=msgspec.json.encode(head.line()) + b"\n",
        keep_alive_s=serving.config.server.keepalive_s,
    )


async def _empty_lines(serving: RequestService, model: RequestedModel, head: OllamaHead) -> AsyncGenerator[bytes, None]:
    yield _empty_body(head, await _load_or_unload(serving, model)) + b"\n"


def _empty_body(head: OllamaHead, reason: answers.DoneReason) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(head.line(), done=True, done_reason=reason))


ROUTES: Final = (say_hello, get_version, chat, generate, embed, embed_one, *MODEL_ROUTES)
