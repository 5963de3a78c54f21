"""What is stored of a conversation: itself, its items, and what is known of its answers."""

from typing import Any, Final

import msgspec

MAX_TITLE_CHARS: Final = 60
"""Of a title that is the beginning of what was said."""

IN_PROGRESS: Final = "in_progress"
INCOMPLETE: Final = "incomplete"
Item = dict[str, Any]


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation without its items.

    Attributes:
        conversation_id: `conv_…`.
        owner: Id of the key that it belongs to; None = it is the server's owner's.
        created_at: Seconds since 1970.
        updated_at: When it was used last, seconds since 1970.
        title: Somebody's own, or the beginning of the first message.
        head_item_id: The item that it goes on from; None = it has none.
    """

    conversation_id: str
    owner: str | None = None
    created_at: float
    updated_at: float
    title: str = ""
    is_title_own: bool = False
    metadata: dict[str, str] = {}
    head_item_id: str | None = None
    is_pinned: bool = False
    is_archived: bool = False


class ConversationItem(msgspec.Struct, frozen=True, kw_only=True):
    """An item and its place in the tree.

    Attributes:
        parent_id: The item that it goes on from; None = it is a beginning.
        response_id: The response that it came with, asked or answered; None = it was put in by itself.
        is_output: Whether a model wrote it.
        created_at: Seconds since 1970.
        body: JSON of the item, with its id and its state.
    """

    item_id: str
    parent_id: str | None
    response_id: str | None
    is_output: bool
    created_at: float
    body: str

    @property
    def item(self) -> Item:
        """The item itself."""
        return msgspec.json.decode(self.body, type=Item)


class ConversationAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer within a conversation.

    Attributes:
        after_item_id: The item that it answers; None = there is none.
        status: As a response has it.
        facts: JSON of what was known at its end: model, usage, timings, error.
    """

    response_id: str
    after_item_id: str | None
    created_at: float
    status: str
    facts: str


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A request that goes on with a conversation.

    Attributes:
        after_item_id: The item that it goes on from; None = it is a beginning.
        is_chosen: Whether the client named that item; otherwise it is the head.
        items: What it adds before the answer.
        created_at: Seconds since 1970.
    """

    conversation_id: str
    response_id: str
    after_item_id: str | None
    is_chosen: bool
    items: tuple[Item, ...]
    model: str
    created_at: float

    @property
    def asked_id(self) -> str | None:
        """The item that is answered: the last of its own, or that which it goes on from."""
        return self.items[-1]["id"] if self.items else self.after_item_id


def text_of(item: Item) -> str:
    """Return what an item says, where it is a message, documents included; "" for all others."""
    return "\n".join(part["text"] for part in _parts(item))


def said_in(item: Item) -> str:
    """Return the same with the names of documents in their places."""
    texts = (
        f"[{part['filename'] or 'document'}]" if part["type"] == "input_file" else part["text"] for part in _parts(item)
    )
    return "\n".join(texts)


def _parts(item: Item) -> list[Item]:
    is_message = item.get("type") == "message"
    return [part for part in item["content"] if isinstance(part.get("text"), str)] if is_message else []


def title_from(items: list[Item]) -> str:
    """Return the title that the first words of a person give."""
    said = (said_in(item) for item in items if item.get("role") == "user")
    text = next((text for text in said if text.strip()), "")
    return " ".join(text[: 4 * MAX_TITLE_CHARS].split())[:MAX_TITLE_CHARS]
