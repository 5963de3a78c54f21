"""Messages of the Anthropic API to those that a model's template reads. Pure.

Turns of the same role in a row become one, as Anthropic has it, so that templates which want roles to alternate get
that. Every tool result becomes a message of its own. What comes out for the beginning of a conversation does not hang
on what follows it: the next turn finds its prompt in the cache.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from backends.wire.prompts import ContentPart, PromptMessage, TextPart, shown_content
from router.context.narrative import framed
from router.context.turns import is_pinned
from router.documents.kinds import document_name
from router.documents.quoting import quoted_document
from router.errors import InvalidRequestError, UnsupportedFieldError
from router.http.body import convert_part
from router.http.ignored import leave_out
from router.protocols.anthropic.images import IMAGE, question_of
from router.protocols.anthropic.schemas import (
    CompactionBlock,
    DocumentBlock,
    Message,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from router.protocols.fields.call_arguments import call_arguments
from router.protocols.fields.carried import carried_context, is_carried
from router.protocols.fields.unseen import in_words
from router.protocols.images.read import NO_IMAGES, ReadImages, joined, parts_of

BILLING_PREFIX: Final = "x-anthropic-billing-header:"
"""Begins a text that Claude Code puts before its system prompt: a label for Anthropic's accounts that is different in
every request, so that no prompt would begin like another. Source: anthropics/claude-code, issue 68900."""
ERROR_PREFIX: Final = "Error: "
"""How a model is told `is_error`, which templates have no place for."""

Block = (
    TextBlock
    | ThinkingBlock
    | RedactedThinkingBlock
    | ToolUseBlock
    | ToolResultBlock
    | DocumentBlock
    | CompactionBlock
    | dict[str, Any]
)
"""A block that was read; as an object, one that the model can at most be told of."""

_FORMS: Final[dict[str, Any]] = {
    "text": TextBlock,
    "thinking": ThinkingBlock,
    "redacted_thinking": RedactedThinkingBlock,
    "tool_use": ToolUseBlock,
    "tool_result": ToolResultBlock,
    "document": DocumentBlock,
    "compaction": CompactionBlock,
}
_UPLOAD: Final = "container_upload"
"""A file for code that Anthropic's servers run; a question may hang on it."""
_UNREAD: Final = "it has no text that is read here"


class PromptMessages(msgspec.Struct, frozen=True):
    """What the template is given.

    Attributes:
        messages: OpenAI-shaped, as `ChatPrompt` wants them.
        continuation: How the answer begins, when the last message is the assistant's; None = it is the user's.
    """

    messages: list[PromptMessage]
    continuation: str | None


def read_messages(
    messages: list[Message], system: str | list[TextBlock] | None, images: ReadImages = NO_IMAGES
) -> PromptMessages:
    """Return what the template is given."""
    reader = _Reader(question_of(messages), images)
    text = _system_text(system)
    if text:
        reader.turns.append({"role": "system", "content": text})
    for index, message in enumerate(messages):
        reader.read(message, index)
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
    """Collects turns; knows the calls that were made.

    Args:
        question: Number of the user's last message that is more than results of tools.
    """

    def __init__(self, question: int, images: ReadImages) -> None:
        self.turns: list[PromptMessage] = []
        self._question = question
        self._images = images
        self._calls: dict[str, str] = {}

    def read(self, message: Message, index: int) -> None:
        """Add one message."""
        where = f"messages[{index}]"
        content = message.content
        if content is None and message.role != "assistant":
            raise InvalidRequestError(f"{where}.content: a text is needed", f"{where}.content")
        if isinstance(content, list):
            blocks = [_block(raw, f"{where}.content[{at}]") for at, raw in enumerate(content)]
        else:
            blocks = [TextBlock(content or "")]
        match message.role:
            case "assistant":
                self._read_assistant(blocks, where)
            case "user":
                self._read_user(blocks, where, is_question=index == self._question)
            case _:
                for at, block in enumerate(blocks):
                    if not isinstance(block, TextBlock):
                        raise _misplaced(block, f"{where}.content[{at}]", "system")
                self.turns.append({"role": "system", "content": self._joined(blocks, where)})

    def _read_user(self, blocks: list[Block], where: str, *, is_question: bool) -> None:
        parts: list[ContentPart] = []
        for index, block in enumerate(blocks):
            path = f"{where}.content[{index}]"
            if isinstance(block, ToolResultBlock):
                self._add_user_parts(parts)
                parts = []
                self.turns.append(self._result(block, path))
            elif isinstance(block, ThinkingBlock | RedactedThinkingBlock | ToolUseBlock | CompactionBlock):
                raise _misplaced(block, path, "user")
            else:
                parts += self._parts(block, path, is_question=is_question)
        self._add_user_parts(parts)
        if not blocks:
            raise InvalidRequestError(f"{where}.content: at least one block is needed", f"{where}.content")

    def _add_user_parts(self, parts: list[ContentPart]) -> None:
        if not parts:
            return
        if self.turns and self.turns[-1]["role"] == "user":
            before = self.turns.pop()["content"]
            parts = [*(before if isinstance(before, list) else [TextPart(before or "")]), *parts]
        self.turns.append({"role": "user", "content": joined(parts)})

    def _parts(self, block: Block, where: str, *, is_question: bool = False) -> list[ContentPart]:
        """Return what stands for a block in the conversation: a document's pictures stand behind its text."""
        if isinstance(block, dict) and block.get("type") == IMAGE:
            return [self._images.at(where, IMAGE)]
        text = TextPart(_text_of(block, where, is_question=is_question))
        if not isinstance(block, DocumentBlock):
            return [text]
        within = block.source.get("content")
        pictures = [
            self._images.at(f"{where}.source.content[{index}]", IMAGE)
            for index, each in enumerate(within if isinstance(within, list) else ())
            if isinstance(each, dict) and each.get("type") == IMAGE
        ]
        return [text, *pictures]

    def _joined(self, blocks: Sequence[Block], where: str) -> str | list[ContentPart]:
        places = (f"{where}.content[{index}]" for index in range(len(blocks)))
        return joined([part for block, place in zip(blocks, places, strict=True) for part in self._parts(block, place)])

    def _result(self, block: ToolResultBlock, where: str) -> PromptMessage:
        name = self._calls.get(block.tool_use_id)
        if name is None:
            path = f"{where}.tool_use_id"
            raise InvalidRequestError(f"{path}: no tool_use before it has the id {block.tool_use_id!r:.80}", path)
        shown: str | list[ContentPart] = block.content or "" if not isinstance(block.content, list) else ""
        if isinstance(block.content, list):
            read = [_block(raw, f"{where}.content[{index}]") for index, raw in enumerate(block.content)]
            shown = self._joined(read, where)
        if block.is_error:
            shown = ERROR_PREFIX + shown if isinstance(shown, str) else [TextPart(ERROR_PREFIX.strip()), *shown]
        return {"role": "tool", "content": shown, "tool_call_id": block.tool_use_id, "name": name}

    def _read_assistant(self, blocks: list[Block], where: str) -> None:
        turn = _empty_answer()
        if self.turns and self.turns[-1]["role"] == "assistant":
            turn = self.turns.pop()
        for index, block in enumerate(blocks):
            match block:
                case ThinkingBlock(thinking=thinking):
                    if thinking:
                        turn["reasoning_content"] = turn.get("reasoning_content", "") + thinking
                case RedactedThinkingBlock():
                    pass
                case ToolUseBlock():
                    turn.setdefault("tool_calls", []).append(self._call(block))
                case CompactionBlock():
                    is_followed = index < len(blocks) - 1
                    turn = self._compacted(block, f"{where}.content[{index}]", turn, is_followed=is_followed)
                case ToolResultBlock():
                    raise _misplaced(block, f"{where}.content[{index}]", "assistant")
                case _:
                    for part in self._parts(block, f"{where}.content[{index}]"):
                        turn["content"] = _followed(turn["content"], part)
        self._add_answer(turn, has_compaction=any(isinstance(block, CompactionBlock) for block in blocks))

    def _add_answer(self, turn: PromptMessage, *, has_compaction: bool) -> None:
        if "tool_calls" in turn and not turn["content"]:
            turn["content"] = None
        if turn != _empty_answer() or not has_compaction:
            self.turns.append(turn)

    def _compacted(
        self, block: CompactionBlock, where: str, turn: PromptMessage, *, is_followed: bool
    ) -> PromptMessage:
        """Put a block in the place of all before it; return the assistant's turn that goes on behind it.

        One without a summary is that of a server that failed to make one: it stands for nothing. What it covers is
        not looked at: where edits had cleared results, that is not what clients send back.

        Args:
            is_followed: Whether there are blocks behind it in its message.
        """
        if block.encrypted_content is not None and (is_carried(block.encrypted_content) or not block.content):
            standing = carried_context(block.encrypted_content, f"{where}.encrypted_content").standing
            self._calls |= {call["id"]: call["function"]["name"] for call in _calls_in(standing)}
        else:
            behind: list[PromptMessage] = [_empty_answer()] if is_followed else []
            standing = framed(block.content, behind) if block.content else []
        if not standing:
            return turn
        self.turns = [*(each for each in self.turns if is_pinned(each)), *standing]
        return self.turns.pop() if self.turns[-1]["role"] == "assistant" else _empty_answer()

    def _call(self, block: ToolUseBlock) -> dict[str, Any]:
        self._calls[block.id] = block.name
        function = {"name": block.name, "arguments": call_arguments(block.input)}
        return {"id": block.id, "type": "function", "function": function}


def _empty_answer() -> PromptMessage:
    return {"role": "assistant", "content": ""}


def _calls_in(turns: Sequence[PromptMessage]) -> Iterator[dict[str, Any]]:
    for turn in turns:
        yield from turn.get("tool_calls", [])


def _block(raw: dict[str, Any], where: str) -> Block:
    """Read a block; one that is no text, call, result or thought stays as it was sent."""
    kind = raw.get("type")
    if not isinstance(kind, str):
        raise InvalidRequestError(f"{where}.type: a text is needed, such as text", f"{where}.type")
    form = _FORMS.get(kind)
    return raw if form is None else convert_part(raw, form, where)


def _text_of(block: Block, where: str, *, is_question: bool = False) -> str:
    """Return what stands for a block in the conversation."""
    if isinstance(block, TextBlock):
        return block.text
    if isinstance(block, DocumentBlock):
        return _document_text(block, where, is_question=is_question)
    kind = str(_raw(block).get("type"))
    if is_question and kind == _UPLOAD:
        raise UnsupportedFieldError(
            f"{where}: {kind} blocks are not understood, because nothing runs here; send it as a document block",
            f"{where}.type",
        )
    raw = _raw(block)
    shown = raw.get("content") if kind == "search_result" else raw.get("tool_name")
    if isinstance(shown, list):
        shown = "\n".join(
            each["text"] for each in shown if isinstance(each, dict) and isinstance(each.get("text"), str)
        )
    return shown if isinstance(shown, str) and shown else in_words(kind, where)


def _document_text(block: DocumentBlock, where: str, *, is_question: bool) -> str:
    """Return a document as a model is shown it; one that has no text is said in words, or refused in the question."""
    if isinstance(block.citations, dict) and block.citations.get("enabled"):
        path = f"{where}.citations"
        leave_out(path, UnsupportedFieldError(f"{path}: answers cite nothing here; leave it out", path))
    source = block.source
    data = source.get("data") if source.get("type") == "text" else source.get("content")
    if isinstance(data, list):
        texts = [each.get("text") for each in data if isinstance(each, dict) and each.get("type") == "text"]
        data = "\n".join(text for text in texts if isinstance(text, str))
    if isinstance(data, str):
        text = "\n".join(each for each in (block.context, data) if each)
        return quoted_document(document_name(block.title), text)
    if is_question:
        raise _unreadable_source(source, f"{where}.source")
    return in_words("document", where, block.title, _UNREAD)


def _unreadable_source(source: dict[str, Any], path: str) -> UnsupportedFieldError:
    if source.get("type") == "url":
        path = f"{path}.url"
        return UnsupportedFieldError(f"{path}: nothing is fetched here; send the document as base64, or as text", path)
    known = f"send base64, text, content or file, got {source.get('type')!r:.40}"
    return UnsupportedFieldError(f"{path}.type: documents of this source are not read; {known}", f"{path}.type")


def _raw(block: Block) -> dict[str, Any]:
    return block if isinstance(block, dict) else {}


def _system_text(system: str | list[TextBlock] | None) -> str:
    if system is None:
        return ""
    if isinstance(system, str):
        first, _, rest = system.partition("\n")
        return rest if first.startswith(BILLING_PREFIX) else system
    return "\n".join(block.text for block in system if not block.text.startswith(BILLING_PREFIX))


def _followed(content: str | list[ContentPart] | None, part: ContentPart) -> str | list[ContentPart]:
    """Return an assistant's content with one more part; its texts follow each other as they are."""
    if isinstance(part, TextPart) and not isinstance(content, list):
        return f"{content or ''}{part.text}"
    return [*parts_of(content), part]


def _misplaced(block: Block, path: str, role: str) -> InvalidRequestError:
    tag = str(_raw(block).get("type")) if isinstance(block, dict) else str(type(block).__struct_config__.tag)
    owner = "user" if isinstance(block, ToolResultBlock | dict | DocumentBlock) else "assistant"
    return InvalidRequestError(f"{path}: a {tag} block belongs in a message of the {owner}, not of the {role}", path)
