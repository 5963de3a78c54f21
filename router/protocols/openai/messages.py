"""Chat messages of a request to those that a model's template reads. Pure.

What was said before is history: it is shown as far as it can be, and no reason to refuse the request. The question
itself is not: what it holds and no model here understands is refused by its path. Which pictures the model sees is
decided before (`images`).
"""

from typing import Any, Final

from backends.wire.prompts import ContentPart, PromptMessage, TextPart, shown_content
from registry.engines import EngineKind
from router.errors import InvalidRequestError, UnsupportedFieldError
from router.protocols.fields.call_arguments import call_arguments
from router.protocols.fields.support import not_honoured
from router.protocols.fields.unseen import in_words
from router.protocols.images.read import NO_IMAGES, ReadImages
from router.protocols.openai import schemas
from router.protocols.openai.images import IMAGE_PARTS, question_of
from router.protocols.openai.schemas import ChatMessage, ToolCall

_ROLES: Final = {"developer": "system", "function": "tool"}
_TEXTS: Final = frozenset({"text", "input_text", "output_text", "refusal"})
_THOUGHTS: Final = frozenset({"thinking", "reasoning", "redacted_thinking"})
_CALLED: Final = frozenset({"assistant", "tool", "function"})


def template_messages(
    messages: list[ChatMessage], engine: EngineKind, images: ReadImages = NO_IMAGES
) -> list[PromptMessage]:
    """Return what the template is given."""
    reader = _Reader(question_of(messages), engine, images)
    return [reader.read(message, index) for index, message in enumerate(messages)]


def taken_continuation(messages: list[PromptMessage]) -> str:
    """Take the last message away, with which an answer of the assistant's is to go on; return its text."""
    last, where = messages[-1], f"messages[{len(messages) - 1}]"
    if last["role"] != "assistant" or last.get("tool_calls") or len(messages) == 1:
        raise InvalidRequestError(
            f"continue_final_message: {where} must be a text of the assistant's behind other messages",
            "continue_final_message",
        )
    messages.pop()
    return shown_content(last) or ""


class _Reader:
    """Reads the messages in their order, and remembers which calls have no result yet.

    Args:
        question: Number of the user's last message.
    """

    def __init__(self, question: int, engine: EngineKind, images: ReadImages) -> None:
        self._question = question
        self._engine = engine
        self._images = images
        self._num_calls = 0
        self._open_calls: list[tuple[str, str]] = []

    def read(self, message: ChatMessage, index: int) -> PromptMessage:
        """Return one message as the template is given it."""
        where = f"messages[{index}]"
        _refuse_unsupported(message, where, self._engine)
        read: PromptMessage = {
            "role": _ROLES.get(message.role, message.role),
            "content": self._content(message, where, is_question=index == self._question),
        }
        if message.name is not None:
            read["name"] = message.name
        thoughts = _thoughts(message)
        if thoughts or (thoughts is not None and message.role == "assistant"):
            only_for(message.role, "assistant", f"{where}.reasoning_content")
            read["reasoning_content"] = thoughts
        self._add_calls(read, message, where)
        self._add_call_id(read, message, where)
        return read

    def _content(self, message: ChatMessage, where: str, *, is_question: bool) -> str | list[ContentPart] | None:
        content = message.content
        if content is None:
            if message.tool_calls or message.function_call:
                return None
            if message.role in _CALLED:
                return message.refusal or ""
            raise InvalidRequestError(f"{where}.content: a text is needed", f"{where}.content")
        if isinstance(content, str):
            return content or message.refusal or ""
        parts = (self._part(part, f"{where}.content[{at}]", is_question=is_question) for at, part in enumerate(content))
        return [part for part in parts if part is not None]

    def _part(self, part: schemas.TextPart, where: str, *, is_question: bool) -> ContentPart | None:
        if is_question:
            _refuse_unsupported(part, where, self._engine)
        if part.type in _TEXTS:
            text = part.text if part.refusal is None else part.refusal
            if is_question and part.image_url is not None:
                raise InvalidRequestError(f"{where}.type: a part with an image is of type image_url", f"{where}.type")
            if is_question and part.file is not None:
                raise InvalidRequestError(f"{where}.type: a part with a document is of type file", f"{where}.type")
            if text is None and is_question:
                raise InvalidRequestError(f"{where}.text: a text part needs a text", f"{where}.text")
            return TextPart(text or "")
        if part.type in _THOUGHTS:
            return None
        if part.type in IMAGE_PARTS:
            return self._images.at(where, part.type)
        if is_question:
            problem = f"only parts of type text, image_url and file are supported, got {part.type!r:.40}"
            raise UnsupportedFieldError(f"{where}.type: {problem}", where)
        return TextPart(in_words(part.type, where, None if part.file is None else part.file.filename))

    def _add_calls(self, read: PromptMessage, message: ChatMessage, where: str) -> None:
        if message.tool_calls:
            only_for(message.role, "assistant", f"{where}.tool_calls")
            read["tool_calls"] = [self._call(call) for call in message.tool_calls]
        elif message.function_call is not None:
            only_for(message.role, "assistant", f"{where}.function_call")
            called = message.function_call
            read["tool_calls"] = [self._shown("", called.name, called.arguments)]

    def _call(self, call: ToolCall) -> dict[str, Any]:
        if call.function is None:
            custom = call.custom or schemas.CustomCall("custom", "")
            return self._shown(call.id or "", custom.name, {"input": custom.input})
        return self._shown(call.id or "", call.function.name, call.function.arguments)

    def _shown(self, call_id: str, name: str, arguments: object) -> dict[str, Any]:
        self._num_calls += 1
        # Some templates want nine letters and digits. Source: the chat template of Mistral Nemo.
        call_id = call_id or f"call{self._num_calls:05}"
        self._open_calls.append((call_id, name))
        return {
            "id": call_id,
            "type": "function",
            "function": {"name": name, "arguments": call_arguments(arguments)},
        }

    def _add_call_id(self, read: PromptMessage, message: ChatMessage, where: str) -> None:
        """Say which call a result is for: that of its id, or where it has none, the first of its name without one."""
        if read["role"] != "tool":
            if message.tool_call_id:
                only_for(message.role, "tool", f"{where}.tool_call_id")
            return
        wanted = message.tool_call_id
        for at, (call_id, name) in enumerate(self._open_calls):
            if call_id == wanted or (not wanted and message.name in {None, name}):
                del self._open_calls[at]
                wanted = call_id
                break
        if not wanted and message.role == "function":
            return  # the old shape has no ids
        if not wanted:
            path = f"{where}.tool_call_id"
            raise InvalidRequestError(f"{path}: a tool message says which call it answers; send the call's id", path)
        read["tool_call_id"] = wanted


def _thoughts(message: ChatMessage) -> str | None:
    """Return what the assistant thought, by whichever name it comes back; None = nothing that can be read."""
    if message.reasoning_content is not None:
        return message.reasoning_content
    if isinstance(message.reasoning, str):
        return message.reasoning or None
    details = message.reasoning_details if isinstance(message.reasoning_details, list) else []
    parts = message.content if isinstance(message.content, list) else []
    texts = [
        *(each.get("text") or each.get("summary") for each in details if isinstance(each, dict)),
        *(part.thinking or part.text for part in parts if part.type in _THOUGHTS),
    ]
    return "".join(text for text in texts if isinstance(text, str)) or None


def only_for(role: str, allowed: str, path: str) -> None:
    """Refuse a field that only messages of another role have."""
    if role != allowed:
        raise InvalidRequestError(f"{path}: only a message of the role {allowed} has it, this one is of {role}", path)


def _refuse_unsupported(part: ChatMessage | schemas.TextPart, where: str, engine: EngineKind) -> None:
    for name, field in not_honoured(part, engine):
        path = f"{where}.{name}"
        way_out = f": {field.hint}" if field.hint else "; leave it out"
        raise UnsupportedFieldError(f"{path} is not supported{way_out}", path)
