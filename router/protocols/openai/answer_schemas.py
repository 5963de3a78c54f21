"""Answers of the OpenAI API.

Source: OpenAI API reference, "The chat completion object", "The chat completion chunk object", "The completion object",
"The embedding object", "The model object"; llama.cpp, tools/server, for `timings` and `prompt_progress`; vLLM,
protocol.py, for `prompt_logprobs`, `token_ids` and `prompt_token_ids`.
"""

from typing import Generic, Literal, TypeVar

from msgspec import UNSET, UnsetType

from backends.wire.output import FinishReason
from backends.wire.request import Pooling
from backends.wire.threads import ThreadsReason
from registry.engines import EngineKind
from router.models.targets import EngineReason
from router.protocols.answers import AnswerBody, CachedTokens, ContextUse, Deleted, MlxrAnswer, ReasoningTokens
from router.protocols.fields.logprobs import PositionLogprob
from router.protocols.fields.ranges import ServiceTier
from router.protocols.openai.codex_models import CodexModel
from router.status import WorkerRef

_ObjectT = TypeVar("_ObjectT")
_ChoiceT = TypeVar("_ChoiceT")

# ---- parts -----------------------------------------------------------------------------------------------------------


class ThreadsFrom(AnswerBody, frozen=True):
    """With how many threads an answer was computed from a moment on, ms after its receipt, and why so many."""

    at_ms: float
    n: int
    reason: ThreadsReason


class Timings(AnswerBody, frozen=True, kw_only=True):
    """llama-server's figures and mlxr's; milliseconds and tokens; a rate is null where there is nothing to divide.

    Attributes:
        engine: mlx, llamacpp or upstream:NAME; null = none has it yet.
        worker: Which one computed it; null = none has it yet, or an upstream has it.
        threads: Those of the first answer, each change of them; absent where the engine does not tell.
        cache_growth_ms: How long it waited for a cache that grew; absent where it did not.
        draft_n: Tokens that were drafted; absent where none were.
        draft_n_accepted: Those of them that were drawn.
        context: Of the model's context; absent where the conversation is not kept within it.
        draft_n_model: Those of the drafted ones that a draft model drafted, the others were looked up; absent where it
            drafted none. `draft_n_model_accepted` likewise.
    """

    cache_n: int
    prompt_n: int
    prompt_ms: float
    prompt_per_token_ms: float | None
    prompt_per_second: float | None
    predicted_n: int
    predicted_ms: float
    predicted_per_token_ms: float | None
    predicted_per_second: float | None
    engine: str | None
    engine_reason: EngineReason | None
    worker: WorkerRef | None = None
    load_ms: float
    queue_ms: float
    threads: list[ThreadsFrom] | UnsetType = UNSET
    cache_growth_ms: float | UnsetType = UNSET
    draft_n: int | UnsetType = UNSET
    draft_n_accepted: int | UnsetType = UNSET
    draft_n_model: int | UnsetType = UNSET
    draft_n_model_accepted: int | UnsetType = UNSET
    context: ContextUse | UnsetType = UNSET


class Usage(AnswerBody, frozen=True, kw_only=True):
    """Tokens; every answer counts, every prompt counts once."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens
    completion_tokens_details: ReasoningTokens


class ChatLogprobs(AnswerBody, frozen=True):
    """Log probabilities of a chat's choice."""

    content: list[PositionLogprob]
    refusal: None


class TextLogprobs(AnswerBody, frozen=True, kw_only=True):
    """Log probabilities of a text completion's choice; null for the first token of a prompt that is echoed."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class PromptLogprob(AnswerBody, frozen=True):
    """How likely a token is at one place of the prompt, and how many are at least as likely there."""

    logprob: float
    rank: int
    decoded_token: str


PromptLogprobs = list[dict[str, PromptLogprob] | None]
"""Per token of the prompt: itself, then the likeliest ones at its place, by their ids; null for the first."""


class PromptProgress(AnswerBody, frozen=True, kw_only=True):
    """How far the prompt is, in tokens."""

    total: int
    cache: int
    processed: int
    time_ms: int


class _Choices(AnswerBody, Generic[_ObjectT, _ChoiceT], frozen=True, kw_only=True):
    id: str
    object: _ObjectT
    created: int
    model: str
    service_tier: ServiceTier | UnsetType = UNSET
    choices: list[_ChoiceT]


class _Completion(_Choices[_ObjectT, _ChoiceT], frozen=True, kw_only=True):
    usage: Usage
    timings: Timings
    mlxr: MlxrAnswer | UnsetType = UNSET


class _Chunk(_Choices[_ObjectT, _ChoiceT], frozen=True, kw_only=True):
    usage: Usage | UnsetType | None = UNSET
    timings: Timings | UnsetType = UNSET
    prompt_progress: PromptProgress | UnsetType = UNSET
    context_wound: ContextUse | UnsetType = UNSET
    mlxr: MlxrAnswer | UnsetType = UNSET


# ---- chats -----------------------------------------------------------------------------------------------------------


class CalledFunction(AnswerBody, frozen=True):
    """What is called; the arguments are JSON text."""

    name: str
    arguments: str


class AnswerToolCall(AnswerBody, frozen=True, kw_only=True):
    """A call that the model made."""

    id: str
    type: Literal["function"]
    function: CalledFunction


class AnswerMessage(AnswerBody, frozen=True, kw_only=True):
    """What the model said."""

    role: Literal["assistant"]
    content: str | None
    refusal: None
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[AnswerToolCall] | UnsetType = UNSET


class ChatChoice(AnswerBody, frozen=True, kw_only=True):
    """One answer."""

    index: int
    message: AnswerMessage
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason
    token_ids: list[int] | UnsetType = UNSET


class ChatCompletion(_Completion[Literal["chat.completion"], ChatChoice], frozen=True, kw_only=True):
    """The answer of POST /v1/chat/completions."""

    prompt_logprobs: PromptLogprobs | UnsetType = UNSET
    prompt_token_ids: list[int] | UnsetType = UNSET


class FunctionFragment(AnswerBody, frozen=True, kw_only=True):
    """A piece of a call; the name comes first."""

    name: str | UnsetType = UNSET
    arguments: str


class ToolCallFragment(AnswerBody, frozen=True, kw_only=True):
    """A piece of the call `index`."""

    index: int
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET
    function: FunctionFragment


class Delta(AnswerBody, frozen=True, kw_only=True):
    """What is new."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    reasoning_content: str | UnsetType = UNSET
    tool_calls: list[ToolCallFragment] | UnsetType = UNSET


class ChatChunkChoice(AnswerBody, frozen=True, kw_only=True):
    """What is new of one answer."""

    index: int
    delta: Delta
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason | None
    token_ids: list[int] | UnsetType = UNSET


class ChatChunk(_Chunk[Literal["chat.completion.chunk"], ChatChunkChoice], frozen=True, kw_only=True):
    """One event of a streamed chat; the last one before `[DONE]` has the usage where it was asked for."""

    prompt_token_ids: list[int] | UnsetType = UNSET


# ---- texts -----------------------------------------------------------------------------------------------------------


class TextChoice(AnswerBody, frozen=True, kw_only=True):
    """One text."""

    index: int
    text: str
    logprobs: TextLogprobs | None
    finish_reason: FinishReason
    prompt_logprobs: PromptLogprobs | UnsetType = UNSET
    token_ids: list[int] | UnsetType = UNSET
    prompt_token_ids: list[int] | UnsetType = UNSET


class TextCompletion(_Completion[Literal["text_completion"], TextChoice], frozen=True, kw_only=True):
    """The answer of POST /v1/completions."""


class TextChunkChoice(AnswerBody, frozen=True, kw_only=True):
    """What is new of one text."""

    index: int
    text: str
    logprobs: TextLogprobs | None
    finish_reason: FinishReason | None
    token_ids: list[int] | UnsetType = UNSET
    prompt_token_ids: list[int] | UnsetType = UNSET


class TextChunk(_Chunk[Literal["text_completion"], TextChunkChoice], frozen=True, kw_only=True):
    """One event of a streamed text."""


# ---- others ----------------------------------------------------------------------------------------------------------


class InputTokens(AnswerBody, frozen=True, tag_field="object", tag="response.input_tokens"):
    """How many tokens a prompt has."""

    input_tokens: int


class Embedding(AnswerBody, frozen=True, tag_field="object", tag="embedding"):
    """One vector of length 1: numbers, or float32 in base64."""

    index: int
    embedding: list[float] | str


class EmbeddingUsage(AnswerBody, frozen=True):
    """Tokens of all inputs."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(AnswerBody, frozen=True, kw_only=True, tag_field="object", tag="list"):
    """The answer of POST /v1/embeddings."""

    data: list[Embedding]
    model: str
    usage: EmbeddingUsage
    pooling: Pooling
    mlxr: MlxrAnswer | UnsetType = UNSET


class ModelForm(AnswerBody, frozen=True, kw_only=True):
    """The form of a model that an engine loads, and how its weights are stored.

    `bits_per_weight` are stored bits per parameter; null = the file does not say.
    """

    engine: EngineKind
    quantization: str | None
    bits_per_weight: float | None
    weight_bytes: int


class ModelObject(AnswerBody, frozen=True, kw_only=True):
    """A model, or one with an adapter over it: then `parent` names the model. Contexts are tokens.

    `context_length` is in force: of the load that serves the model, or else of the next; `max_context_length` is what
    the model was made for. `draft` names the model that is set to draft for it on llamacpp; `tags` are
    the words that are set, for which `auto:TAG` may choose it.
    """

    id: str
    object: Literal["model"]
    created: int
    owned_by: Literal["mlxr"]
    engines: list[str]
    forms: list[ModelForm]
    context_length: int | None
    max_context_length: int | None
    input_modalities: list[Literal["text", "image"]]
    output_modalities: list[Literal["text", "embeddings", "scores"]]
    capabilities: list[str]
    aliases: list[str]
    draft: str | None
    tags: list[str]
    parent: str | UnsetType = UNSET


class ModelList(AnswerBody, frozen=True, tag_field="object", tag="list"):
    """All models, and those that Codex can use, as it reads them."""

    data: list[ModelObject]
    models: list[CodexModel]


class DeletedModel(Deleted[Literal["model"]], frozen=True, kw_only=True):
    """A model that is gone."""
