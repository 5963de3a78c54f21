"""Routes of the OpenAI API: decode, ask for a generation, encode."""

from collections.abc import AsyncIterator
from typing import Final

from litestar.types import ASGIApp

from router.http.headers import PROGRESS_HEADER
from router.http.streaming import SSE
from router.protocols.endpoint import Stream
from router.protocols.fields.support import decode_body
from router.protocols.openai.answer_schemas import ChatChunk, ChatCompletion, TextChunk, TextCompletion
from router.protocols.openai.api import OPENAI_API
from router.protocols.openai.counting import count_input_tokens
from router.protocols.openai.embeddings import create_embeddings
from router.protocols.openai.progress import (
    PrefillProgress,
    WatchedEncoder,
    chunks_with_progress,
    wants_prefill_events,
)
from router.protocols.openai.request import openai_answering
from router.protocols.openai.schemas import ChatRequest, CompletionRequest
from router.protocols.parts import AnyRequest, ServingPart
from router.protocols.serving import Answering, Arrival, RequestService
from router.requests.register import RunningRequest


@OPENAI_API.inference(
    "/v1/chat/completions", ChatCompletion, body=ChatRequest, stream=Stream(SSE, (ChatChunk, PrefillProgress))
)
async def create_chat_completion(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Answer a conversation."""
    return await _serve(request, serving, ChatRequest)


@OPENAI_API.inference(
    "/v1/completions", TextCompletion, body=CompletionRequest, stream=Stream(SSE, (TextChunk, PrefillProgress))
)
async def create_completion(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Continue texts."""
    return await _serve(request, serving, CompletionRequest)


ROUTES: Final = (create_chat_completion, create_completion, count_input_tokens, create_embeddings)


async def _serve(
    request: AnyRequest, serving: RequestService, schema: type[ChatRequest | CompletionRequest]
) -> ASGIApp:
    """Answer with what the same request was already being given, or with a new generation."""
    arrival = await serving.arrive(request)
    running = serving.start_or_rejoin(arrival, lambda: _answering(serving, arrival, schema))
    return await serving.reply(arrival, running, chunks=_chunks)


def _answering(serving: RequestService, arrival: Arrival, schema: type[ChatRequest | CompletionRequest]) -> Answering:
    has_events = wants_prefill_events(arrival.request.headers.get(PROGRESS_HEADER))
    body = decode_body(arrival.raw, schema)
    return openai_answering(serving, body, arrival.headers, has_events=has_events)


def _chunks(running: RunningRequest) -> AsyncIterator[bytes]:
    reading, encoder = running.follow(), running.encoder
    return chunks_with_progress(reading, encoder.watch) if isinstance(encoder, WatchedEncoder) else reading
