"""Chat messages of a request to those that a model's template reads. Pure.

Contents are joined to one text, the arguments of tool calls become objects; whatever else a message of OpenAI's may
carry is refused by its path.
"""

from typing import Any, Final

import msgspec

from registry.engines import EngineKind
from router.errors import InvalidJSONError, InvalidRequestError, UnsupportedFieldError
from router.http.body import decode_json
from router.protocols.fields.capabilities import CHAT, MESSAGE_FIELDS, PART_FIELDS, Capability, unsupported
from router.protocols.openai.schemas import ChatMessage, TextPart, ToolCall

_ROLES: Final = {"developer": "system"}


class _AnyObject(msgspec.Struct):
    """A JSON object of which nothing is known."""


def template_messages(messages: list[ChatMessage], engine: EngineKind) -> list[dict[str, Any]]:
    """Return what the template is given.

    Raises:
        UnsupportedFieldError: Something in a message is not honoured.
        InvalidRequestError: A message lacks something, or has it where it does not belong.
    """
    reader = _MessageReader(engine)
    return [reader.read(message, f"messages[{index}]") for index, message in enumerate(messages)]


class _MessageReader:
    """Reads messages for one engine, whose rows of the table are looked up once."""

    def __init__(self, engine: EngineKind) -> None:
        self._message_rows = [
            (row.name.removeprefix(MESSAGE_FIELDS), row) for row in unsupported(CHAT, engine, MESSAGE_FIELDS)
        ]
        self._part_rows = [(row.name.removeprefix(PART_FIELDS), row) for row in unsupported(CHAT, engine, PART_FIELDS)]

    def read(self, message: ChatMessage, where: str) -> dict[str, Any]:
        """Return one message as the template is given it."""
        _refuse(message, self._message_rows, where)
        rendered: dict[str, Any] = {
            "role": _ROLES.get(message.role, message.role),
            "content": self._content(message, where),
        }
        if message.name is not None:
            rendered["name"] = message.name
        if message.reasoning_content is not None:
            _only_for(message, "reasoning_content", "assistant", where)
            rendered["reasoning_content"] = message.reasoning_content
        return rendered | _tool_fields(message, where)

    def _content(self, message: ChatMessage, where: str) -> str | None:
        if message.content is None:
            if message.tool_calls:
                return None
            raise InvalidRequestError(f"{where}.content: a text is needed", f"{where}.content")
        return message.content if isinstance(message.content, str) else self._joined(message.content, where)

    def _joined(self, parts: list[TextPart], where: str) -> str:
        texts = []
        for index, part in enumerate(parts):
            place = f"{where}.content[{index}]"
            if part.type != "text":
                problem = f"{place}.type: only text parts are supported, got {part.type!r:.40}"
                raise UnsupportedFieldError(problem, place)
            _refuse(part, self._part_rows, place)
            if part.text is None:
                raise InvalidRequestError(f"{place}.text: a text part needs a text", f"{place}.text")
            texts.append(part.text)
        return "\n".join(texts)


def _tool_fields(message: ChatMessage, where: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    if message.tool_calls:
        _only_for(message, "tool_calls", "assistant", where)
        calls = enumerate(message.tool_calls)
        fields["tool_calls"] = [_call(call, f"{where}.tool_calls[{index}]") for index, call in calls]
    if message.tool_call_id is not None:
        _only_for(message, "tool_call_id", "tool", where)
        fields["tool_call_id"] = message.tool_call_id
    elif message.role == "tool":
        path = f"{where}.tool_call_id"
        raise InvalidRequestError(f"{path}: a tool message says which call it answers; send the call's id", path)
    return fields


def _only_for(message: ChatMessage, name: str, role: str, where: str) -> None:
    if message.role != role:
        path = f"{where}.{name}"
        raise InvalidRequestError(
            f"{path}: only a message of the role {role} has it, this one is of {message.role}", path
        )


def _refuse(part: ChatMessage | TextPart, rows: list[tuple[str, Capability]], where: str) -> None:
    for name, row in rows:
        if not row.is_neutral(getattr(part, name)):
            raise UnsupportedFieldError(_refusal(f"{where}.{name}", row.hint), f"{where}.{name}")


def _refusal(path: str, hint: str) -> str:
    return f"{path} is not supported: {hint}" if hint else f"{path} is not supported; leave it out"


def _call(call: ToolCall, where: str) -> dict[str, Any]:
    arguments = call_arguments(call.function.arguments, f"{where}.function.arguments")
    return {"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": arguments}}


def call_arguments(text: str, path: str) -> dict[str, Any]:
    """Read the arguments of a call; an empty text, as some models write, is an empty object.

    Args:
        text: The arguments' JSON.

    Raises:
        InvalidRequestError: It is no JSON object, or one beyond the bounds of a request's body.
    """
    if not text.strip():
        return {}
    try:
        # With the bounds of a request's body: nesting, twice the same key, integers that no frame can carry.
        decode_json(text.encode(), _AnyObject)
    except InvalidJSONError as exc:
        problem = str(exc).replace("The request body", "the text")
        raise InvalidRequestError(f"{path} must be the JSON text of an object: {problem}", path) from exc
    arguments: dict[str, Any] = msgspec.json.decode(text)
    return arguments
