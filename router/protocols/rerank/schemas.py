"""Body and answer of reranking, in Jina's shape, which llama-server has too, and Cohere's.

Source: Jina, "Reranker API"; Cohere API reference, "Rerank" v1 and v2; llama.cpp, tools/server/README.md, "POST
/reranking".
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from router.protocols.answers import AnswerBody, MlxrAnswer
from router.protocols.endpoint import Api
from router.protocols.fields.json_types import Refused
from router.protocols.fields.ranges import ModelReference
from router.protocols.fields.support import LABEL, refused

RERANK_API: Final = Api("rerank", "Reranking, in Jina's and Cohere's shapes.")

MAX_DOCUMENTS: Final = 1000
"""Source: Cohere API reference, "Rerank": "we recommend a maximum of 1,000 documents"."""
_SHORTEN: Final = "documents are judged whole; shorten them before they are sent"


class DocumentObject(msgspec.Struct, forbid_unknown_fields=True):
    """A document as an object."""

    text: str


class RerankRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/rerank."""

    model: ModelReference
    query: Annotated[str, Meta(min_length=1)]
    documents: Annotated[list[str | DocumentObject], Meta(min_length=1, max_length=MAX_DOCUMENTS)]
    top_n: Annotated[int, Meta(ge=1)] | None = None
    return_documents: bool | None = None
    max_chunks_per_doc: Annotated[Refused, refused(_SHORTEN)] = None
    max_tokens_per_doc: Annotated[Refused, refused(_SHORTEN)] = None
    rank_fields: Annotated[
        Refused, refused("documents are texts here; put what counts into the text", [], ["text"])
    ] = None
    user: Annotated[str | None, LABEL] = None

    @property
    def texts(self) -> list[str]:
        """The documents."""
        return [each if isinstance(each, str) else each.text for each in self.documents]


class DocumentText(AnswerBody, frozen=True):
    """A document that was sent."""

    text: str


class RankedDocument(AnswerBody, frozen=True, kw_only=True):
    """A document by its place in the request, and how well it answers the query: the more the better."""

    index: int
    relevance_score: float
    document: DocumentText | UnsetType = UNSET


class RerankUsage(AnswerBody, frozen=True):
    """Tokens of all pairs."""

    prompt_tokens: int
    total_tokens: int


class RerankFacts(MlxrAnswer, frozen=True, kw_only=True):
    """What only mlxr tells: whether a model that ranks gave the scores, or a chat model's decisions, as probabilities.

    `calibrated` is false: scores are for the order; nothing was fitted to how often a document is of use.
    """

    method: Literal["rank", "decision"]
    calibrated: Literal[False] = False


class Ranking(AnswerBody, frozen=True, kw_only=True):
    """Documents in the order of their scores, the highest first."""

    id: str
    object: Literal["list"] = "list"
    model: str
    results: list[RankedDocument]
    usage: RerankUsage
    mlxr: RerankFacts
