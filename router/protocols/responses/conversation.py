"""What a request goes on from: the items of the stored responses before it, and those that it refers to by id."""

from typing import Self

import msgspec

from router.errors import InvalidRequestError, StoreUnavailableError
from router.protocols.responses.answer_schemas import Response
from router.protocols.responses.items import Item, ItemReference, ignored_items, question_path, read_items
from router.protocols.responses.schemas import ResponseRequest
from router.stores.conversations import Conversations, StoredResponse


class RequestItems(msgspec.Struct, frozen=True, kw_only=True):
    """The items of one request.

    Attributes:
        root_id: The conversation's first response; None = this request begins it.
        own_paths: Paths of its own items in the body, in their order.
        question: Path of the one that is the question; None = there is none.
        ignored: What was left out of its own, for the client.
    """

    history: list[Item]
    own: list[Item]
    root_id: str | None
    own_paths: tuple[str, ...] = ()
    question: str | None = None
    ignored: tuple[str, ...] = ()

    @property
    def paths(self) -> list[str]:
        """Of all of them, in order."""
        return [*(f"previous_response_id[{index}]" for index in range(len(self.history))), *self.own_paths]

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
        PreviousResponseNotFoundError: What it goes on from is not kept.
        StoreUnavailableError: What is kept cannot be read now.
        InvalidRequestError: An item is not of its form, or refers to one that is not kept.
    """
    own = read_items(request.input)
    history, root_id = await _history(conversations, request.previous_response_id, local)
    found = [
        await _referred(conversations, item, history) if isinstance(item, ItemReference) else item
        for item in own.values()
    ]
    return RequestItems(
        history=history,
        own=found,
        root_id=root_id,
        own_paths=tuple(own),
        question=question_path(request.input),
        ignored=ignored_items(request.input),
    )


def chain_items(chain: tuple[StoredResponse, ...]) -> list[Item]:
    """Return all items of a chain of responses: what each was asked, and what it answered."""
    return [item for response in chain for item in (*response.input_items, *response.output_items)]


async def _history(
    conversations: Conversations, previous_id: str | None, local: LocalConversation | None
) -> tuple[list[Item], str | None]:
    if previous_id is None:
        return [], None
    if local is not None and previous_id == local.response_id:
        return local.items, local.root_id
    chain = await conversations.chain(previous_id)
    if chain[-1].status in {"queued", "in_progress"}:
        raise InvalidRequestError(
            f"previous_response_id: {previous_id} is {chain[-1].status}; wait for its end", "previous_response_id"
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
