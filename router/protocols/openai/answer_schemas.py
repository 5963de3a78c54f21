"""Answers of the OpenAI API as Structs, for the API's document and for tests.

What is sent is made by `answer`, `encoding`, `embeddings` and `model_objects`.

A field that is left out where there is nothing to say is UNSET here; one that is null then is `None`.

Source: OpenAI API reference, "The chat completion object", "The chat completion chunk object", "The completion object",
"The embedding object", "The model object"; llama.cpp, tools/server, for `timings` and `prompt_progress`.
"""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from backends.embedding import Pooling
from router.models.targets import EngineReason
from router.protocols.openai.schemas import ServiceTier

FinishReason = Literal["stop", "length", "tool_calls"]
EngineName = Literal["mlx", "llamacpp"]


class _Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all of them have in common."""


# ---- parts -----------------------------------------------------------------------------------------------------------


class Timings(_Answer, frozen=True, kw_only=True):
    """llama-server's figures and mlxr's; milliseconds and tokens; a rate is null where there is nothing to divide."""

    cache_n: int
    prompt_n: int
    prompt_ms: float
    prompt_per_token_ms: float | None
    prompt_per_second: float | None
    predicted_n: int
    predicted_ms: float
    predicted_per_token_ms: float | None
    predicted_per_second: float | None
    engine: EngineName | None
    engine_reason: EngineReason | None
    load_ms: float
    queue_ms: float


class PromptTokensDetails(_Answer, frozen=True):
    """Of the prompt's tokens."""

    cached_tokens: int


class CompletionTokensDetails(_Answer, frozen=True):
    """Of the answer's tokens."""

    reasoning_tokens: int


class Usage(_Answer, frozen=True, kw_only=True):
    """Tokens; every answer counts, every prompt counts once."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails


class TokenLogprob(_Answer, frozen=True):
    """A token and its log probability, -9999 for minus infinity."""

    token: str
    logprob: float
    bytes: list[int]


class PositionLogprob(_Answer, frozen=True, kw_only=True):
    """A token that was drawn, and the likeliest ones at its place."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TokenLogprob]


class ChatLogprobs(_Answer, frozen=True):
    """Log probabilities of a chat's choice."""

    content: list[PositionLogprob]
    refusal: None


class TextLogprobs(_Answer, frozen=True, kw_only=True):
    """Log probabilities of a text completion's choice."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


# ---- chats -----------------------------------------------------------------------------------------------------------


class CalledFunction(_Answer, frozen=True):
    """What is called; the arguments are JSON text."""

    name: str
    arguments: str


class AnswerToolCall(_Answer, frozen=True, kw_only=True):
    """A call that the model made."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class AnswerMessage(_Answer, frozen=True, kw_only=True):
    """What the model said."""

    role: Literal["assistant"]
    content: str | None
    refusal: None
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[AnswerToolCall] | UnsetType = UNSET


class ChatChoice(_Answer, frozen=True, kw_only=True):
    """One answer."""

    index: int
    message: AnswerMessage
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason


class ChatCompletion(_Answer, frozen=True, kw_only=True):
    """The answer of POST /v1/chat/completions."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    service_tier: ServiceTier | UnsetType = UNSET
    choices: list[ChatChoice]
    usage: Usage
    timings: Timings


class FunctionFragment(_Answer, frozen=True):
    """A piece of a call; the name comes first."""

    arguments: str
    name: str | UnsetType = UNSET


class ToolCallFragment(_Answer, frozen=True, kw_only=True):
    """A piece of the call `index`."""

    index: int
    function: FunctionFragment
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET


class Delta(_Answer, frozen=True, kw_only=True):
    """What is new."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[ToolCallFragment] | UnsetType = UNSET


class ChatChunkChoice(_Answer, frozen=True, kw_only=True):
    """What is new of one answer."""

    index: int
    delta: Delta
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason | None


class PromptProgress(_Answer, frozen=True, kw_only=True):
    """How far the prompt is, in tokens."""

    total: int
    cache: int
    processed: int
    time_ms: int


class ChatChunk(_Answer, frozen=True, kw_only=True):
    """One event of a streamed chat; the last one before `[DONE]` has the usage where it was asked for."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    service_tier: ServiceTier | UnsetType = UNSET
    choices: list[ChatChunkChoice]
    usage: Usage | UnsetType | None = UNSET
    timings: Timings | UnsetType = UNSET
    prompt_progress: PromptProgress | UnsetType = UNSET


# ---- texts -----------------------------------------------------------------------------------------------------------


class TextChoice(_Answer, frozen=True, kw_only=True):
    """One text."""

    index: int
    text: str
    logprobs: TextLogprobs | None
    finish_reason: FinishReason


class TextCompletion(_Answer, frozen=True, kw_only=True):
    """The answer of POST /v1/completions."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    service_tier: ServiceTier | UnsetType = UNSET
    choices: list[TextChoice]
    usage: Usage
    timings: Timings


class TextChunkChoice(_Answer, frozen=True, kw_only=True):
    """What is new of one text."""

    index: int
    text: str
    logprobs: TextLogprobs | None
    finish_reason: FinishReason | None


class TextChunk(_Answer, frozen=True, kw_only=True):
    """One event of a streamed text."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    service_tier: ServiceTier | UnsetType = UNSET
    choices: list[TextChunkChoice]
    usage: Usage | UnsetType | None = UNSET
    timings: Timings | UnsetType = UNSET
    prompt_progress: PromptProgress | UnsetType = UNSET


# ---- others ----------------------------------------------------------------------------------------------------------


class InputTokens(_Answer, frozen=True):
    """How many tokens a prompt has."""

    object: Literal["response.input_tokens"]
    input_tokens: int


class Embedding(_Answer, frozen=True, kw_only=True):
    """One vector of length 1: numbers, or float32 in base64."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(_Answer, frozen=True):
    """Tokens of all inputs."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(_Answer, frozen=True, kw_only=True):
    """The answer of POST /v1/embeddings."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage
    pooling: Pooling


class ModelObject(_Answer, frozen=True, kw_only=True):
    """A model, or one with an adapter over it: then `parent` names the model."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: Literal["mlxr"]
    engines: list[EngineName]
    context_length: int | None
    aliases: list[str]
    parent: str | UnsetType = UNSET


class ModelList(_Answer, frozen=True):
    """All models."""

    object: Literal["list"]
    data: list[ModelObject]


class DeletedModel(_Answer, frozen=True, kw_only=True):
    """A model that is gone."""

    id: str
    object: Literal["model"]
    deleted: Literal[True]
