"""Answers of llama-server's introspection, as they are sent and as the API's document shows them.

Source: llama.cpp, tools/server/README.md.
"""

from collections.abc import Sequence

from msgspec import UNSET, UnsetType

from router.protocols.answers import AnswerBody


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


class DefaultParams(AnswerBody, frozen=True, kw_only=True):
    """Defaults of requests, by llama-server's names; -1 = no limit."""

    n_predict: int
    max_tokens: int
    temperature: float
    top_k: int
    top_p: float
    min_p: float
    repeat_penalty: float
    stop: list[str]


class DefaultSettings(AnswerBody, frozen=True):
    """Defaults of requests, and the context in tokens."""

    params: DefaultParams
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
