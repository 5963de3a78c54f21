"""Input items of tools that clients know without a definition: what the model is shown of them. Pure.

A call that the client ran itself (local_shell, apply_patch, ...) is shown as the call of a function, and what it came
to as that function's result. What a service of OpenAI's ran (web_search, ...) has no place in a prompt and is left out.

Source: OpenAI API reference, "Create a model response", `input`; Codex CLI 0.171 for `agent_message`.
"""

from typing import Any, Final

import msgspec

from router.protocols.fields.json_types import JSONObject, JSONValue
from router.protocols.fields.ranges import CallId
from router.protocols.fields.unseen import in_words
from router.protocols.responses.images import IMAGE, kept_image

_CALL: Final = "_call"
_OUTPUT: Final = "_output"
_TOOLS: Final = ("local_shell", "shell", "apply_patch", "computer", "tool_search")
_CALLS: Final = frozenset(f"{tool}{_CALL}" for tool in _TOOLS)
_OUTPUTS: Final = frozenset((*(call + _OUTPUT for call in _CALLS), f"tool_search{_OUTPUT}"))
_IMAGES: Final = frozenset({IMAGE, "computer_screenshot"})
_BESIDE: Final = frozenset({"id", "type", "status", "call_id", "created_by"})
"""Fields of a call that say nothing of what was called."""


class InputHostedItem(msgspec.Struct, kw_only=True):
    """A call of a tool that clients know without a definition, or what it came to; any other fields are shown.

    Attributes:
        id: Of the call too, where there is no `call_id`.
    """

    type: str
    id: CallId | None = None
    call_id: CallId | None = None
    output: JSONValue = None


class InputAgentMessage(msgspec.Struct, kw_only=True):
    """What another agent said; shown as a user's message."""

    type: str
    content: str | list[JSONObject]
    author: str | None = None


def is_hosted(kind: str) -> bool:
    """Tell whether items of a type are shown to the model."""
    return kind in _CALLS or kind in _OUTPUTS


def hosted_fields(read: InputHostedItem, sent: dict[str, Any], where: str) -> dict[str, Any]:
    """Return the fields of the function call, or of the call's output, that an item is kept as.

    Args:
        sent: All of it.
        where: Path of the item in the body.
    """
    call_id = read.call_id or read.id or read.type
    if read.type in _OUTPUTS:
        output = sent.get("tools") if read.output is None else read.output
        return {"type": "function_call_output", "call_id": call_id, "output": _shown(output, f"{where}.output")}
    arguments = {key: value for key, value in sent.items() if key not in _BESIDE and value is not None}
    if list(arguments) == ["action"] and isinstance(arguments["action"], dict):
        arguments = arguments["action"]
    text = msgspec.json.encode(arguments).decode()
    return {
        "type": "function_call",
        "call_id": call_id,
        "name": read.type.removesuffix(_CALL),
        "arguments": text,
    }


def agent_text(message: InputAgentMessage, where: str) -> str:
    """Return what the model is shown of another agent's message."""
    return f"{message.author or 'agent'}: {words_of(message.content, f'{where}.content')}"


def _shown(output: Any, where: str) -> str | list[dict[str, Any]]:
    """Return what a call came to as it is kept: one text, or parts where there are pictures, such as screenshots."""
    parts = output if isinstance(output, list) else [output]
    if not any(map(_is_image, parts)):
        return words_of(output, where)
    return [
        kept_image(part) if _is_image(part) else {"type": "input_text", "text": words_of(part, where)} for part in parts
    ]


def _is_image(part: Any) -> bool:
    return isinstance(part, dict) and ("image_url" in part or part.get("type") in _IMAGES)


def words_of(value: Any, where: str) -> str:
    """Return any result in words: texts as they are, pictures by the word, anything else as JSON."""
    match value:
        case None:
            return ""
        case str():
            return value
        case list():
            return "\n".join(words_of(part, f"{where}[{index}]") for index, part in enumerate(value))
        case {"text": str(text)}:
            return text
        case dict() if _is_image(value):
            return in_words(IMAGE, where)
        case _:
            return msgspec.json.encode(value).decode()
