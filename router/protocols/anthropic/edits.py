"""Edits of a conversation before the model is shown it (`context_management`): what they are, and those that clear.

What is cleared is cleared in the prompt alone; the client keeps all of it. Not here: summaries, which `router.context`
makes, and counting.

Source: Anthropic API reference, "Context editing" and "Compaction"; the types of its Python client 2.12.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from backends.wire.prompts import PromptMessage
from router.protocols.fields import ranges
from router.protocols.fields.support import honoured, refused

MAX_INSTRUCTIONS_CHARS: Final = 20_000
CLEARED: Final = "[the result of this call was cleared to save context]"
"""What the model is shown in the place of a result."""

_DEFAULT_TRIGGER: Final = 100_000
"""Input tokens. Source: "Defines when the context editing strategy activates"."""
_DEFAULT_KEPT: Final = 3
_DEFAULT_THINKING_TURNS: Final = 1


class InputTokensValue(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="input_tokens"):
    """Tokens of the prompt."""

    value: ranges.PositiveCount


class ToolUsesValue(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="tool_uses"):
    """Calls of tools."""

    value: Annotated[int, Meta(ge=0, le=1_000_000_000)]


class ThinkingTurns(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="thinking_turns"):
    """Turns of the assistant with thinking."""

    value: ranges.PositiveCount


class AllThinking(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag="all"):
    """All of them."""


class ClearToolUses(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="clear_tool_uses_20250919"):
    """Show the oldest results of tools no more, where there are more than `trigger` says."""

    trigger: InputTokensValue | ToolUsesValue | None = None
    keep: ToolUsesValue | None = None
    clear_at_least: InputTokensValue | None = None
    exclude_tools: list[str] | None = None
    clear_tool_inputs: bool | list[str] | None = None


class ClearThinking(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="clear_thinking_20251015"):
    """Show older thinking no more."""

    keep: ThinkingTurns | AllThinking | Literal["all"] | None = None


class Compact(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="compact_20260112"):
    """Summarise older turns where the prompt has more tokens than `trigger` says, or the context has no room."""

    trigger: InputTokensValue | None = None
    instructions: Annotated[str, Meta(max_length=MAX_INSTRUCTIONS_CHARS)] | None = None
    pause_after_compaction: Annotated[
        bool | None, refused("the answer follows the compaction block at once; leave it out", False)
    ] = None


class Summarize(msgspec.Struct, forbid_unknown_fields=True, tag_field="type", tag="summarize"):
    """Make the whole conversation shorter now, as the answer itself."""

    instructions: Annotated[str, Meta(max_length=MAX_INSTRUCTIONS_CHARS)] | None = None


Edit = ClearToolUses | ClearThinking | Compact


class ContextManagement(msgspec.Struct, forbid_unknown_fields=True):
    """What is done to the conversation before the model is shown it, in this order."""

    edits: Annotated[
        Annotated[list[Edit], Meta(max_length=16)],
        honoured("of type clear_thinking_20251015, clear_tool_uses_20250919 and compact_20260112"),
    ] = []


def cleared_thinking(messages: list[PromptMessage], edit: ClearThinking) -> tuple[list[PromptMessage], int]:
    """Return a conversation without older thinking, and how many turns had some."""
    keep = edit.keep
    if keep == "all" or isinstance(keep, AllThinking):
        return messages, 0
    num_kept = _DEFAULT_THINKING_TURNS if keep is None else keep.value
    thinking = [index for index, message in enumerate(messages) if message.get("reasoning_content")]
    gone = set(thinking[:-num_kept])
    return [_without_thinking(each) if index in gone else each for index, each in enumerate(messages)], len(gone)


def cleared_tool_uses(messages: list[PromptMessage], edit: ClearToolUses) -> tuple[list[PromptMessage], int]:
    """Return a conversation without the oldest results of tools, and how many calls that were.

    Results that the model has not read yet stay, whatever `keep` says.
    """
    num_kept = _DEFAULT_KEPT if edit.keep is None else edit.keep.value
    excluded = edit.exclude_tools or ()
    names = {call["id"]: call["function"]["name"] for call in _calls(messages)}
    read = [call_id for call_id in _read_results(messages) if names.get(call_id) not in excluded]
    unread = sum(message["role"] == "tool" for message in messages[_last_said(messages) + 1 :])
    gone = set(read[: max(0, len(read) - max(0, num_kept - unread))])
    return [_cleared(message, gone, inputs=edit.clear_tool_inputs) for message in messages], len(gone)


def num_tool_uses(messages: Sequence[PromptMessage]) -> int:
    """Return how many calls of tools a conversation has."""
    return sum(1 for _ in _calls(messages))


def trigger_of(edit: ClearToolUses) -> InputTokensValue | ToolUsesValue:
    """Return from when on results of tools are cleared."""
    return edit.trigger or InputTokensValue(_DEFAULT_TRIGGER)


def _calls(messages: Sequence[PromptMessage]) -> Iterator[dict[str, Any]]:
    for message in messages:
        yield from message.get("tool_calls", [])


def _last_said(messages: Sequence[PromptMessage]) -> int:
    return max((index for index, message in enumerate(messages) if message["role"] == "assistant"), default=-1)


def _read_results(messages: Sequence[PromptMessage]) -> list[str]:
    """Return the calls whose results the model has read, by their ids, oldest first."""
    said = messages[: _last_said(messages) + 1]
    return list(dict.fromkeys(message.get("tool_call_id", "") for message in said if message["role"] == "tool"))


def _without_thinking(message: PromptMessage) -> PromptMessage:
    left = message.copy()
    del left["reasoning_content"]
    if left["content"] is None and "tool_calls" not in left:
        left["content"] = ""
    return left


def _cleared(message: PromptMessage, gone: set[str], *, inputs: list[str] | bool | None) -> PromptMessage:
    if message.get("tool_call_id") in gone:
        return {**message, "content": CLEARED}
    calls = message.get("tool_calls", [])
    if not inputs or all(call["id"] not in gone for call in calls):
        return message
    return {**message, "tool_calls": [_without_input(call, gone, inputs=inputs) for call in calls]}


def _without_input(call: dict[str, Any], gone: set[str], *, inputs: list[str] | bool | None) -> dict[str, Any]:
    function = call["function"]
    is_meant = inputs is True or (isinstance(inputs, list) and function["name"] in inputs)
    return {**call, "function": {**function, "arguments": {}}} if is_meant and call["id"] in gone else call
