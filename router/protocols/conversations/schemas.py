"""Requests of the Conversations API. Source: OpenAI API reference, "Conversations"."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from router.protocols.responses.schemas import ItemObject

MAX_ADDED: Final = 20
"""Items that one request may add. Source: "You may add up to 20 items at a time."."""

Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]], Meta(max_length=16)
]
AddedItems = Annotated[list[ItemObject], Meta(max_length=MAX_ADDED)]


class ConversationRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/conversations."""

    items: AddedItems | None = None
    metadata: Metadata | None = None


class ConversationUpdate(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/conversations/ID; null = no metadata."""

    metadata: Metadata | None


class ItemsRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Body of POST /v1/conversations/ID/items."""

    items: AddedItems
