"""Routes of the OpenAI API: decode, ask for a generation, encode; or count what a chat would put in.

Source, for the count: llama.cpp, tools/server/README.md, and OpenAI API reference, "Get input token counts", for the
answer's shape.
"""

from collections.abc import AsyncIterator
from typing import Final

from litestar.types import ASGIApp

from backends.wire.prompts import ChatPrompt
from router.http.asgi import json_reply
from router.http.caller import Scope
from router.http.streaming import SSE
from router.models.model_request import ModelRequest
from router.models.targets import Purpose
from router.protocols.choice import chosen_model, model_request_or_default
from router.protocols.endpoint import Stream
from router.protocols.fields.ranges import ModelReference
from router.protocols.fields.support import decode_body
from router.protocols.openai.answer_schemas import ChatChunk, ChatCompletion, InputTokens, TextChunk, TextCompletion
from router.protocols.openai.api import OPENAI_API
from router.protocols.openai.embeddings import create_embeddings
from router.protocols.openai.progress import (
    PREFILL_PROGRESS,
    PrefillProgress,
    WatchedEncoder,
    chunks_with_progress,
    wants_prefill_events,
)
from router.protocols.openai.request import generation_for, images_of, openai_answering
from router.protocols.openai.schemas import ChatRequest, CompletionRequest
from router.protocols.parts import AnyRequest, ServingPart
from router.protocols.serving import Answering, Arrival, RequestService
from router.requests.headers import RequestHeaders
from router.requests.register import RunningRequest


@OPENAI_API.inference(
    "/v1/chat/completions",
    ChatCompletion,
    body=ChatRequest,
    stream=Stream(SSE, (ChatChunk, PrefillProgress)),
    headers=(PREFILL_PROGRESS,),
)
async def create_chat_completion(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Answer a conversation."""
    return await serve_completion(request, serving, ChatRequest)


@OPENAI_API.inference(
    "/v1/completions",
    TextCompletion,
    body=CompletionRequest,
    stream=Stream(SSE, (TextChunk, PrefillProgress)),
    headers=(PREFILL_PROGRESS,),
)
async def create_completion(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Continue texts."""
    return await serve_completion(request, serving, CompletionRequest)


class PromptRequest(ChatRequest, kw_only=True, forbid_unknown_fields=True):
    """A chat that is not to be answered: its model may be left out where only one can be meant."""

    model: ModelReference | None = None  # type: ignore[assignment]


@OPENAI_API.post(
    "/v1/chat/completions/input_tokens", InputTokens, body=PromptRequest, use="generate", scope=Scope.INFERENCE
)
async def count_input_tokens(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Count a conversation's tokens."""
    model_request, prompt = await read_chat(request, serving)
    return json_reply(InputTokens(await serving.count_tokens(request, model_request, prompt)))


async def serve_completion(
    request: AnyRequest, serving: RequestService, schema: type[ChatRequest | CompletionRequest]
) -> ASGIApp:
    """Answer with what the same request was already being given, or with a new generation."""
    arrival = await serving.arrive(request)
    running = await serving.start_or_rejoin(arrival, lambda: _answering(serving, arrival, schema))
    return await serving.reply(arrival, running, chunks=_chunks)


async def _answering(
    serving: RequestService, arrival: Arrival, schema: type[ChatRequest | CompletionRequest]
) -> Answering:
    has_events = wants_prefill_events(arrival.request.headers)
    body = decode_body(arrival.raw, schema)
    return await openai_answering(serving, body, arrival.headers, has_events=has_events)


def _chunks(running: RunningRequest) -> AsyncIterator[bytes]:
    reading, encoder = running.follow(), running.encoder
    return chunks_with_progress(reading, encoder.watch) if isinstance(encoder, WatchedEncoder) else reading


async def read_chat(request: AnyRequest, serving: RequestService) -> tuple[ModelRequest, ChatPrompt]:
    """Read the body of a chat that is not to be answered, by the same rules as one that is."""
    arrival = await serving.arrive(request)
    return await serving.while_wanted(arrival, _prompt_of(serving, arrival))


async def _prompt_of(serving: RequestService, arrival: Arrival) -> tuple[ModelRequest, ChatPrompt]:
    body, headers = decode_body(arrival.raw, PromptRequest), arrival.headers
    model_request = model_request_or_default(serving, body.model, headers.engine, Purpose.GENERATE, headers.load)
    model_request, images = await images_of(serving, body, model_request, headers)
    prompt = generation_for(body, chosen_model(serving, model_request), RequestHeaders(), images).prompts[0]
    assert isinstance(prompt, ChatPrompt)
    return model_request, prompt


ROUTES: Final = (create_chat_completion, create_completion, count_input_tokens, create_embeddings)
