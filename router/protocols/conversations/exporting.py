"""Kept conversations as texts to take away: JSON Lines with all branches, Markdown of the one that is shown. Pure.

The first line says what the others are; each of these is one conversation.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from router.protocols.answers import AnswerBody
from router.protocols.conversations.own_schemas import BranchAnswer, BranchItem, ConversationEntry
from router.stores.conversations import Branches, Conversation, ConversationItem
from router.stores.conversations.records import said_in

MARKDOWN: Final = "text/markdown; charset=utf-8"
_NAMES: Final = {"user": "You", "assistant": "Assistant", "system": "System", "developer": "System"}


class ExportHeader(AnswerBody, frozen=True, kw_only=True):
    """The first line of an export."""

    format: Literal["mlxr-conversations"] = "mlxr-conversations"
    version: Literal[1] = 1


class ExportedConversation(AnswerBody, frozen=True, kw_only=True):
    """A line of an export; `narratives`: what models saw instead of older turns, by the ids of compaction items."""

    conversation: ConversationEntry
    items: list[BranchItem]
    answers: list[BranchAnswer]
    narratives: dict[str, str] | UnsetType = UNSET


def header_line() -> bytes:
    """Return the first line."""
    return msgspec.json.encode(ExportHeader()) + b"\n"


def json_line(branches: Branches, narratives: Mapping[str, str]) -> bytes:
    """Return the line of a conversation.

    Args:
        narratives: By ids of compaction items, as far as they are known.
    """
    line = ExportedConversation(
        conversation=ConversationEntry.of(branches.conversation),
        items=[BranchItem.of(each) for each in branches.items],
        answers=[BranchAnswer.of(each) for each in branches.answers],
        narratives=dict(narratives) or UNSET,
    )
    return msgspec.json.encode(line) + b"\n"


def markdown_of(conversation: Conversation, path: list[ConversationItem], narratives: Mapping[str, str]) -> bytes:
    """Return the text of a conversation as it stands; what was thought is left out; arguments as of `json_line`."""
    parts = [f"# {conversation.title or 'Untitled'}\n"]
    parts += [part for each in path if (part := _markdown_of(each.item, narratives))]
    return "\n".join(parts).encode()


def _markdown_of(item: dict[str, Any], narratives: Mapping[str, str]) -> str:
    match item["type"]:
        case "message":
            cut = " (cut off)" if item.get("status") == "incomplete" else ""
            return f"## {_NAMES[item['role']]}{cut}\n\n{said_in(item) or '(no text)'}\n"
        case "function_call" | "custom_tool_call":
            return f"## Call of {item['name']}\n\n{_fenced(item.get('arguments') or item.get('input') or '')}\n"
        case "function_call_output" | "custom_tool_call_output":
            shown = item["output"]
            text = shown if isinstance(shown, str) else "\n".join(part.get("text", "(image)") for part in shown)
            return f"## What it came to\n\n{_fenced(text)}\n"
        case "compaction":
            told = f"the first {item['wound']['turns']} messages" if "wound" in item else "the above"
            narrative = narratives.get(item["id"])
            ending = ".*" if narrative is None else f":*\n\n{_fenced(narrative)}"
            return f"*From here on the model saw a summary of {told}{ending}\n"
    return ""


def _fenced(text: str) -> str:
    """Return a text in a fence that is longer than any within it. Source: CommonMark 0.31, section 4.5."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text}\n{fence}"
