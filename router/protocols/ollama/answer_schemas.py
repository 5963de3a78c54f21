"""Answers of Ollama's API, as they are sent and as the API's document shows them.

Source: Ollama, api/types.go and docs/api.md. `prompt_cached_count`, `prompt_computed_count`, `context_wound` and
`mlxr` are our own.
"""

from typing import Literal

from msgspec import UNSET, UnsetType

from router.protocols.answers import AnswerBody, ContextUse, MlxrAnswer
from router.protocols.fields.json_types import JSONObject
from router.protocols.fields.logprobs import PositionLogprob

DoneReason = Literal["stop", "length", "load", "unload"]


class Version(AnswerBody, frozen=True):
    """Of Ollama's API that is spoken, and of mlxr."""

    version: str
    mlxr: str


class AnswerFunction(AnswerBody, frozen=True, kw_only=True):
    """What is called; the arguments are an object."""

    index: int
    name: str
    arguments: JSONObject


class AnswerToolCall(AnswerBody, frozen=True, kw_only=True):
    """A call that the model made."""

    id: str | UnsetType = UNSET
    function: AnswerFunction


class AnswerMessage(AnswerBody, frozen=True, kw_only=True):
    """What the model said, or a part of it."""

    role: Literal["assistant"]
    content: str
    thinking: str | UnsetType = UNSET
    tool_calls: list[AnswerToolCall] | UnsetType = UNSET


class ChatLine(AnswerBody, frozen=True, kw_only=True):
    """One line of a chat's stream, or the whole answer; the last line has counts, and times in nanoseconds."""

    model: str
    created_at: str
    message: AnswerMessage
    done: bool
    logprobs: list[PositionLogprob] | UnsetType = UNSET
    done_reason: DoneReason | UnsetType = UNSET
    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET
    prompt_cached_count: int | UnsetType = UNSET
    prompt_computed_count: int | UnsetType = UNSET
    prompt_eval_duration: int | UnsetType = UNSET
    eval_count: int | UnsetType = UNSET
    eval_duration: int | UnsetType = UNSET
    context_wound: ContextUse | UnsetType = UNSET
    mlxr: MlxrAnswer | UnsetType = UNSET


class GenerateLine(AnswerBody, frozen=True, kw_only=True):
    """One line of a text's stream, or the whole answer; the last line as a chat's, `context` has all of its tokens."""

    model: str
    created_at: str
    response: str
    thinking: str | UnsetType = UNSET
    tool_calls: list[AnswerToolCall] | UnsetType = UNSET
    done: bool
    logprobs: list[PositionLogprob] | UnsetType = UNSET
    done_reason: DoneReason | UnsetType = UNSET
    context: list[int] | UnsetType = UNSET
    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET
    prompt_cached_count: int | UnsetType = UNSET
    prompt_computed_count: int | UnsetType = UNSET
    prompt_eval_duration: int | UnsetType = UNSET
    eval_count: int | UnsetType = UNSET
    eval_duration: int | UnsetType = UNSET
    context_wound: ContextUse | UnsetType = UNSET
    mlxr: MlxrAnswer | UnsetType = UNSET


AnswerLine = ChatLine | GenerateLine


class EmbedAnswer(AnswerBody, frozen=True, kw_only=True):
    """One vector per input; without input the model was only loaded."""

    model: str
    embeddings: list[list[float]]
    total_duration: int | UnsetType = UNSET
    load_duration: int | UnsetType = UNSET
    prompt_eval_count: int | UnsetType = UNSET
    mlxr: MlxrAnswer | UnsetType = UNSET


class EmbeddingAnswer(AnswerBody, frozen=True):
    """The vector of one text; empty where there was none."""

    embedding: list[float]
