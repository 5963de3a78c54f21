"""Answers of llama-server's own paths, as they are sent and as the API's document shows them.

Source: llama.cpp, tools/server/README.md.
"""

from collections.abc import Sequence
from typing import Literal

from msgspec import UNSET, UnsetType

from router.protocols.answers import AnswerBody, MlxrAnswer
from router.protocols.openai.answer_schemas import PromptProgress, Timings


class TokenPiece(AnswerBody, frozen=True):
    """A token and what it writes: text, or bytes that are no text by themselves."""

    id: int
    piece: str | list[int]


class Tokenized(AnswerBody, frozen=True):
    """A text's tokens, with their pieces where these were asked for."""

    tokens: Sequence[int | TokenPiece]


class Detokenized(AnswerBody, frozen=True):
    """The text of tokens."""

    content: str


class TemplateApplied(AnswerBody, frozen=True):
    """A conversation as the model's template writes it."""

    prompt: str


class GenerationSettings(AnswerBody, frozen=True, kw_only=True):
    """How tokens are drawn, by llama-server's names; -1 = no limit, a seed of 4294967295 = another one each time."""

    seed: int
    temperature: float
    dynatemp_range: float = 0.0
    dynatemp_exponent: float = 1.0
    top_k: int
    top_p: float
    min_p: float
    top_n_sigma: float = -1.0
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    typical_p: float
    repeat_last_n: int
    repeat_penalty: float
    presence_penalty: float
    frequency_penalty: float
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = -1
    dry_sequence_breakers: tuple[str, ...] = ()
    mirostat: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    stop: list[str]
    max_tokens: int
    n_predict: int
    n_keep: int = 0
    n_discard: int = 0
    ignore_eos: bool
    stream: bool
    logit_bias: list[list[float]]
    n_probs: int
    min_keep: int = 0
    grammar: str
    samplers: list[str]
    timings_per_token: bool
    post_sampling_probs: bool = False
    lora: tuple[str, ...] = ()


class DefaultSettings(AnswerBody, frozen=True):
    """Defaults of requests, and the context in tokens."""

    params: GenerationSettings
    n_ctx: int


class Modalities(AnswerBody, frozen=True):
    """What a model takes beside text."""

    vision: bool
    video: bool
    audio: bool


class Props(AnswerBody, frozen=True, kw_only=True):
    """A model and the defaults of requests."""

    default_generation_settings: DefaultSettings
    total_slots: int
    model_alias: str
    model_path: str
    modalities: Modalities
    media_marker: str
    endpoint_slots: bool
    endpoint_props: bool
    endpoint_metrics: bool
    chat_template: str
    bos_token: str
    eos_token: str
    build_info: str
    is_sleeping: bool


class NextToken(AnswerBody, frozen=True, kw_only=True):
    """How far an answer is."""

    has_next_token: bool
    n_decoded: int
    n_remain: int | UnsetType = UNSET


class Slot(AnswerBody, frozen=True, kw_only=True):
    """A place in the batch; what is not known is left out."""

    id: int
    n_ctx: int
    speculative: bool
    is_processing: bool
    id_task: int | UnsetType = UNSET
    n_prompt_tokens: int | UnsetType = UNSET
    n_prompt_tokens_processed: int | UnsetType = UNSET
    n_prompt_tokens_cache: int | UnsetType = UNSET
    next_token: list[NextToken] | UnsetType = UNSET


# ---- completions -----------------------------------------------------------------------------------------------------


class TokenProbability(AnswerBody, frozen=True):
    """A token and its log probability."""

    id: int
    token: str
    bytes: list[int]
    logprob: float


class PositionProbability(TokenProbability, frozen=True, kw_only=True):
    """A token that was drawn, and the likeliest ones at its place."""

    top_logprobs: list[TokenProbability]


class NativeCompletion(AnswerBody, frozen=True, kw_only=True):
    """The answer of POST /completion and POST /infill, and the last event of its stream."""

    index: int
    content: str
    tokens: list[int]
    id_slot: int
    stop: Literal[True]
    model: str
    tokens_predicted: int
    tokens_evaluated: int
    generation_settings: GenerationSettings
    prompt: str
    has_new_line: bool
    truncated: bool
    stop_type: Literal["none", "eos", "word", "limit"]
    stopping_word: str
    tokens_cached: int
    timings: Timings
    completion_probabilities: list[PositionProbability] | UnsetType = UNSET
    mlxr: MlxrAnswer | UnsetType = UNSET


class NativeCompletionChunk(AnswerBody, frozen=True, kw_only=True):
    """An event of a streamed completion, but the last one."""

    index: int
    content: str
    tokens: list[int]
    stop: Literal[False]
    id_slot: int
    tokens_predicted: int
    tokens_evaluated: int
    timings: Timings | UnsetType = UNSET
    prompt_progress: PromptProgress | UnsetType = UNSET
    completion_probabilities: list[PositionProbability] | UnsetType = UNSET


class NativeEmbedding(AnswerBody, frozen=True):
    """One input's vectors: one, because they are pooled."""

    index: int
    embedding: list[list[float]]


# ---- slots -----------------------------------------------------------------------------------------------------------


class SaveTimings(AnswerBody, frozen=True):
    """Milliseconds."""

    save_ms: float


class RestoreTimings(AnswerBody, frozen=True):
    """Milliseconds."""

    restore_ms: float


class SlotSaved(AnswerBody, frozen=True, kw_only=True):
    """How many tokens a place's cache had, and bytes its file has."""

    id_slot: int
    filename: str
    n_saved: int
    n_written: int
    timings: SaveTimings


class SlotRestored(AnswerBody, frozen=True, kw_only=True):
    """How many tokens and bytes were read."""

    id_slot: int
    filename: str
    n_restored: int
    n_read: int
    timings: RestoreTimings


class SlotErased(AnswerBody, frozen=True, kw_only=True):
    """How many tokens were forgotten."""

    id_slot: int
    n_erased: int
