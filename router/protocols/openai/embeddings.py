"""POST /v1/embeddings: texts or tokens to vectors.

Source: OpenAI API reference, "Create embeddings". `pooling` is an extension, in the request and in the answer.
"""

import binascii
import secrets
from typing import Annotated, Any, Literal

import msgspec
from litestar.types import ASGIApp
from msgspec import Meta

from backends.wire.request import Pooling
from router.errors import InvalidRequestError
from router.http.asgi import json_reply
from router.http.headers import REQUEST_ID_HEADER
from router.models.targets import Purpose
from router.protocols.answers import told_of_engine
from router.protocols.fields.ranges import ModelReference, TokenId
from router.protocols.fields.support import decode_body, refuse_with_hint, refused
from router.protocols.fields.vectors import encoded, numbers_of
from router.protocols.openai.answer_schemas import Embedding, EmbeddingUsage
from router.protocols.openai.answer_schemas import Embeddings as EmbeddingList
from router.protocols.openai.api import OPENAI_API
from router.protocols.openai.request import texts_or_tokens
from router.protocols.parts import AnyRequest, ServingPart
from router.protocols.serving import RequestService
from router.requests.embedding import Embeddings, EmbeddingWanted
from router.requests.headers import RequestHeaders

MAX_INPUTS = 2048
"""Source: OpenAI API reference, "Create embeddings": "any array must be 2048 dimensions or less"."""
MAX_INPUT_TOKENS = 262_144


class EmbeddingRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/embeddings."""

    model: ModelReference
    # A list is of texts, of token ids (one input), or of lists of token ids; `inputs_of` refuses mixtures.
    input: str | Annotated[list[str | TokenId | list[TokenId]], Meta(min_length=1, max_length=MAX_INPUT_TOKENS)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[
        Annotated[int, Meta(ge=1)] | None,
        refused("no model here is known to bear shorter vectors (Matryoshka); leave it out"),
    ] = None
    pooling: Literal["mean", "last", "cls"] | None = None
    user: str | None = None


@(
    OPENAI_API.inference("/v1/embeddings", EmbeddingList, body=EmbeddingRequest, use="embed")
    | OPENAI_API.inference("/api/v0/embeddings", EmbeddingList, body=EmbeddingRequest, use="embed")  # LM Studio's path
)
async def create_embeddings(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Embed texts."""
    arrival = await serving.arrive(request)
    body, wanted = read_embedding_request(serving, arrival.raw, arrival.headers)
    answer_id = new_embedding_id()
    result = await serving.embeddings(arrival, wanted, answer_id=answer_id, protocol="openai")
    return json_reply(await embeddings_body(body, result), headers=[(REQUEST_ID_HEADER, answer_id.encode())])


def read_embedding_request(
    serving: RequestService, raw: bytes, headers: RequestHeaders
) -> tuple[EmbeddingRequest, EmbeddingWanted]:
    """Read a body, by whatever way it came; return it with what is to be embedded.

    Raises:
        RouterError: It is not valid.
        RegistryError: There is no such model.
    """
    body = decode_body(raw, EmbeddingRequest)
    refuse_with_hint(body)
    wanted = EmbeddingWanted(
        model_request=serving.models.model_request(body.model, headers.engine, Purpose.EMBED, headers.load),
        inputs=inputs_of(body.input),
        pooling=None if body.pooling is None else Pooling(body.pooling),
    )
    return body, wanted


def new_embedding_id() -> str:
    """Return the id of a request that is to be listed."""
    return "embd-" + secrets.token_hex(12)


def inputs_of(value: str | list[Any], field: str = "input") -> list[str | list[int]]:
    """Return the inputs that a field names.

    Raises:
        InvalidRequestError: It is empty, has an empty input, mixes types, or has too many inputs.
    """
    inputs = texts_or_tokens(value, field, MAX_INPUTS)
    for index, each in enumerate(inputs):
        if not each:
            param = field if isinstance(value, str) else f"{field}[{index}]"
            raise InvalidRequestError(f"{param}: it is empty; send at least one character or token", param)
    return inputs


async def embeddings_body(request: EmbeddingRequest, result: Embeddings) -> bytes:
    """Encode the answer, giving way to other requests now and then."""
    shown = _base64 if request.encoding_format == "base64" else numbers_of
    answer = EmbeddingList(
        data=await encoded(result.vectors, lambda index, vector: Embedding(index, shown(vector))),
        model=request.model,
        usage=EmbeddingUsage(result.num_tokens, result.num_tokens),
        pooling=result.pooling,
        mlxr=told_of_engine(result.choice, result.worker),
    )
    return msgspec.json.encode(answer)


def _base64(vector: bytes) -> str:
    return binascii.b2a_base64(vector, newline=False).decode()
