"""Answers of Ollama's API as Structs, for the API's document and for tests, where the code that sends them has none.

Source: Ollama, api/types.go and docs/api.md. `prompt_cached_count`, `engine` and `mlxr` are our own.
"""

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from router.protocols.fields.json_types import JSONObject
from router.protocols.fields.logprobs import PositionLogprob
from router.protocols.ollama.models.listing import ListedModel, LoadedModel

DoneReason = Literal["stop", "length", "load", "unload"]


class _Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all of them have in common."""


class Version(_Answer, frozen=True):
    """Of Ollama's API that is spoken, and of mlxr."""

    version: str
    mlxr: str


class TagsAnswer(_Answer, frozen=True):
    """All models."""

    models: list[ListedModel]


class LoadedAnswer(_Answer, frozen=True):
    """The models that are loaded."""

    models: list[LoadedModel]


class AnswerFunction(_Answer, frozen=True, kw_only=True):
    """What is called; the arguments are an object."""

    index: int
    name: str
    arguments: JSONObject


class AnswerToolCall(_Answer, frozen=True, kw_only=True):
    """A call that the model made."""

    function: AnswerFunction
    id: str | UnsetType = UNSET


class AnswerMessage(_Answer, frozen=True, kw_only=True):
    """What the model said, or a part of it."""

    role: Literal["assistant"]
    content: str
    thinking: str | UnsetType = UNSET
    tool_calls: list[AnswerToolCall] | UnsetType = UNSET


class _Line(_Answer, frozen=True, kw_only=True):
    """What lines of chats and texts share: the last one has counts, and times in nanoseconds."""

    model: str
    created_at: str
    done: bool
    logprobs: list[PositionLogprob] | UnsetType = UNSET
    done_reason: DoneReason | UnsetType = UNSET
    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET
    prompt_cached_count: int | UnsetType = UNSET
    prompt_eval_duration: int | UnsetType = UNSET
    eval_count: int | UnsetType = UNSET
    eval_duration: int | UnsetType = UNSET


class ChatLine(_Line, frozen=True, kw_only=True):
    """One line of a chat's stream, or the whole answer."""

    message: AnswerMessage


class GenerateLine(_Line, frozen=True, kw_only=True):
    """One line of a text's stream, or the whole answer; `context` has prompt and answer as tokens."""

    response: str
    thinking: str | UnsetType = UNSET
    tool_calls: list[AnswerToolCall] | UnsetType = UNSET
    context: list[int] | UnsetType = UNSET


class EmbedAnswer(_Answer, frozen=True, kw_only=True):
    """One vector per input; without input the model was only loaded."""

    model: str
    embeddings: list[list[float]]
    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET


class EmbeddingAnswer(_Answer, frozen=True):
    """The vector of one text; empty where there was none."""

    embedding: list[float]
