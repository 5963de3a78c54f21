"""A conversation as it was read from a file: a tree of messages, whoever wrote it. Pure."""

from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from router.protocols.responses.items import fresh_id
from router.stores.conversations import ConversationAnswer, ConversationItem
from router.stores.conversations.records import Item

MAX_NODES: Final = 20_000
"""Messages of one conversation."""
MAX_DEPTH: Final = 10_000
"""Messages behind one another, as many as a request may have."""
_ROLES: Final = ("user", "assistant", "system", "developer")


class UnreadableError(ValueError):
    """A conversation cannot be read; its words are for the user."""


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A message and its place.

    Attributes:
        node_id: Of its own file.
        item: What is kept of it; None = nothing, and what is behind it goes on from its parent.
    """

    node_id: str
    parent_id: str | None
    item: Item | None
    created_at: float
    response_id: str | None = None
    is_output: bool = False


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation of a file.

    Attributes:
        source_id: By which it is known when it comes again.
        title: "" = it has none.
        created_at: Seconds since 1970; 0 = not known.
        items: Parents before their children.
        answers: What was known of answers.
    """

    source_id: str
    title: str
    created_at: float
    head_item_id: str | None
    items: list[ConversationItem]
    answers: list[ConversationAnswer] = []
    is_pinned: bool = False
    is_archived: bool = False
    metadata: dict[str, str] = {}


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation that was not imported, and why."""

    name: str
    reason: str


def message_node(node_id: str, parent_id: str | None, role: object, text: str, *, created_at: float = 0.0) -> Node:
    """Return the node of a message of one text; one of another role, or without a text, is not kept."""
    is_answer = role == "assistant"
    item: Item | None = None
    if role in _ROLES and text.strip():
        part = {"type": "output_text", "text": text, "annotations": []}
        content = [part if is_answer else {"type": "input_text", "text": text}]
        item = {"id": fresh_id("msg"), "type": "message", "role": role, "status": "completed", "content": content}
    return Node(node_id=node_id, parent_id=parent_id, item=item, created_at=created_at, is_output=is_answer)


def chain(nodes: Iterable[Node]) -> list[Node]:
    """Return nodes that stand behind one another in a file, as a tree of one branch."""
    linked: list[Node] = []
    for node in nodes:
        linked.append(msgspec.structs.replace(node, parent_id=linked[-1].node_id if linked else None))
    return linked


def imported(nodes: list[Node], *, head_id: str | None, **facts: Any) -> Imported:
    """Return the conversation of some nodes.

    Args:
        head_id: The node that is shown; None = the newest of those that nothing is behind.

    Raises:
        UnreadableError: They are too many, too deep, or go round in a circle; or nothing is to be kept of them.
    """
    if len(nodes) > MAX_NODES:
        raise UnreadableError(f"it has more than {MAX_NODES} messages")
    by_id = {node.node_id: node for node in nodes}
    if len(by_id) < len(nodes):
        raise UnreadableError("two of its messages have the same id")
    places: dict[str, str | None] = {}
    items: list[ConversationItem] = []
    for node in _parents_first(nodes, by_id):
        above = None if node.parent_id is None else places.get(node.parent_id)
        places[node.node_id] = above
        if node.item is not None:
            places[node.node_id] = node.item["id"]
            items.append(_item_of(node, above))
    if not items:
        raise UnreadableError("it has no messages with texts")
    head = places.get(head_id) if head_id is not None else None
    return Imported(items=items, head_item_id=head or _newest_leaf(items), **facts)


def _parents_first(nodes: list[Node], by_id: dict[str, Node]) -> list[Node]:
    """Return nodes so that none comes before its parent; in their own order, where that is such a one."""
    children: dict[str | None, list[Node]] = {}
    for node in nodes:
        known = node.parent_id if node.parent_id in by_id else None
        children.setdefault(known, []).append(node)
    found: list[Node] = []
    level = children.get(None, [])
    for _ in range(MAX_DEPTH):
        if not level:
            break
        found += level
        level = [child for node in level for child in children.get(node.node_id, [])]
    if len(found) < len(nodes):
        raise UnreadableError("its messages go round in a circle, or are too deep")
    places = {node.node_id: number for number, node in enumerate(nodes)}
    is_ordered = all(places.get(node.parent_id or "", -1) < number for number, node in enumerate(nodes))
    return nodes if is_ordered else found


def _item_of(node: Node, parent_id: str | None) -> ConversationItem:
    return ConversationItem(
        item_id=node.item["id"] if node.item is not None else "",
        parent_id=parent_id,
        response_id=node.response_id,
        is_output=node.is_output,
        created_at=node.created_at,
        body=msgspec.json.encode(node.item).decode(),
    )


def _newest_leaf(items: list[ConversationItem]) -> str:
    parents = {item.parent_id for item in items}
    leaves = [item for item in items if item.item_id not in parents]
    return max(reversed(leaves), key=lambda item: item.created_at).item_id


Reader = Callable[[Any], Imported]
"""From one conversation of a file to what is to be kept of it; whatever it raises means that it cannot be read."""
