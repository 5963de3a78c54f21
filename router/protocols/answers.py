"""What the answers of all protocols have in common: their base, pages of lists, and answers that are encoded ahead.

Each answer is one Struct: encoders encode it, the API's document shows it, the client and the tests decode it. A field
that is left out where there is nothing to say is UNSET; one that is null then is None.
"""

from collections.abc import Sequence
from typing import Any, Final, Generic, Literal, Protocol, Self, TypeVar, cast

import msgspec
from msgspec import UNSET, UnsetType

from router.errors import InvalidRequestError
from router.models.targets import Choice, EngineReason
from router.status import WorkerRef
from router.status.contexts import WoundFacts

_encode = msgspec.json.Encoder().encode


class Identified(Protocol):
    """Something with an id."""

    @property
    def id(self) -> str:
        """By which clients name it."""


_T = TypeVar("_T", bound=Identified)
_ObjectT = TypeVar("_ObjectT")


class AnswerBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of answers and their parts."""


def shared_fields(source: object, struct_type: type[msgspec.Struct]) -> dict[str, Any]:
    """Return what an object has of a Struct's fields, by the same names."""
    return {name: getattr(source, name) for name in struct_type.__struct_fields__ if hasattr(source, name)}


class CachedTokens(AnswerBody, frozen=True):
    """Of the prompt's tokens; those of pictures where there are any."""

    cached_tokens: int
    image_tokens: int | UnsetType = UNSET


class ReasoningTokens(AnswerBody, frozen=True):
    """Of the answer's tokens."""

    reasoning_tokens: int


class SeenImage(AnswerBody, frozen=True, kw_only=True):
    """A picture of the prompt: its width and height, and those of what the model was shown, in pixels."""

    original: tuple[int, int]
    seen: tuple[int, int]
    tokens: int
    cached: bool
    encode_ms: float


class ContextUse(AnswerBody, frozen=True, kw_only=True):
    """Of the model's context, in tokens; with an id, GET /v1/mlxr/contexts/ID shows what the model was shown."""

    used: int
    limit: int
    id: str | UnsetType = UNSET
    wound: WoundFacts | UnsetType = UNSET


class MlxrAnswer(AnswerBody, frozen=True, kw_only=True):
    """What only mlxr tells; pictures in the prompt's order, and what `timings` have, where the API has no timings."""

    images: list[SeenImage] | UnsetType = UNSET
    context: ContextUse | UnsetType = UNSET
    engine: str | UnsetType = UNSET
    engine_reason: EngineReason | UnsetType = UNSET
    worker: WorkerRef | UnsetType = UNSET


def told_of_engine(choice: Choice | None, worker: WorkerRef | None) -> MlxrAnswer | UnsetType:
    """Return who served an answer of an API that has no timings; UNSET where nobody did."""
    return UNSET if choice is None else MlxrAnswer(**engine_fields(choice, worker))


def engine_fields(choice: Choice | None, worker: WorkerRef | None) -> dict[str, Any]:
    """Return the fields of `MlxrAnswer` that say who served an answer; none where nobody did."""
    if choice is None:
        return {}
    shown = UNSET if worker is None else worker
    return {"engine": str(choice.target.engine), "engine_reason": choice.reason, "worker": shown}


class Deleted(AnswerBody, Generic[_ObjectT], frozen=True, kw_only=True):
    """Something that is gone."""

    id: str
    object: _ObjectT
    deleted: Literal[True]


class Page(AnswerBody, Generic[_T], frozen=True, tag_field="object", tag="list"):
    """A part of a list of objects with ids."""

    data: list[_T]
    first_id: str | None
    last_id: str | None
    has_more: bool

    @classmethod
    def of(cls, items: Sequence[_T], *, after: str | None, limit: int, missing: str) -> Self:
        """Return the page behind the item with the id `after`, or the first one.

        Args:
            missing: What is said where there is no such item, with `{}` for its id.
        """
        begin = 0
        if after is not None:
            begin = next((index + 1 for index, item in enumerate(items) if item.id == after), -1)
            if begin < 0:
                raise InvalidRequestError(f"after: {missing.format(f'{after!r:.80}')}", "after")
        page = list(items[begin : begin + limit])
        return cls(
            data=page,
            first_id=page[0].id if page else None,
            last_id=page[-1].id if page else None,
            has_more=begin + limit < len(items),
        )


TEXT_PLACE: Final = cast("str", msgspec.Raw(b"\0"))
"""Stands in a Struct for a text that is not there yet; JSON has no such byte."""


class EncodedAhead:
    """What a stream sends with every token: encoded once, around the one text in it that is new each time.

    Args:
        encoded: A Struct's JSON, with `TEXT_PLACE` where the text is to be, as it goes over the wire.
    """

    __slots__ = ("_after", "_before")

    def __init__(self, encoded: bytes) -> None:
        self._before, self._after = encoded.split(b"\0")

    def with_text(self, text: str) -> bytes:
        """Return it with a text in its place."""
        return self._before + _encode(text) + self._after


def sse_event(data: Any, name: str | None = None) -> bytes:
    """Return an event of a stream. Source: WHATWG HTML, section 9.2.6.

    Args:
        data: Anything that msgspec encodes.
    """
    head = b"data: " if name is None else b"event: " + name.encode() + b"\ndata: "
    return head + _encode(data) + b"\n\n"
