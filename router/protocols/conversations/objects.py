"""Conversations as OpenAI's API shows them. Pure."""

from typing import Literal, Self

import msgspec

from router.protocols.answers import AnswerBody, Deleted, Page
from router.protocols.responses.answer_schemas import KeptItem
from router.stores.conversations import Conversation, ConversationItem


class ConversationObject(AnswerBody, frozen=True, kw_only=True):
    """A conversation."""

    id: str
    object: Literal["conversation"]
    created_at: int
    metadata: dict[str, str]

    @classmethod
    def of(cls, kept: Conversation) -> Self:
        """Return what is shown of a conversation."""
        return cls(
            id=kept.conversation_id,
            object="conversation",
            created_at=int(kept.created_at),
            metadata=kept.metadata,
        )


class DeletedConversation(Deleted[Literal["conversation.deleted"]], frozen=True, kw_only=True):
    """A conversation that is gone, with its items."""


class ItemList(Page[KeptItem], frozen=True):
    """Items of a conversation."""


def shown_item(kept: ConversationItem) -> KeptItem:
    """Return an item as it is shown."""
    item: KeptItem = msgspec.json.decode(kept.body, type=KeptItem)
    return item
