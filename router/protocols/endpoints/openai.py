"""Endpoints of the OpenAI API, but for responses and batches."""

from typing import Annotated, Final

from msgspec import Meta

from router.http.error_schemas import OpenAIError
from router.protocols.anthropic.answer_schemas import ModelInfo, ModelPage
from router.protocols.endpoints.base import SSE, Parameter, Stream, row
from router.protocols.openai import answer_schemas as answers
from router.protocols.openai.counting import PromptRequest
from router.protocols.openai.embeddings import EmbeddingRequest
from router.protocols.openai.progress import PrefillProgress
from router.protocols.openai.schemas import ChatRequest, CompletionRequest

_PAGE: Final = (
    Parameter(
        name="limit", type=Annotated[int, Meta(ge=1, le=1000)], what="Entries of the page, with anthropic-version."
    ),
    Parameter(name="after_id", type=str, what="Id of the model before the page, with anthropic-version."),
    Parameter(name="before_id", type=str, what="Id of the model behind the page, with anthropic-version."),
)
_MODEL: Final = "/v1/models/{model_id:path}"

OPENAI_ENDPOINTS: Final = (
    row(
        "openai",
        "POST",
        "/v1/chat/completions",
        "Answer a conversation.",
        answers.ChatCompletion,
        body=ChatRequest,
        stream=Stream(SSE, (answers.ChatChunk, PrefillProgress, OpenAIError)),
        has_wishes=True,
    ),
    row(
        "openai",
        "POST",
        "/v1/completions",
        "Continue texts.",
        answers.TextCompletion,
        body=CompletionRequest,
        stream=Stream(SSE, (answers.TextChunk, PrefillProgress, OpenAIError)),
        has_wishes=True,
    ),
    row(
        "openai",
        "POST",
        "/v1/chat/completions/input_tokens",
        "Count a conversation's tokens.",
        answers.InputTokens,
        body=PromptRequest,
    ),
    row(
        "openai",
        "POST",
        "/v1/embeddings",
        "Embed texts.",
        answers.Embeddings,
        body=EmbeddingRequest,
        has_wishes=True,
    ),
    row(
        "openai",
        "GET",
        "/v1/models",
        "List the models, in Anthropic's shape for clients that send anthropic-version.",
        answers.ModelList,
        ModelPage,
        query=_PAGE,
    ),
    row("openai", "GET", _MODEL, "Describe a model, perhaps with an adapter.", answers.ModelObject, ModelInfo),
    row("openai", "DELETE", _MODEL, "Remove a model that is not loaded.", answers.DeletedModel),
)
