"""Routes of the OpenAI API: decode, ask for a generation, encode."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, TypeVar

from litestar import Request, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp

from backends.prompts import TextPrompt
from registry.catalogue import Model
from router.capabilities import CHAT, COMPLETIONS
from router.errors import EngineCrashedError, InvalidRequestError
from router.generation import Generation, GenerationRequest, OutputEvent
from router.http.asgi import json_reply
from router.http.body import read_json
from router.http.error_response import Dialect
from router.http.streaming import SSE_KEEP_ALIVE, EventStream, error_chunk, until_disconnect
from router.openai.answer import AnswerHead, ChoiceParts, full_answer
from router.openai.encoding import StreamEncoder, StreamWishes
from router.openai.progress import PROGRESS_HEADER, PrefillWatch, chunks_with_progress, wants_prefill_events
from router.openai.schemas import ChatRequest, CompletionRequest
from router.openai.validation import chat_generation, completion_generation, with_allowed_values
from router.services import Services

ENGINE_HEADER = "x-mlxr-engine"
_AnyRequest = Request[Any, Any, Any]
_Body = TypeVar("_Body", ChatRequest, CompletionRequest)


@post("/v1/chat/completions", status_code=200)
async def create_chat_completion(request: _AnyRequest, services: NamedDependency[Services]) -> ASGIApp:
    """Answer a conversation, streamed or whole."""
    body = await _read(request, services, ChatRequest, CHAT)
    has_events = wants_prefill_events(request.headers.get(PROGRESS_HEADER))
    wish = services.models.wish_for(body.model, request.headers.get(ENGINE_HEADER))
    engine = services.models.resolve(wish).target.engine
    generation = chat_generation(body, wish, services.config.generation, engine=engine, has_progress_header=has_events)
    return await _answer(request, services, body, generation, has_events=has_events)


@post("/v1/completions", status_code=200)
async def create_completion(request: _AnyRequest, services: NamedDependency[Services]) -> ASGIApp:
    """Continue one text or several, streamed or whole."""
    body = await _read(request, services, CompletionRequest, COMPLETIONS)
    has_events = wants_prefill_events(request.headers.get(PROGRESS_HEADER))
    wish = services.models.wish_for(body.model, request.headers.get(ENGINE_HEADER))
    engine = services.models.resolve(wish).target.engine
    generation = completion_generation(
        body, wish, services.config.generation, engine=engine, has_progress_header=has_events
    )
    return await _answer(request, services, body, generation, has_events=has_events)


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


async def _read(request: _AnyRequest, services: Services, schema: type[_Body], endpoint: str) -> _Body:
    try:
        return await read_json(request, schema, limit_bytes=services.config.server.max_body_bytes)
    except InvalidRequestError as exc:
        raise with_allowed_values(exc, endpoint) from exc


async def _answer(
    request: _AnyRequest,
    services: Services,
    body: ChatRequest | CompletionRequest,
    generation_request: GenerationRequest,
    *,
    has_events: bool,
) -> ASGIApp:
    generation = Generation(services.supervisor, generation_request)
    head = AnswerHead.new(body.model, is_chat=isinstance(body, ChatRequest))
    echoes = _echoes(body, generation_request)
    services.models.note_use(generation_request.wish.model)
    if not body.stream:
        return json_reply(await until_disconnect(request.receive, _collect(generation, head, echoes)))
    wishes = StreamWishes(
        includes_usage=body.stream_options is not None and body.stream_options.include_usage,
        has_progress=bool(body.return_progress),
        has_timings=bool(body.timings_per_token),
        echoes=echoes,
    )
    encoder = StreamEncoder(head, generation, wishes)
    watch = PrefillWatch(services.supervisor, generation_request) if has_events else None
    return EventStream(
        _chunks(generation, encoder, watch),
        encode_error=lambda error: error_chunk(error, Dialect.OPENAI),
        keep_alive=SSE_KEEP_ALIVE,
        keep_alive_s=services.config.server.keepalive_s,
        commit_after_s=services.config.server.keepalive_s,
    )


def _echoes(body: ChatRequest | CompletionRequest, request: GenerationRequest) -> tuple[str, ...]:
    if isinstance(body, ChatRequest) or not body.echo:
        return ()
    return tuple(prompt.text for prompt in request.prompts if isinstance(prompt, TextPrompt))


async def _chunks(generation: Generation, encoder: StreamEncoder, watch: PrefillWatch | None) -> AsyncIterator[bytes]:
    # Closed here and now when the client goes away between two chunks: the place in the batch is free at once.
    async with contextlib.aclosing(generation.events()) as batches:
        if watch is None:
            async for events in batches:
                if chunk := encoder.encode(events):
                    yield chunk
        else:
            async with contextlib.aclosing(chunks_with_progress(batches, encoder, watch)) as chunks:
                async for chunk in chunks:
                    yield chunk
    yield encoder.tail()


async def _collect(generation: Generation, head: AnswerHead, echoes: tuple[str, ...]) -> bytes:
    parts = [ChoiceParts() for _ in range(generation.request.num_sequences)]
    async for events in generation.events():
        for event in events:
            if isinstance(event, OutputEvent):
                parts[event.index].add(event.output)
                parts[event.index].end = event.end
    ends = [part.end for part in parts if part.end is not None]
    if len(ends) < len(parts):
        raise EngineCrashedError("the engine ended the request without an answer")
    return full_answer(head, generation, parts, ends, echoes=echoes)


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
