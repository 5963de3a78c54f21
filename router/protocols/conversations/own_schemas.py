"""Kept conversations as mlxr's own API shows and changes them: what OpenAI's has no word for. Pure."""

from typing import Annotated, Final, Self

import msgspec
from msgspec import UNSET, Meta, UnsetType

from router.protocols.answers import AnswerBody
from router.protocols.conversations.objects import shown_item
from router.protocols.responses.answer_schemas import AnswerFacts, KeptItem
from router.protocols.responses.schemas import ResponseId
from router.stores.conversations import (
    Conversation,
    ConversationAnswer,
    ConversationItem,
    Found,
    StoredSizes,
)
from router.stores.conversations.words import SnippetPart

MAX_TITLE_CHARS: Final = 200
"""Of a title that somebody gave."""
Title = Annotated[str, Meta(min_length=1, max_length=MAX_TITLE_CHARS)]


class ConversationChange(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of PATCH /v1/mlxr/conversations/ID; a title of null is that of the first message again."""

    title: Title | UnsetType | None = UNSET
    is_pinned: bool | UnsetType = UNSET
    is_archived: bool | UnsetType = UNSET
    head_item_id: ResponseId | UnsetType = UNSET


class Snippet(AnswerBody, frozen=True):
    """Where a query was found: in a message, or for null in the title; its parts, and which of them were looked for."""

    item_id: str | None
    parts: tuple[SnippetPart, ...]


class ConversationEntry(AnswerBody, frozen=True, kw_only=True):
    """A conversation in a list; times are seconds since 1970."""

    id: str
    title: str
    is_title_own: bool
    is_pinned: bool
    is_archived: bool
    created_at: int
    updated_at: float
    owner: str | None
    head_item_id: str | None
    metadata: dict[str, str]
    snippet: Snippet | UnsetType = UNSET

    @classmethod
    def of(cls, kept: Conversation) -> Self:
        """Return what is shown of a conversation."""
        return cls(
            id=kept.conversation_id,
            title=kept.title,
            is_title_own=kept.is_title_own,
            is_pinned=kept.is_pinned,
            is_archived=kept.is_archived,
            created_at=int(kept.created_at),
            updated_at=kept.updated_at,
            owner=kept.owner,
            head_item_id=kept.head_item_id,
            metadata=kept.metadata,
        )

    @classmethod
    def found(cls, hit: Found) -> Self:
        """Return the same of one that was searched for."""
        return msgspec.structs.replace(cls.of(hit.conversation), snippet=Snippet(hit.item_id, hit.parts))


class ConversationList(AnswerBody, frozen=True, kw_only=True):
    """Body of GET /v1/mlxr/conversations."""

    conversations: list[ConversationEntry]
    has_more: bool


class BranchItem(AnswerBody, frozen=True, kw_only=True):
    """An item and its place in the tree; `response_id` = it was asked or answered in that response."""

    parent_id: str | None
    response_id: str | None
    is_output: bool
    created_at: float
    item: KeptItem

    @classmethod
    def of(cls, kept: ConversationItem) -> Self:
        """Return what is shown of an item."""
        return cls(
            parent_id=kept.parent_id,
            response_id=kept.response_id,
            is_output=kept.is_output,
            created_at=kept.created_at,
            item=shown_item(kept),
        )


class BranchAnswer(AnswerBody, frozen=True, kw_only=True):
    """What is known of an answer; one that is `in_progress` can be followed by its `response_id`."""

    response_id: str
    after_item_id: str | None
    created_at: float
    status: str
    facts: AnswerFacts

    @classmethod
    def of(cls, kept: ConversationAnswer) -> Self:
        """Return what is shown of an answer."""
        return cls(
            response_id=kept.response_id,
            after_item_id=kept.after_item_id,
            created_at=kept.created_at,
            status=kept.status,
            facts=msgspec.json.decode(kept.facts, type=AnswerFacts),
        )


class ConversationTree(AnswerBody, frozen=True, kw_only=True):
    """Body of GET /v1/mlxr/conversations/ID: all branches, items in the order in which they came."""

    conversation: ConversationEntry
    items: list[BranchItem]
    answers: list[BranchAnswer]


class ConversationSizes(AnswerBody, frozen=True, kw_only=True):
    """Body of GET /v1/mlxr/conversations/sizes: what the caller sees, and for administrators the database's files."""

    num_conversations: int
    num_items: int
    num_bytes: int
    num_responses: int
    response_bytes: int
    file_bytes: int | UnsetType = UNSET

    @classmethod
    def of(cls, sizes: StoredSizes) -> Self:
        """Return what is shown of them."""
        return cls(
            **{name: getattr(sizes, name) for name in sizes.__struct_fields__ if name != "file_bytes"},
            file_bytes=UNSET if sizes.file_bytes is None else sizes.file_bytes,
        )


class DeletedConversations(AnswerBody, frozen=True):
    """Body of DELETE /v1/mlxr/conversations."""

    num_deleted: int


class ImportProblem(AnswerBody, frozen=True, kw_only=True):
    """A conversation that was not imported, and why."""

    name: str
    reason: str


class ImportReport(AnswerBody, frozen=True, kw_only=True):
    """Body of POST /v1/mlxr/conversations/import; of problems the first hundred."""

    num_imported: int
    num_known: int
    num_failed: int
    problems: list[ImportProblem]
