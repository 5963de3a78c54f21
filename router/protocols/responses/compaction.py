"""What responses tell of a conversation that was wound: an item for the client to go on with, or one that only says so.

A request whose `context_management` asks for compactions gets an item that stands for all before it. Elsewhere the wind
is an item of what is kept alone, so that the history says it and is not rewritten.
"""

from msgspec import UNSET

from router.protocols.fields.carried import CarriedContext, carried_of
from router.protocols.fields.context import context_of
from router.protocols.responses.answer_schemas import CompactionItem
from router.protocols.responses.head import ResponseHead
from router.requests.generation import Generation


def compaction_items(head: ResponseHead, generation: Generation) -> list[CompactionItem]:
    """Return the item that the output begins with, if its request asks for such and its conversation was wound."""
    carried = carried_of(generation) if head.request.context_management else None
    return [] if carried is None else [compaction_item(head, generation, carried)]


def wind_items(head: ResponseHead, generation: Generation) -> list[CompactionItem]:
    """Return the item by which what is kept says that the conversation was wound, unless it says so already."""
    kept = generation.kept
    if kept is None or kept.wound is None or head.request.context_management:
        return []
    if any(item.get("context_id") == kept.context_id for item in head.items.all if item["type"] == "compaction"):
        return []
    return [compaction_item(head, generation, CarriedContext(context_id=kept.context_id, messages=[], covered=[]))]


def compaction_item(head: ResponseHead, generation: Generation, carried: CarriedContext) -> CompactionItem:
    """Return an item that stands for a conversation, or says that it was wound."""
    context = context_of(generation.context)
    return CompactionItem(
        id=f"cmp_{head.response_id.removeprefix('resp_')}",
        encrypted_content=carried.encoded(),
        created_by="mlxr",
        context_id=carried.context_id or UNSET,
        wound=UNSET if context is UNSET else context.wound,
    )
