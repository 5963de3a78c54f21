"""Routes of the Conversations API: conversations, and the items that lead to their heads.

Source: OpenAI API reference, "Conversations"; a conversation that is deleted takes its items along here.
"""

from typing import Final, Literal

from litestar.params import FromPath
from litestar.types import ASGIApp

from router.errors import InvalidRequestError, UnsupportedFieldError
from router.http.asgi import json_reply
from router.http.caller import Scope
from router.http.ignored import leave_out
from router.http.streaming import until_disconnect
from router.protocols.conversations.api import CONVERSATIONS_API
from router.protocols.conversations.deleting import end_answers
from router.protocols.conversations.objects import ConversationObject, DeletedConversation, ItemList, shown_item
from router.protocols.conversations.schemas import ConversationRequest, ConversationUpdate, ItemsRequest
from router.protocols.endpoint import Parameter
from router.protocols.fields.support import decode_body
from router.protocols.parts import AnyRequest, ConversationsPart, ServingPart
from router.protocols.queries import AFTER, ORDER, is_newest_first, known_parameters, limit_in, page_limit
from router.protocols.responses.answer_schemas import KeptItem
from router.protocols.responses.files import read_files
from router.protocols.responses.items import (
    Item,
    ItemReference,
    fresh_id,
    ignored_items,
    question_path,
    read_items,
)
from router.protocols.serving import RequestService
from router.stores.conversations import Conversations

_MAX_PAGE: Final = 100
_ALL: Final = "/v1/conversations"
_ONE: Final = f"{_ALL}/{{conversation_id:str}}"
_ITEMS: Final = f"{_ONE}/items"
_ITEM: Final = f"{_ITEMS}/{{item_id:str}}"
_INCLUDE: Final = Parameter(
    name="include",
    type=Literal["message.output_text.logprobs", "reasoning.encrypted_content"],
    what="Without effect: what is kept is shown.",
)


@CONVERSATIONS_API.post(_ALL, ConversationObject, body=ConversationRequest, scope=Scope.INFERENCE, is_private=True)
async def create_conversation(request: AnyRequest, serving: ServingPart, conversations: ConversationsPart) -> ASGIApp:
    """Begin a conversation that is kept until it is deleted."""
    body = decode_body(await serving.read_raw(request) or b"{}", ConversationRequest)
    items = await _items_of(request, serving, conversations, body.items or [])
    return json_reply(
        ConversationObject.of(await conversations.kept.create(fresh_id("conv"), body.metadata or {}, items))
    )


@CONVERSATIONS_API.get(_ONE, ConversationObject, scope=Scope.INFERENCE, is_private=True)
async def get_conversation(conversation_id: FromPath[str], conversations: ConversationsPart) -> ASGIApp:
    """Return a conversation."""
    return json_reply(ConversationObject.of(await conversations.kept.get(conversation_id)))


@CONVERSATIONS_API.post(_ONE, ConversationObject, body=ConversationUpdate, scope=Scope.INFERENCE, is_private=True)
async def update_conversation(
    request: AnyRequest, conversation_id: FromPath[str], serving: ServingPart, conversations: ConversationsPart
) -> ASGIApp:
    """Set a conversation's metadata."""
    body = decode_body(await serving.read_raw(request), ConversationUpdate)
    changed = await conversations.kept.change(conversation_id, metadata=body.metadata or {})
    return json_reply(ConversationObject.of(changed))


@CONVERSATIONS_API.delete(_ONE, DeletedConversation, scope=Scope.INFERENCE, is_private=True)
async def delete_conversation(
    conversation_id: FromPath[str], serving: ServingPart, conversations: ConversationsPart
) -> ASGIApp:
    """Forget a conversation with its items and their responses; answers that run in it are ended."""
    end_answers(serving, await conversations.kept.delete(conversation_id))
    return json_reply(DeletedConversation(id=conversation_id, object="conversation.deleted", deleted=True))


@CONVERSATIONS_API.post(_ITEMS, ItemList, body=ItemsRequest, query=(_INCLUDE,), scope=Scope.INFERENCE, is_private=True)
async def create_items(
    request: AnyRequest, conversation_id: FromPath[str], serving: ServingPart, conversations: ConversationsPart
) -> ASGIApp:
    """Put items behind a conversation's head."""
    known_parameters(request, "include", "include[]")
    body = decode_body(await serving.read_raw(request), ItemsRequest)
    added = await conversations.kept.add(conversation_id, await _items_of(request, serving, conversations, body.items))
    shown = [shown_item(each) for each in added]
    return json_reply(ItemList.of(shown, after=None, limit=max(1, len(shown)), missing=""))


@CONVERSATIONS_API.get(
    _ITEMS, ItemList, query=(AFTER, _INCLUDE, page_limit(_MAX_PAGE), ORDER), scope=Scope.INFERENCE, is_private=True
)
async def list_items(request: AnyRequest, conversation_id: FromPath[str], conversations: ConversationsPart) -> ASGIApp:
    """List what a conversation has up to its head."""
    given = known_parameters(request, "after", "include", "include[]", "limit", "order")
    limit, newest_first = limit_in(given, most=_MAX_PAGE, default=20), is_newest_first(given)
    path = await conversations.kept.path(conversation_id)
    items = [shown_item(each) for each in (path[::-1] if newest_first else path)]
    missing = "there is no item {} in this conversation"
    return json_reply(ItemList.of(items, after=given.get("after"), limit=limit, missing=missing))


@CONVERSATIONS_API.get(_ITEM, KeptItem, query=(_INCLUDE,), scope=Scope.INFERENCE, is_private=True)
async def get_item(
    request: AnyRequest, conversation_id: FromPath[str], item_id: FromPath[str], conversations: ConversationsPart
) -> ASGIApp:
    """Return an item of a conversation, of whatever branch."""
    known_parameters(request, "include", "include[]")
    return json_reply(shown_item(await conversations.kept.item(conversation_id, item_id)))


@CONVERSATIONS_API.delete(_ITEM, ConversationObject, scope=Scope.INFERENCE, is_private=True)
async def delete_item(
    conversation_id: FromPath[str], item_id: FromPath[str], conversations: ConversationsPart
) -> ASGIApp:
    """Forget an item; what is behind it stays."""
    return json_reply(ConversationObject.of(await conversations.kept.delete_item(conversation_id, item_id)))


async def _items_of(
    request: AnyRequest, serving: RequestService, conversations: Conversations, sent: list[dict[str, object]]
) -> list[Item]:
    """Return items in the form in which they are kept.

    Raises:
        InvalidRequestError: One is not of its form, or refers to one that is not kept.
    """
    for path in ignored_items(sent, "items"):
        leave_out(path, UnsupportedFieldError(f"{path} is not shown to models here; leave it out", path))
    items: dict[str, Item] = {}
    for path, item in read_items(sent, "items").items():
        if isinstance(item, ItemReference):
            found = await conversations.item(item.item_id)
            if found is None:
                raise InvalidRequestError(f"{path}.id: Item with id {item.item_id!r:.80} not found", f"{path}.id")
            items[path] = found
        else:
            items[path] = item
    reading = read_files(serving.documents, list(items.values()), list(items), question_path(sent, "items"))
    await until_disconnect(request.receive, reading)
    return list(items.values())


ROUTES: Final = (
    create_conversation,
    get_conversation,
    update_conversation,
    delete_conversation,
    create_items,
    list_items,
    get_item,
    delete_item,
)
