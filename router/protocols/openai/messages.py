"""Chat messages of a request to those that a model's template reads. Pure.

The arguments of tool calls become objects; what else a message of OpenAI's may carry and is not honoured is refused by
its path.
"""

from typing import Any, Final

from backends.wire.prompts import ContentPart, PromptMessage, TextPart, shown_content
from registry.engines import EngineKind
from router.errors import InvalidRequestError, UnsupportedFieldError
from router.http.body import decode_object
from router.protocols.fields.support import not_honoured
from router.protocols.openai import schemas
from router.protocols.openai.schemas import ChatMessage, ToolCall

_ROLES: Final = {"developer": "system"}


def template_messages(messages: list[ChatMessage], engine: EngineKind) -> list[PromptMessage]:
    """Return what the template is given."""
    return [_read(message, f"messages[{index}]", engine) for index, message in enumerate(messages)]


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


def _read(message: ChatMessage, where: str, engine: EngineKind) -> PromptMessage:
    _refuse_unsupported(message, where, engine)
    read: PromptMessage = {
        "role": _ROLES.get(message.role, message.role),
        "content": _content(message, where, engine),
    }
    if message.name is not None:
        read["name"] = message.name
    if message.reasoning_content is not None:
        only_for(message.role, "assistant", f"{where}.reasoning_content")
        read["reasoning_content"] = message.reasoning_content
    _add_tool_fields(read, message, where)
    return read


def _content(message: ChatMessage, where: str, engine: EngineKind) -> str | list[ContentPart] | None:
    if message.content is None:
        if message.tool_calls:
            return None
        raise InvalidRequestError(f"{where}.content: a text is needed", f"{where}.content")
    if isinstance(message.content, str):
        return message.content
    return [_part(part, f"{where}.content[{index}]", engine) for index, part in enumerate(message.content)]


def _part(part: schemas.TextPart, where: str, engine: EngineKind) -> ContentPart:
    if part.type != "text":
        raise UnsupportedFieldError(f"{where}.type: only text parts are supported, got {part.type!r:.40}", where)
    _refuse_unsupported(part, where, engine)
    if part.text is None:
        raise InvalidRequestError(f"{where}.text: a text part needs a text", f"{where}.text")
    return TextPart(part.text)


def _add_tool_fields(read: PromptMessage, message: ChatMessage, where: str) -> None:
    if message.tool_calls:
        only_for(message.role, "assistant", f"{where}.tool_calls")
        calls = enumerate(message.tool_calls)
        read["tool_calls"] = [_call(call, f"{where}.tool_calls[{index}]") for index, call in calls]
    if message.tool_call_id is not None:
        only_for(message.role, "tool", f"{where}.tool_call_id")
        read["tool_call_id"] = message.tool_call_id
    elif message.role == "tool":
        path = f"{where}.tool_call_id"
        raise InvalidRequestError(f"{path}: a tool message says which call it answers; send the call's id", path)


def only_for(role: str, allowed: str, path: str) -> None:
    """Refuse a field that only messages of another role have."""
    if role != allowed:
        raise InvalidRequestError(f"{path}: only a message of the role {allowed} has it, this one is of {role}", path)


def _refuse_unsupported(part: ChatMessage | schemas.TextPart, where: str, engine: EngineKind) -> None:
    for name, field in not_honoured(part, engine):
        path = f"{where}.{name}"
        way_out = f": {field.hint}" if field.hint else "; leave it out"
        raise UnsupportedFieldError(f"{path} is not supported{way_out}", path)


def _call(call: ToolCall, where: str) -> dict[str, Any]:
    arguments = call_arguments(call.function.arguments, f"{where}.function.arguments")
    return {"id": call.id, "type": "function", "function": {"name": call.function.name, "arguments": arguments}}


def call_arguments(text: str, path: str) -> dict[str, Any]:
    """Read the arguments of a call; an empty text, as some models write, is an empty object.

    Args:
        text: The arguments' JSON.
    """
    if not text.strip():
        return {}
    try:
        # With the bounds of a request's body: nesting, twice the same key, integers that no frame can carry.
        return decode_object(text.encode())
    except InvalidRequestError as exc:
        problem = str(exc).replace("The request body", "the text")
        raise InvalidRequestError(f"{path} must be the JSON text of an object: {problem}", path) from exc
