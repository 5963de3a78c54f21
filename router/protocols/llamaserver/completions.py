"""llama-server's completions, infilling and embeddings. Requests may name a `model`, unlike llama-server's.

Source: llama.cpp, tools/server/README.md.
"""

import secrets
from typing import Final

import msgspec
from litestar.types import ASGIApp

from router.errors import InvalidRequestError, MissingFieldError
from router.http.asgi import json_reply
from router.http.headers import REQUEST_ID_HEADER
from router.http.streaming import SSE
from router.models.targets import Purpose
from router.protocols.choice import chosen_model, model_request_or_default
from router.protocols.endpoint import Declaration, Stream
from router.protocols.fields.json_types import JSONObject
from router.protocols.fields.mlxr import wished_side
from router.protocols.fields.support import decode_body, refuse_with_hint
from router.protocols.fields.vectors import encoded, numbers_of
from router.protocols.llamaserver import answer_schemas as answers
from router.protocols.llamaserver.api import LLAMASERVER_API
from router.protocols.llamaserver.encoding import CompletionOptions, NativeCompletionStream, completions_of
from router.protocols.llamaserver.images import sent_images
from router.protocols.llamaserver.request import generation_for, wants_no_tokens
from router.protocols.llamaserver.schemas import (
    CompletionFields,
    InfillRequest,
    NativeCompletionRequest,
    NativeEmbeddingRequest,
)
from router.protocols.openai.embeddings import inputs_of, new_embedding_id
from router.protocols.parts import AnyRequest, ServingPart
from router.protocols.serving import Answering, Arrival, RequestService
from router.requests.collected import WholeAnswer
from router.requests.embedding import EmbeddingWanted
from router.requests.generation import Generation
from router.requests.register import AnswerEncoder

_STREAM: Final = Stream(SSE, (answers.NativeCompletionChunk, answers.NativeCompletion))
_SELECTED: Final = (JSONObject, list[JSONObject])
"""What is left of an answer by `response_fields`."""


def _completion(path: str) -> Declaration:
    types = (answers.NativeCompletion, list[answers.NativeCompletion], *_SELECTED)
    return LLAMASERVER_API.inference(path, *types, body=NativeCompletionRequest, stream=_STREAM)


@_completion("/completion") | _completion("/completions")
async def create_native_completion(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Continue texts, in llama-server's shape."""
    return await _serve(request, serving, NativeCompletionRequest)


@LLAMASERVER_API.inference(
    "/infill",
    answers.NativeCompletion,
    list[answers.NativeCompletion],
    *_SELECTED,
    body=InfillRequest,
    stream=_STREAM,
)
async def infill(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Fill in what stands between two texts, as editors ask for it."""
    return await _serve(request, serving, InfillRequest)


@LLAMASERVER_API.inference(
    "/embedding", list[answers.NativeEmbedding], body=NativeEmbeddingRequest, use="embed"
) | LLAMASERVER_API.inference("/embeddings", list[answers.NativeEmbedding], body=NativeEmbeddingRequest, use="embed")
async def create_native_embedding(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Embed texts, in llama-server's shape."""
    arrival = await serving.arrive(request)
    body = decode_body(arrival.raw, NativeEmbeddingRequest)
    refuse_with_hint(body)
    param = "input" if body.content is None else "content"
    given = body.input if body.content is None else body.content
    if given is None:
        raise MissingFieldError("The field 'content' is required.", "content")
    if body.input is not None and body.content is not None:
        raise InvalidRequestError("content and input are two names of the same; send one of them", "input")
    headers = arrival.headers
    wanted = EmbeddingWanted(
        model_request=model_request_or_default(serving, body.model, headers.engine, Purpose.EMBED, headers.load),
        inputs=inputs_of(given, param),
        input_param=param,
    )
    answer_id = new_embedding_id()
    result = await serving.embeddings(arrival, wanted, answer_id=answer_id, protocol="llamaserver")
    vectors = await encoded(result.vectors, lambda index, one: answers.NativeEmbedding(index, [numbers_of(one)]))
    return json_reply(msgspec.json.encode(vectors), headers=[(REQUEST_ID_HEADER, answer_id.encode())])


async def _serve(
    request: AnyRequest, serving: RequestService, schema: type[NativeCompletionRequest | InfillRequest]
) -> ASGIApp:
    """Answer with what the same request was already being given, or with a new generation."""
    arrival = await serving.arrive(request)
    running = await serving.start_or_rejoin(
        arrival, lambda: _answering(serving, arrival, decode_body(arrival.raw, schema))
    )
    return await serving.reply(arrival, running)


async def _answering(serving: RequestService, arrival: Arrival, body: CompletionFields) -> Answering:
    headers = arrival.headers
    model_request = model_request_or_default(serving, body.model, headers.engine, Purpose.GENERATE, headers.load)
    wish = wished_side(headers, body.mlxr)
    model_request, images = await serving.images.read(model_request, sent_images(body), wish)
    wanted = generation_for(body, chosen_model(serving, model_request), headers, images)
    options = CompletionOptions(
        model=images.stand_in or model_request.named_as(body.model or model_request.label),
        has_progress=bool(body.return_progress),
        has_timings=bool(body.timings_per_token),
        has_probabilities=bool(body.n_probs),
        is_dropped=wants_no_tokens(body),
        num_indent=body.n_indent or 0,
        fields=tuple(body.response_fields or ()),
    )

    is_stream = bool(body.stream)

    def encoder(generation: Generation) -> AnswerEncoder:
        if is_stream:
            return NativeCompletionStream(generation, options)
        return WholeAnswer(wanted.num_sequences, lambda outputs: completions_of(generation, outputs, options))

    return Answering(
        answer_id="cmpl-" + secrets.token_hex(12),
        protocol="llamaserver",
        wanted=wanted,
        encoder=encoder,
    )


ROUTES: Final = (create_native_completion, infill, create_native_embedding)
