"""Routes of the OpenAI API: decode, ask for a generation, encode."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from litestar import Request, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp

from registry.catalogue import Model
from router.errors import EngineCrashedError
from router.generation import Generation, GenerationRequest, SequenceEnd
from router.http.asgi import json_reply
from router.http.body import read_json
from router.http.error_response import Dialect
from router.http.streaming import SSE_KEEP_ALIVE, EventStream, error_chunk, until_disconnect
from router.openai.encoding import AnswerHead, StreamEncoder, full_answer
from router.openai.schemas import ChatRequest, CompletionRequest
from router.openai.validation import chat_generation, completion_generation
from router.services import Services

ENGINE_HEADER = "x-mlxr-engine"
_AnyRequest = Request[Any, Any, Any]


@post("/v1/chat/completions", status_code=200)
async def create_chat_completion(request: _AnyRequest, services: NamedDependency[Services]) -> ASGIApp:
    """Answer a conversation, streamed or whole."""
    body = await read_json(request, ChatRequest, limit_bytes=services.config.server.max_body_bytes)
    wish = services.models.wish_for(body.model, request.headers.get(ENGINE_HEADER))
    generation = chat_generation(body, wish, services.config.generation)
    return await _answer(request, services, body, generation, is_chat=True)


@post("/v1/completions", status_code=200)
async def create_completion(request: _AnyRequest, services: NamedDependency[Services]) -> ASGIApp:
    """Continue one text or several, streamed or whole."""
    body = await read_json(request, CompletionRequest, limit_bytes=services.config.server.max_body_bytes)
    wish = services.models.wish_for(body.model, request.headers.get(ENGINE_HEADER))
    generation = completion_generation(body, wish, services.config.generation)
    return await _answer(request, services, body, generation, is_chat=False)


@get("/v1/models")
async def list_models(services: NamedDependency[Services]) -> ASGIApp:
    """List all models of the registry."""
    models = services.models.list()
    return json_reply({"object": "list", "data": [_model_object(model) for model in models]})


@get("/v1/models/{model_id:path}")
async def get_model(model_id: FromPath[str], services: NamedDependency[Services]) -> ASGIApp:
    """Describe one model; names may contain a slash."""
    return json_reply(_model_object(services.models.get(model_id.removeprefix("/"))))


openai_router = Router(path="/", route_handlers=[create_chat_completion, create_completion, list_models, get_model])


async def _answer(
    request: _AnyRequest,
    services: Services,
    body: ChatRequest | CompletionRequest,
    generation_request: GenerationRequest,
    *,
    is_chat: bool,
) -> ASGIApp:
    generation = Generation(services.supervisor, generation_request)
    head = AnswerHead.new(body.model, is_chat=is_chat)
    services.models.note_use(generation_request.wish.model)
    if not body.stream:
        answer = await until_disconnect(request.receive, _collect(generation, head, len(generation_request.prompts)))
        return json_reply(answer)
    includes_usage = body.stream_options is not None and body.stream_options.include_usage
    encoder = StreamEncoder(head, generation, includes_usage=includes_usage)
    return EventStream(
        _chunks(generation, encoder),
        encode_error=lambda error: error_chunk(error, Dialect.OPENAI),
        keep_alive=SSE_KEEP_ALIVE,
        keep_alive_s=services.config.server.keepalive_s,
        commit_after_s=services.config.server.keepalive_s,
    )


async def _chunks(generation: Generation, encoder: StreamEncoder) -> AsyncIterator[bytes]:
    # Closed here and now when the client goes away between two chunks: the place in the batch is free at once.
    async with contextlib.aclosing(generation.events()) as batches:
        async for events in batches:
            yield encoder.encode(events)
    yield encoder.tail()


async def _collect(generation: Generation, head: AnswerHead, num_sequences: int) -> bytes:
    texts: list[list[str]] = [[] for _ in range(num_sequences)]
    ends: list[SequenceEnd | None] = [None] * num_sequences
    async for events in generation.events():
        for event in events:
            texts[event.index].append(event.text)
            if event.end is not None:
                ends[event.index] = event.end
    if any(end is None for end in ends):
        raise EngineCrashedError("the engine ended the request without an answer")
    return full_answer(head, generation, ["".join(text) for text in texts], [end for end in ends if end is not None])


def _model_object(model: Model) -> dict[str, Any]:
    return {
        "id": model.name,
        "object": "model",
        "created": int(model.created_at),
        "owned_by": "mlxr",
        "engines": list(model.engines),
        "context_length": max((artifact.facts.context_length or 0 for artifact in model.artifacts), default=0) or None,
        "aliases": list(model.aliases),
    }
