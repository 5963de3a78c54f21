"""POST /v1/rerank: documents in the order of how well they answer a query.

A GGUF with rank pooling scores the pairs itself, on llamacpp; of a chat model each pair is a decision (`decisions`),
whose query comes first, so that all share its evaluation.
"""

import secrets
import struct
from collections.abc import Sequence
from typing import Final

from litestar.types import ASGIApp
from msgspec import UNSET

from registry.facts import ModelKind
from router.errors import InvalidRequestError, UnsupportedFieldError
from router.http.asgi import json_reply
from router.http.headers import REQUEST_ID_HEADER
from router.models.model_request import ModelRequest
from router.models.targets import Purpose
from router.protocols.answers import engine_fields
from router.protocols.decisions.asking import decision_request
from router.protocols.decisions.questions import MAX_QUESTIONS, Question, QuestionKind, judged, yes_or_no
from router.protocols.decisions.reading import Asked
from router.protocols.fields.support import decode_body, refuse_with_hint
from router.protocols.parts import AnyRequest, ServingPart
from router.protocols.rerank.schemas import (
    RERANK_API,
    DocumentText,
    RankedDocument,
    Ranking,
    RerankFacts,
    RerankRequest,
    RerankUsage,
)
from router.protocols.serving import Answering, Arrival, RequestService
from router.requests.collected import CollectedOutput, WholeAnswer
from router.requests.embedding import EmbeddingWanted
from router.requests.generation import Generation

_SCORE: Final = struct.Struct("<f")
_ASKED: Final = "Does the following document answer the query, or help to answer it?\n\nDocument:\n"


@(
    RERANK_API.inference("/v1/rerank", Ranking, body=RerankRequest, use="embed")
    | RERANK_API.inference("/v2/rerank", Ranking, body=RerankRequest, use="embed")
    | RERANK_API.inference("/rerank", Ranking, body=RerankRequest, use="embed")
)
async def rerank(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Order documents by how well they answer a query."""
    arrival = await serving.arrive(request)
    body = decode_body(arrival.raw, RerankRequest)
    refuse_with_hint(body)
    model_request = _model_request(serving, body, arrival)
    if _can_rank(serving, model_request):
        return await _ranked(serving, arrival, body, model_request)
    running = await serving.start_or_rejoin(arrival, lambda: _decided(serving, arrival, body))
    return await serving.reply(arrival, running)


def _model_request(serving: RequestService, body: RerankRequest, arrival: Arrival) -> ModelRequest:
    """Return the request for the model that is named.

    Raises:
        RegistryError: There is no such model.
        RouterError: It cannot be asked, or is a selector.
    """
    serving.models.named(body.model)
    return serving.models.model_request(body.model, arrival.headers.engine, Purpose.EMBED, arrival.headers.load)


def _can_rank(serving: RequestService, model_request: ModelRequest) -> bool:
    """Tell whether a model was made to rank; False = it is a chat model.

    Raises:
        UnsupportedFieldError: An upstream would serve it.
        InvalidRequestError: It makes vectors, and neither ranks nor talks.
    """
    target = serving.models.resolve(model_request).target
    if target.is_remote:
        problem = "documents are ranked by models that run here, and an upstream would serve this one; name another"
        raise UnsupportedFieldError(f"model: {problem}", "model")
    artifact = serving.models.artifact_of(target)
    if artifact is None or artifact.facts.kind is not ModelKind.EMBEDDING:
        return False
    if artifact.facts.pooling_type == "rank":
        return True
    problem = f"'{model_request.model}' makes vectors; name a reranker (a GGUF with rank pooling) or a chat model"
    raise InvalidRequestError(f"model: {problem}", "model")


async def _ranked(
    serving: RequestService, arrival: Arrival, body: RerankRequest, model_request: ModelRequest
) -> ASGIApp:
    answer_id = _new_id()
    wanted = EmbeddingWanted(
        model_request=model_request, inputs=[*body.texts], query=body.query, input_param="documents"
    )
    found = await serving.embeddings(arrival, wanted, answer_id=answer_id, protocol="rerank")
    scores = [score for vector in found.vectors for score in _SCORE.unpack(vector)]
    facts = RerankFacts(method="rank", **engine_fields(found.choice, found.worker))
    answer = _ranking(answer_id, body, scores, RerankUsage(found.num_tokens, found.num_tokens), facts)
    return json_reply(answer, headers=[(REQUEST_ID_HEADER, answer_id.encode())])


async def _decided(serving: RequestService, arrival: Arrival, body: RerankRequest) -> Answering:
    if len(body.documents) > MAX_QUESTIONS:
        problem = f"a chat model judges up to {MAX_QUESTIONS} documents in a request, got {len(body.documents)}"
        raise InvalidRequestError(f"documents: {problem}; send fewer, or name a reranker", "documents")
    headers, answer_id = arrival.headers, _new_id()
    model_request = serving.models.model_request(body.model, headers.engine, Purpose.GENERATE, headers.load)
    questions = (
        Question(name=None, kind=QuestionKind.PREDICATE, instructions=_ASKED + text, options=yes_or_no())
        for text in body.texts
    )
    asked = Asked(f"A search query:\n{body.query}", tuple(questions), "documents")
    wanted = decision_request(model_request, asked, headers)

    def answer(generation: Generation, outputs: Sequence[CollectedOutput]) -> Ranking:
        scores = [judged(output).probabilities[0] for output in outputs]
        usages = [output.end.usage for output in outputs]
        num_prompt = sum(usage.num_prompt_tokens for usage in usages)
        usage = RerankUsage(num_prompt, num_prompt + sum(usage.num_output_tokens for usage in usages))
        facts = RerankFacts(method="decision", **engine_fields(generation.choice, generation.worker))
        return _ranking(answer_id, body, scores, usage, facts)

    return Answering(
        answer_id=answer_id,
        protocol="rerank",
        wanted=wanted,
        encoder=lambda generation: WholeAnswer(wanted.num_sequences, lambda outputs: answer(generation, outputs)),
    )


def _new_id() -> str:
    return "rerank-" + secrets.token_hex(12)


def _ranking(
    answer_id: str, body: RerankRequest, scores: Sequence[float], usage: RerankUsage, facts: RerankFacts
) -> Ranking:
    """Return the documents in order; of equal ones the first stays first."""
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    texts = body.texts
    return Ranking(
        id=answer_id,
        model=body.model,
        results=[
            RankedDocument(
                index=index,
                relevance_score=scores[index],
                document=DocumentText(texts[index]) if body.return_documents else UNSET,
            )
            for index in order[: body.top_n]
        ],
        usage=usage,
        mlxr=facts,
    )


ROUTES: Final = (rerank,)
