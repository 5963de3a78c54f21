"""Routes of the OpenAI API: decode, ask for a generation, encode."""

from typing import Any, TypeVar

from litestar import Request, Router, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp

from backends.prompts import TextPrompt
from registry.catalogue import Model
from router.capabilities import CHAT, COMPLETIONS
from router.errors import InvalidRequestError
from router.generation import Generation, GenerationRequest
from router.http.asgi import json_reply
from router.http.body import decode_json, read_body
from router.http.error_response import Dialect
from router.http.streaming import SSE_KEEP_ALIVE, EventStream, error_chunk, until_disconnect
from router.openai.answer import AnswerHead, WholeAnswer
from router.openai.encoding import StreamEncoder, StreamWishes
from router.openai.progress import (
    PROGRESS_HEADER,
    PrefillWatch,
    WatchedEncoder,
    chunks_with_progress,
    wants_prefill_events,
)
from router.openai.scheduling import scheduled, tier_used
from router.openai.schemas import ChatRequest, CompletionRequest
from router.openai.validation import chat_generation, completion_generation, with_allowed_values
from router.request_headers import REQUEST_ID_HEADER, header_wishes
from router.requests import AnswerEncoder, RequestFacts, RunningRequest, whole_answer
from router.resend import fingerprint
from router.services import Services

ENGINE_HEADER = "x-mlxr-engine"
_AnyRequest = Request[Any, Any, Any]
_Body = TypeVar("_Body", ChatRequest, CompletionRequest)


@post("/v1/chat/completions", status_code=200)
async def create_chat_completion(request: _AnyRequest, services: NamedDependency[Services]) -> ASGIApp:
    """Answer a conversation, streamed or whole."""
    return await _serve(request, services, ChatRequest)


@post("/v1/completions", status_code=200)
async def create_completion(request: _AnyRequest, services: NamedDependency[Services]) -> ASGIApp:
    """Continue one text or several, streamed or whole."""
    return await _serve(request, services, CompletionRequest)


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


async def _serve(request: _AnyRequest, services: Services, schema: type[_Body]) -> ASGIApp:
    """Answer with what the same request was already being given, or with a new generation."""
    raw = await read_body(request.scope, request.receive, limit_bytes=services.config.server.max_body_bytes)
    seal = fingerprint(request.scope["path"], request.headers, raw)
    running = services.requests.attachable(seal) or _start(request, services, _decoded(raw, schema), seal)
    return await _reply(request, services, running)


def _decoded(raw: bytes, schema: type[_Body]) -> _Body:
    try:
        return decode_json(raw, schema)
    except InvalidRequestError as exc:
        raise with_allowed_values(exc, CHAT if schema is ChatRequest else COMPLETIONS) from exc


def _start(
    request: _AnyRequest, services: Services, body: ChatRequest | CompletionRequest, seal: bytes
) -> RunningRequest:
    """Take a new request in.

    Raises:
        RouterError: It is not valid.
        RegistryError: There is no such model.
    """
    has_events = wants_prefill_events(request.headers.get(PROGRESS_HEADER))
    wishes = header_wishes(request.headers)
    wanted = scheduled(_generation_request(request, services, body, has_events=has_events), body, wishes)
    generation = Generation(services.supervisor, wanted)
    tier = tier_used(body, wanted.priority)
    head = AnswerHead.new(body.model, is_chat=isinstance(body, ChatRequest), service_tier=tier)
    facts = RequestFacts(
        request_id=head.answer_id,
        protocol="openai",
        client=_client_of(request),
        fingerprint=seal,
        timeout_s=wishes.timeout_s,
    )
    services.models.note_use(wanted.wish.model)
    encoder = _encoder(services, body, head, generation, has_events=has_events)
    return services.requests.start(facts, generation, encoder, services.config.limits)


def _generation_request(
    request: _AnyRequest, services: Services, body: ChatRequest | CompletionRequest, *, has_events: bool
) -> GenerationRequest:
    wish = services.models.wish_for(body.model, request.headers.get(ENGINE_HEADER))
    engine = services.models.resolve(wish).target.engine
    defaults = services.defaults_for(wish.model)
    if isinstance(body, ChatRequest):
        return chat_generation(body, wish, defaults, engine=engine, has_progress_header=has_events)
    return completion_generation(body, wish, defaults, engine=engine, has_progress_header=has_events)


def _encoder(
    services: Services,
    body: ChatRequest | CompletionRequest,
    head: AnswerHead,
    generation: Generation,
    *,
    has_events: bool,
) -> AnswerEncoder:
    echoes = _echoes(body, generation.request)
    if not body.stream:
        return WholeAnswer(head, generation, echoes)
    wishes = StreamWishes(
        includes_usage=body.stream_options is not None and body.stream_options.include_usage,
        has_progress=bool(body.return_progress),
        has_timings=bool(body.timings_per_token),
        echoes=echoes,
    )
    encoder = StreamEncoder(head, generation, wishes)
    return WatchedEncoder(encoder, PrefillWatch(services.supervisor, generation.request)) if has_events else encoder


async def _reply(request: _AnyRequest, services: Services, running: RunningRequest) -> ASGIApp:
    headers = [(REQUEST_ID_HEADER, running.facts.request_id.encode())]
    reading, encoder = running.follow(), running.encoder
    if isinstance(encoder, WholeAnswer):
        return json_reply(await until_disconnect(request.receive, whole_answer(reading)), headers=headers)
    return EventStream(
        chunks_with_progress(reading, encoder.watch) if isinstance(encoder, WatchedEncoder) else reading,
        encode_error=lambda error: error_chunk(error, Dialect.OPENAI),
        headers=headers,
        keep_alive=SSE_KEEP_ALIVE,
        keep_alive_s=services.config.server.keepalive_s,
        commit_after_s=services.config.server.keepalive_s,
    )


def _client_of(request: _AnyRequest) -> str:
    client = request.scope.get("client")
    return f"{client[0]}:{client[1]}" if client else "unix"


def _echoes(body: ChatRequest | CompletionRequest, request: GenerationRequest) -> tuple[str, ...]:
    if isinstance(body, ChatRequest) or not body.echo:
        return ()
    return tuple(prompt.text for prompt in request.prompts if isinstance(prompt, TextPrompt))


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
