"""Messages of the Anthropic API to those that a model's template reads. Pure.

Turns of the same role in a row become one, as Anthropic has it, so that templates which want roles to alternate get
that. Every tool result becomes a message of its own. What comes out for the beginning of a conversation does not hang
on what follows it: the next turn finds its prompt in the cache.
"""

from typing import Any, Final, TypeVar

import msgspec

from backends.wire.prompts import PromptMessage, shown_content
from router.errors import InvalidRequestError
from router.protocols.anthropic.schemas import (
    ContentBlock,
    Message,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)

BILLING_PREFIX: Final = "x-anthropic-billing-header:"
"""Begins a text that Claude Code puts before its system prompt: a label for Anthropic's accounts that is different in
every request, so that no prompt would begin like another. Source: anthropics/claude-code, issue 68900."""
ERROR_PREFIX: Final = "Error: "
"""How a model is told `is_error`, which templates have no place for."""

BlockT = TypeVar("BlockT", bound=ContentBlock)


class PromptMessages(msgspec.Struct, frozen=True):
    """What the template is given.

    Attributes:
        messages: OpenAI-shaped, as `ChatPrompt` wants them.
        continuation: How the answer begins, when the last message is the assistant's; None = it is the user's.
    """

    messages: list[PromptMessage]
    continuation: str | None


def read_messages(messages: list[Message], system: str | list[TextBlock] | None) -> PromptMessages:
    """Return what the template is given."""
    reader = _Reader()
    text = _system_text(system)
    if text:
        reader.turns.append({"role": "system", "content": text})
    for index, message in enumerate(messages):
        reader.read(message, f"messages[{index}]")
    if all(turn["role"] not in {"user", "tool"} for turn in reader.turns):
        raise InvalidRequestError("messages: at least one message of the user is needed", "messages")
    last = reader.turns[-1]
    if last["role"] != "assistant":
        return PromptMessages(reader.turns, None)
    where = f"messages[{len(messages) - 1}]"
    if "tool_calls" in last:
        raise InvalidRequestError(f"{where}: the calls of tools need their results; send them as tool_result", where)
    if "reasoning_content" in last:
        raise InvalidRequestError(
            f"{where}: an answer that is to be continued cannot begin with thinking; send its text only", where
        )
    return PromptMessages(reader.turns[:-1], shown_content(last))


class _Reader:
    """Collects turns; knows the calls that were made."""

    def __init__(self) -> None:
        self.turns: list[PromptMessage] = []
        self._calls: dict[str, str] = {}

    def read(self, message: Message, where: str) -> None:
        """Add one message."""
        content = message.content
        blocks: list[ContentBlock] = [TextBlock(content)] if isinstance(content, str) else content
        match message.role:
            case "assistant":
                self._read_assistant(blocks, where)
            case "user":
                self._read_user(blocks, where)
            case _:
                texts = [_of_kind(block, TextBlock, where, index, "system") for index, block in enumerate(blocks)]
                self.turns.append({"role": "system", "content": _joined(texts)})

    def _read_user(self, blocks: list[ContentBlock], where: str) -> None:
        texts: list[TextBlock] = []
        for index, block in enumerate(blocks):
            if isinstance(block, ToolResultBlock):
                self._add_user_text(texts)
                texts = []
                self.turns.append(self._result(block, f"{where}.content[{index}]"))
            else:
                texts.append(_of_kind(block, TextBlock, where, index, "user"))
        self._add_user_text(texts)
        if not blocks:
            raise InvalidRequestError(f"{where}.content: at least one block is needed", f"{where}.content")

    def _add_user_text(self, texts: list[TextBlock]) -> None:
        if not texts:
            return
        text = _joined(texts)
        if self.turns and self.turns[-1]["role"] == "user":
            text = f"{self.turns.pop()['content']}\n{text}"
        self.turns.append({"role": "user", "content": text})

    def _result(self, block: ToolResultBlock, where: str) -> PromptMessage:
        name = self._calls.get(block.tool_use_id)
        if name is None:
            path = f"{where}.tool_use_id"
            raise InvalidRequestError(f"{path}: no tool_use before it has the id {block.tool_use_id!r:.80}", path)
        content = block.content or ""
        text = content if isinstance(content, str) else _joined(content)
        shown = ERROR_PREFIX + text if block.is_error else text
        return {"role": "tool", "content": shown, "tool_call_id": block.tool_use_id, "name": name}

    def _read_assistant(self, blocks: list[ContentBlock], where: str) -> None:
        turn: PromptMessage = {"role": "assistant", "content": ""}
        if self.turns and self.turns[-1]["role"] == "assistant":
            turn = self.turns.pop()
        for index, block in enumerate(blocks):
            match block:
                case TextBlock(text=text):
                    turn["content"] = f"{turn['content'] or ''}{text}"
                case ThinkingBlock(thinking=thinking):
                    if thinking:
                        turn["reasoning_content"] = turn.get("reasoning_content", "") + thinking
                case RedactedThinkingBlock():
                    pass
                case ToolUseBlock():
                    turn.setdefault("tool_calls", []).append(self._call(block))
                case ToolResultBlock():
                    raise _misplaced("tool_result", f"{where}.content[{index}]", "user")
        if "tool_calls" in turn and not turn["content"]:
            turn["content"] = None
        self.turns.append(turn)

    def _call(self, block: ToolUseBlock) -> dict[str, Any]:
        self._calls[block.id] = block.name
        return {"id": block.id, "type": "function", "function": {"name": block.name, "arguments": block.input}}


def _system_text(system: str | list[TextBlock] | None) -> str:
    if system is None:
        return ""
    if isinstance(system, str):
        first, _, rest = system.partition("\n")
        return rest if first.startswith(BILLING_PREFIX) else system
    return _joined([block for block in system if not block.text.startswith(BILLING_PREFIX)])


def _joined(blocks: list[TextBlock]) -> str:
    return "\n".join(block.text for block in blocks)


def _of_kind(block: ContentBlock, kind: type[BlockT], where: str, index: int, role: str) -> BlockT:
    if isinstance(block, kind):
        return block
    owner = "user" if isinstance(block, ToolResultBlock) else "assistant"
    raise _misplaced(str(type(block).__struct_config__.tag), f"{where}.content[{index}]", owner, role)


def _misplaced(tag: str, path: str, owner: str, role: str = "assistant") -> InvalidRequestError:
    return InvalidRequestError(f"{path}: a {tag} block belongs in a message of the {owner}, not of the {role}", path)
