"""Endpoints of Ollama's API."""

from typing import Final

from router.http.error_response import Dialect
from router.http.error_schemas import OllamaError
from router.protocols.endpoints.base import BINARY, NDJSON, TEXT, Answer, Body, Stream, row
from router.protocols.ollama import answer_schemas as answers
from router.protocols.ollama import schemas
from router.protocols.ollama.models import schemas as models
from router.protocols.ollama.models.show import ShowResponse

_BLOB: Final = "/api/blobs/{digest:str}"
_PROGRESS: Final = Stream(NDJSON, (models.StatusLine, OllamaError))
_NOTHING: Final = {200: Answer()}

OLLAMA_ENDPOINTS: Final = (
    row(
        "ollama",
        "GET",
        "/",
        "Tell that the API is there.",
        dialect=Dialect.OPENAI,
        answers={200: Answer((str,), TEXT)},
    ),
    row("ollama", "HEAD", "/", "Tell that the API is there.", dialect=Dialect.OPENAI),
    row("ollama", "GET", "/api/version", "Tell the version of the API.", answers.Version),
    row("ollama", "GET", "/api/tags", "List the models.", answers.TagsAnswer),
    row("ollama", "GET", "/api/ps", "List the models that are loaded.", answers.LoadedAnswer),
    row("ollama", "POST", "/api/show", "Describe a model.", ShowResponse, body=schemas.ShowRequest),
    row(
        "ollama",
        "POST",
        "/api/chat",
        "Answer a conversation; without messages, load or unload the model.",
        answers.ChatLine,
        body=schemas.ChatRequest,
        stream=Stream(NDJSON, (answers.ChatLine, OllamaError)),
        has_wishes=True,
    ),
    row(
        "ollama",
        "POST",
        "/api/generate",
        "Continue a text, or answer it; without one, load or unload the model.",
        answers.GenerateLine,
        body=schemas.GenerateRequest,
        stream=Stream(NDJSON, (answers.GenerateLine, OllamaError)),
        has_wishes=True,
    ),
    row(
        "ollama",
        "POST",
        "/api/embed",
        "Embed texts.",
        answers.EmbedAnswer,
        body=schemas.EmbedRequest,
        has_wishes=True,
    ),
    row(
        "ollama",
        "POST",
        "/api/embeddings",
        "Embed one text.",
        answers.EmbeddingAnswer,
        body=schemas.EmbeddingsRequest,
        has_wishes=True,
    ),
    row("ollama", "POST", "/api/pull", "Pull a model.", models.StatusLine, body=models.PullRequest, stream=_PROGRESS),
    row("ollama", "POST", "/api/push", "Refuse: models go nowhere from here.", body=models.PushRequest, answers={}),
    row(
        "ollama", "POST", "/api/create", "Make a model.", models.StatusLine, body=models.CreateRequest, stream=_PROGRESS
    ),
    row("ollama", "POST", "/api/copy", "Give a model a second name.", body=models.CopyRequest),
    row("ollama", "DELETE", "/api/delete", "Remove a model.", body=models.DeleteRequest),
    row("ollama", "HEAD", _BLOB, "Tell whether there are such bytes.", answers=_NOTHING),
    row(
        "ollama",
        "POST",
        _BLOB,
        "Take a file: 201, or 200 where it was there.",
        body=Body(bytes, BINARY),
        answers={200: Answer(), 201: Answer()},
    ),
)
