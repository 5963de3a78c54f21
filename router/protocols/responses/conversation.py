"""What a request goes on from: a kept conversation or the stored responses before it, and items referred to by id."""

from typing import Self

import msgspec
from msgspec import UNSET

from router.errors import InvalidRequestError, StoreUnavailableError
from router.protocols.responses.answer_schemas import Response
from router.protocols.responses.items import Item, ItemReference, ignored_items, question_path, read_items
from router.protocols.responses.schemas import ConversationPlace, ResponseRequest
from router.stores.conversations import Conversations, StoredResponse


class Place(msgspec.Struct, frozen=True):
    """Where in a kept conversation a request goes on.

    Attributes:
        after_item_id: The item; None = it is a beginning.
        is_chosen: Whether the client named it; otherwise it is the head.
    """

    conversation_id: str
    after_item_id: str | None
    is_chosen: bool


class RequestItems(msgspec.Struct, frozen=True, kw_only=True):
    """The items of one request.

    Attributes:
        root_id: The first of the responses that it goes on from; None = there is none.
        place: In a kept conversation; None = it belongs to none.
        own_paths: Paths of its own items in the body, in their order.
        question: Path of the one that is the question; None = there is none.
        ignored: What was left out of its own, for the client.
    """

    history: list[Item]
    own: list[Item]
    root_id: str | None
    place: Place | None = None
    own_paths: tuple[str, ...] = ()
    question: str | None = None
    ignored: tuple[str, ...] = ()

    @property
    def paths(self) -> list[str]:
        """Of all of them, in order."""
        before = "previous_response_id" if self.place is None else "conversation"
        return [*(f"{before}[{index}]" for index in range(len(self.history))), *self.own_paths]

    @property
    def session_id(self) -> str | None:
        """By what its prompts find their beginnings in the cache."""
        return self.root_id if self.place is None else self.place.conversation_id

    @property
    def all(self) -> list[Item]:
        """All of them, in order."""
        return [*self.history, *self.own]


class LocalConversation(msgspec.Struct, frozen=True, kw_only=True):
    """All that was said up to a response, as one connection remembers it."""

    response_id: str
    root_id: str
    items: list[Item]

    @classmethod
    def of(cls, items: RequestItems, response: Response) -> Self:
        """Return what can be gone on from after a response."""
        output = msgspec.to_builtins(response.output)
        return cls(response_id=response.id, root_id=items.root_id or response.id, items=[*items.all, *output])


async def request_items(
    conversations: Conversations, request: ResponseRequest, local: LocalConversation | None = None
) -> RequestItems:
    """Return the items of a request.

    Args:
        local: A conversation that may be gone on from although it is not stored.

    Raises:
        PreviousResponseNotFoundError: The response that it goes on from is not kept.
        ConversationNotFoundError: Nor is the conversation.
        ConversationItemNotFoundError: That has no such item.
        StoreUnavailableError: What is kept cannot be read now.
        InvalidRequestError: An item is not of its form, or refers to one that is not kept.
    """
    own = read_items(request.input)
    place: Place | None = None
    history: list[Item] = []
    root_id: str | None = None
    if request.conversation is not None:
        place, history = await _in_conversation(conversations, request)
    elif request.previous_response_id is not None:
        history, root_id = await _history(conversations, request.previous_response_id, local)
    found = [
        await _referred(conversations, item, history) if isinstance(item, ItemReference) else item
        for item in own.values()
    ]
    return RequestItems(
        history=history,
        own=found,
        root_id=root_id,
        place=place,
        own_paths=tuple(own),
        question=question_path(request.input),
        ignored=ignored_items(request.input),
    )


def chain_items(chain: tuple[StoredResponse, ...]) -> list[Item]:
    """Return all items of a chain of responses: what each was asked, and what it answered."""
    return [item for response in chain for item in (*response.input_items, *response.output_items)]


async def _in_conversation(conversations: Conversations, request: ResponseRequest) -> tuple[Place, list[Item]]:
    if request.previous_response_id is not None:
        raise InvalidRequestError(
            "previous_response_id and conversation cannot both be sent; conversation has all that was said in it",
            "previous_response_id",
        )
    wanted = request.conversation
    wanted = wanted if isinstance(wanted, ConversationPlace) else ConversationPlace(str(wanted))
    if wanted.after is UNSET:
        path = await conversations.kept.path(wanted.id)
    elif wanted.after is None:
        await conversations.kept.get(wanted.id)
        path = []
    else:
        path = await conversations.kept.path(wanted.id, wanted.after)
    place = Place(wanted.id, path[-1].item_id if path else None, is_chosen=wanted.after is not UNSET)
    return place, [each.item for each in path]


async def _history(
    conversations: Conversations, previous_id: str, local: LocalConversation | None
) -> tuple[list[Item], str | None]:
    if local is not None and previous_id == local.response_id:
        return local.items, local.root_id
    chain = await conversations.chain(previous_id)
    if chain[-1].status in {"queued", "in_progress"}:
        raise InvalidRequestError(
            f"previous_response_id: {previous_id} is {chain[-1].status}; wait for its end", "previous_response_id"
        )
    if (conversation_id := chain[-1].conversation_id) is not None:
        raise InvalidRequestError(
            f"previous_response_id: {previous_id} belongs to a conversation; send conversation: {conversation_id}",
            "previous_response_id",
        )
    return chain_items(chain), chain[-1].root_id


async def _referred(conversations: Conversations, reference: ItemReference, history: list[Item]) -> Item:
    found = next((item for item in history if item["id"] == reference.item_id), None)
    if found is None:
        try:
            found = await conversations.item(reference.item_id)
        except StoreUnavailableError:
            found = None
    if found is None:
        path = f"{reference.where}.id"
        problem = (
            f"{path}: Item with id {reference.item_id!r:.80} not found; items are kept with responses that are stored"
        )
        raise InvalidRequestError(problem, path)
    return found
