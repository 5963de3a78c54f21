"""Routes of the OpenAI API: decode, ask for a generation, encode."""

from collections.abc import AsyncIterator
from typing import Any

from litestar import Request, Router, post
from litestar.di import NamedDependency
from litestar.types import ASGIApp

from router.http.error_response import Dialect
from router.http.headers import PROGRESS_HEADER
from router.protocols.fields.support import decode_body
from router.protocols.openai.answering import openai_answering
from router.protocols.openai.progress import WatchedEncoder, chunks_with_progress, wants_prefill_events
from router.protocols.openai.schemas import ChatRequest, CompletionRequest
from router.protocols.serving import Answering, Arrival, arrive, reply, start_or_rejoin
from router.requests.register import RunningRequest
from router.services import Services

_AnyRequest = Request[Any, Any, Any]


@post("/v1/chat/completions", status_code=200)
async def create_chat_completion(request: _AnyRequest, services: NamedDependency[Services]) -> ASGIApp:
    """Answer a conversation, streamed or whole."""
    return await _serve(request, services, ChatRequest)


@post("/v1/completions", status_code=200)
async def create_completion(request: _AnyRequest, services: NamedDependency[Services]) -> ASGIApp:
    """Continue one text or several, streamed or whole."""
    return await _serve(request, services, CompletionRequest)


openai_router = Router(path="/", route_handlers=[create_chat_completion, create_completion])


async def _serve(request: _AnyRequest, services: Services, schema: type[ChatRequest | CompletionRequest]) -> ASGIApp:
    """Answer with what the same request was already being given, or with a new generation."""
    arrival = await arrive(request, services)
    running = start_or_rejoin(services, arrival, lambda: _answering(services, arrival, schema))
    return await reply(services, arrival, running, Dialect.OPENAI, chunks=_chunks)


def _answering(services: Services, arrival: Arrival, schema: type[ChatRequest | CompletionRequest]) -> Answering:
    has_events = wants_prefill_events(arrival.request.headers.get(PROGRESS_HEADER))
    body = decode_body(arrival.raw, schema)
    return openai_answering(services, body, engine=arrival.engine, wishes=arrival.wishes, has_events=has_events)


def _chunks(running: RunningRequest) -> AsyncIterator[bytes]:
    reading, encoder = running.follow(), running.encoder
    return chunks_with_progress(reading, encoder.watch) if isinstance(encoder, WatchedEncoder) else reading
