"""POST /api/embed and its old form, POST /api/embeddings: texts to vectors.

Source: Ollama, docs/api.md, "Generate Embeddings": "truncate: truncates the end of each input to fit within context
length. Returns error if false and context length is exceeded. Defaults to true"; server/routes.go (`EmbedHandler`) for
`dimensions`, which cuts a vector and brings it to the length 1 again.
"""

import secrets
import time

from litestar.types import ASGIApp

from router.http.asgi import json_reply
from router.http.headers import REQUEST_ID_HEADER
from router.http.streaming import until_disconnect
from router.models.targets import Purpose
from router.protocols.fields.support import decode_body
from router.protocols.fields.vectors import encoded, numbers_of, shortened
from router.protocols.ollama.answer_schemas import EmbedAnswer, EmbeddingAnswer
from router.protocols.ollama.api import OLLAMA_API
from router.protocols.ollama.durations import nanoseconds
from router.protocols.ollama.loading import load_or_unload
from router.protocols.ollama.requested_model import RequestedModel, requested_model
from router.protocols.ollama.schemas import EmbeddingsRequest, EmbedRequest
from router.protocols.parts import AnyRequest, ServingPart
from router.protocols.serving import Arrival, RequestService
from router.requests.embedding import Embeddings, EmbeddingWanted


@OLLAMA_API.inference("/api/embed", EmbedAnswer, body=EmbedRequest, use="embed")
async def embed(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Embed texts."""
    started_at = time.monotonic()
    arrival = await serving.arrive(request)
    body = decode_body(arrival.raw, EmbedRequest)
    asked = requested_model(serving, arrival, body, Purpose.EMBED)
    inputs = [body.input] if isinstance(body.input, str) else list(body.input or [])
    if not any(inputs):
        await until_disconnect(request.receive, load_or_unload(serving, asked))
        return json_reply(EmbedAnswer(model=body.model, embeddings=[]))
    result, headers = await _vectors(serving, arrival, asked, inputs, truncates=body.truncate is not False)
    size = body.dimensions

    def shown(_: int, vector: bytes) -> list[float]:
        return shortened(numbers_of(vector), size) if size else numbers_of(vector)

    answer = EmbedAnswer(
        model=body.model,
        embeddings=await encoded(result.vectors, shown),
        total_duration=nanoseconds((time.monotonic() - started_at) * 1000),
        load_duration=nanoseconds(result.load_ms),
        prompt_eval_count=result.num_tokens,
    )
    return json_reply(answer, headers=headers)


@OLLAMA_API.inference("/api/embeddings", EmbeddingAnswer, body=EmbeddingsRequest, use="embed")
async def embed_one(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Embed one text."""
    arrival = await serving.arrive(request)
    body = decode_body(arrival.raw, EmbeddingsRequest)
    asked = requested_model(serving, arrival, body, Purpose.EMBED)
    if not body.prompt:
        await until_disconnect(request.receive, load_or_unload(serving, asked))
        return json_reply(EmbeddingAnswer([]))
    result, headers = await _vectors(serving, arrival, asked, [body.prompt], truncates=False, param="prompt")
    return json_reply(EmbeddingAnswer(numbers_of(result.vectors[0])), headers=headers)


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
