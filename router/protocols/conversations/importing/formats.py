"""How programs write their conversations: one reader for each. Pure, and tolerant of what is not there.

Sources: Open WebUI, export of chats; OpenAI, data export, `conversations.json`; LM Studio, `*.conversation.json`;
llama.cpp's page, export of conversations.
"""

import hashlib
from typing import Any, Final

import msgspec

from router.protocols.conversations.exporting import ExportedConversation
from router.protocols.conversations.importing.base import (
    Imported,
    Node,
    Reader,
    UnreadableError,
    chain,
    imported,
    message_node,
)
from router.protocols.conversations.own_schemas import MAX_TITLE_CHARS
from router.protocols.responses.items import fresh_id
from router.stores.conversations import OWN_SOURCE, ConversationAnswer

_MS_PER_S: Final = 1000.0
_LATEST_S: Final = 1e11
"""Times above this are milliseconds: as seconds they would be in the year 5138."""


def reader_for(entry: Any) -> Reader | None:
    """Return what reads a conversation of a file; None = nobody knows its form."""
    if not isinstance(entry, dict):
        return None
    chat = entry.get("chat", entry)
    if isinstance(chat, dict) and isinstance(chat.get("history"), dict):
        return _open_webui
    if isinstance(entry.get("mapping"), dict):
        return _chatgpt
    if isinstance(entry.get("conversation"), dict) and isinstance(entry.get("items"), list):
        return _own
    messages = entry.get("messages")
    if isinstance(messages, list):
        return _llama_cpp if isinstance(entry.get("conv"), dict) else _lm_studio
    return None


def _own(entry: Any) -> Imported:
    try:
        read = msgspec.convert(entry, ExportedConversation)
    except msgspec.ValidationError as exc:
        raise UnreadableError(f"it is no conversation of mlxr's: {exc}") from exc
    # Ids of responses are given anew: they may be somebody else's here.
    renamed: dict[str | None, str] = {}
    nodes = [
        Node(
            node_id=each.item.id,
            parent_id=each.parent_id,
            item=msgspec.to_builtins(each.item),
            created_at=each.created_at,
            response_id=None if each.response_id is None else renamed.setdefault(each.response_id, fresh_id("resp")),
            is_output=each.is_output,
        )
        for each in read.items
    ]
    kept = imported(
        nodes,
        head_id=read.conversation.head_item_id,
        source_id=f"{OWN_SOURCE}{read.conversation.id}",
        title=_title(read.conversation.title) if read.conversation.is_title_own else "",
        created_at=float(read.conversation.created_at),
        is_pinned=read.conversation.is_pinned,
        is_archived=read.conversation.is_archived,
        metadata=read.conversation.metadata,
    )
    answers = [
        ConversationAnswer(
            response_id=renamed[each.response_id],
            after_item_id=each.after_item_id,
            created_at=each.created_at,
            status="incomplete" if each.status == "in_progress" else each.status,
            facts=msgspec.json.encode(each.facts).decode(),
        )
        for each in read.answers
        if each.response_id in renamed
    ]
    return msgspec.structs.replace(kept, answers=answers)


def _open_webui(entry: Any) -> Imported:
    chat = entry.get("chat", entry)
    history = chat["history"]
    nodes = [_node(key, each.get("parentId"), each) for key, each in history["messages"].items()]
    return imported(
        nodes,
        head_id=_id(history.get("currentId")),
        source_id=_source("open-webui", entry.get("id") or chat.get("id"), entry),
        title=_title(chat.get("title") or entry.get("title")),
        created_at=_time(entry.get("created_at") or chat.get("timestamp")),
    )


def _chatgpt(entry: Any) -> Imported:
    nodes = []
    for key, each in entry["mapping"].items():
        message = each.get("message") or {}
        role = (message.get("author") or {}).get("role")
        text = _chatgpt_text(message.get("content") or {})
        nodes.append(
            message_node(str(key), _id(each.get("parent")), role, text, created_at=_time(message.get("create_time")))
        )
    return imported(
        nodes,
        head_id=_id(entry.get("current_node")),
        source_id=_source("chatgpt", entry.get("conversation_id") or entry.get("id"), entry),
        title=_title(entry.get("title")),
        created_at=_time(entry.get("create_time")),
    )


def _chatgpt_text(content: Any) -> str:
    parts = content.get("parts")
    if not isinstance(parts, list):
        return _text(content.get("text"))
    shown = [part if isinstance(part, str) else f"[{part.get('content_type', 'part')}]" for part in parts if part]
    return "\n".join(shown)


def _lm_studio(entry: Any) -> Imported:
    """Versions of a message are siblings; what comes next stands behind the one that was selected."""
    nodes: list[Node] = []
    parent: str | None = None
    for index, message in enumerate(entry["messages"]):
        versions = message.get("versions") or [message]
        selected = min(max(0, int(message.get("currentlySelected") or 0)), len(versions) - 1)
        for number, version in enumerate(versions):
            node_id = f"{index}.{number}"
            nodes.append(message_node(node_id, parent, version.get("role"), _lm_studio_text(version)))
        parent = f"{index}.{selected}"
    return imported(
        nodes,
        head_id=parent,
        source_id=_source("lm-studio", None, entry),
        title=_title(entry.get("name")),
        created_at=_time(entry.get("createdAt")),
    )


def _lm_studio_text(version: Any) -> str:
    steps = version.get("steps")
    if not isinstance(steps, list):
        return _text(version.get("content"))
    blocks = [step for step in steps if step.get("type") == "contentBlock"]
    return "\n".join(text for block in blocks if (text := _text(block.get("content"))))


def _llama_cpp(entry: Any) -> Imported:
    conversation = entry["conv"]
    nodes = [_node(each["id"], each.get("parent"), each) for each in entry["messages"] if each.get("type") != "root"]
    has_places = any(node.parent_id is not None for node in nodes)
    return imported(
        nodes if has_places else chain(nodes),
        head_id=_id(conversation.get("currNode")),
        source_id=_source("llama.cpp", conversation.get("id"), entry),
        title=_title(conversation.get("name")),
        created_at=_time(conversation.get("lastModified")),
    )


def _node(node_id: Any, parent_id: Any, message: Any) -> Node:
    return message_node(
        str(node_id),
        _id(parent_id),
        message.get("role"),
        _text(message.get("content")),
        created_at=_time(message.get("timestamp")),
    )


def _text(content: Any) -> str:
    """Return the text of a content: itself, or its parts'."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(text for part in content if isinstance(part, dict) and (text := _text(part.get("text"))))


def _id(value: Any) -> str | None:
    return None if value in {None, ""} else str(value)


def _time(value: Any) -> float:
    """Return a time in seconds since 1970; 0 where there is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < _LATEST_S * _MS_PER_S:
        return 0.0
    return value / _MS_PER_S if value > _LATEST_S else float(value)


def _title(value: Any) -> str:
    return " ".join(value.split())[:MAX_TITLE_CHARS] if isinstance(value, str) else ""


def _source(program: str, known: Any, entry: Any) -> str:
    """Return by what a conversation is known again: its own id, or else what it says."""
    if not isinstance(known, str) or not known:
        known = hashlib.sha256(msgspec.json.encode(entry)).hexdigest()[:32]
    return f"{program}:{known}"[:512]
