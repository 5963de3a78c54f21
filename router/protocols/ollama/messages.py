"""Messages of Ollama's chats to those that a model's template reads. Pure.

Ollama's calls need no id, and a tool's result may name the tool, or nothing at all: templates that show ids get such
that say which result answers which call, in their order.
"""

from collections.abc import Sequence
from typing import Any, Final

from backends.wire.prompts import ContentPart, ImagePart, PromptMessage, TextPart
from router.errors import InvalidRequestError
from router.protocols.fields.call_arguments import call_arguments
from router.protocols.fields.tool_names import writable_name
from router.protocols.images.read import NO_IMAGES, ReadImages, joined
from router.protocols.ollama.images import IMAGE
from router.protocols.ollama.schemas import Message, ToolCall
from router.protocols.openai.messages import only_for

_ROLES: Final = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}


def template_messages(messages: Sequence[Message], images: ReadImages = NO_IMAGES) -> list[PromptMessage]:
    """Return what the template is given."""
    reader = _Reader(images)
    return [reader.read(message, index) for index, message in enumerate(messages)]


def with_images(text: str, sent: list[Any] | None, where: str, images: ReadImages) -> str | list[ContentPart]:
    """Return a text behind its pictures; what stands for one that the model cannot see comes behind it."""
    parts = [images.at(f"{where}[{index}]", IMAGE) for index in range(len(sent or []))]
    seen = [part for part in parts if isinstance(part, ImagePart)]
    words = [part for part in parts if isinstance(part, TextPart)]
    return joined([*seen, *([TextPart(text)] if text else []), *words])


class _Reader:
    """Reads the messages in their order, and remembers which calls have no result yet."""

    def __init__(self, images: ReadImages) -> None:
        self._images = images
        self._num_calls = 0
        self._open_calls: list[tuple[str, str]] = []

    def read(self, message: Message, index: int) -> PromptMessage:
        """Return one message as the template is given it."""
        where = f"messages[{index}]"
        role = _ROLES.get(message.role.lower())
        if role is None:
            path = f"{where}.role"
            raise InvalidRequestError(
                f"{path}: {message.role!r:.40} is not known; use system, user, assistant or tool", path
            )
        read: PromptMessage = {
            "role": role,
            "content": with_images(message.content or "", message.images, f"{where}.images", self._images),
        }
        if message.thinking:
            only_for(role, "assistant", f"{where}.thinking")
            read["reasoning_content"] = message.thinking
        if message.tool_calls:
            only_for(role, "assistant", f"{where}.tool_calls")
            read["tool_calls"] = [
                self._call(call, f"{where}.tool_calls[{index}]") for index, call in enumerate(message.tool_calls)
            ]
        if role == "tool":
            self._add_result_fields(read, message)
        return read

    def _call(self, call: ToolCall, where: str) -> dict[str, Any]:
        if call.type not in {None, "", "function"}:
            raise InvalidRequestError(f"{where}.type: {call.type!r:.40} is not known; use function", f"{where}.type")
        self._num_calls += 1
        # Some templates want nine letters and digits. Source: the chat template of Mistral Nemo.
        call_id = call.id or f"call{self._num_calls:05}"
        self._open_calls.append((call_id, call.function.name))
        function = {"name": writable_name(call.function.name), "arguments": call_arguments(call.function.arguments)}
        return {"id": call_id, "type": "function", "function": function}

    def _add_result_fields(self, read: PromptMessage, message: Message) -> None:
        """Say which call a result is for: that of its id, the first of its name, or the first that has none."""
        wanted_id, wanted_name = message.tool_call_id, message.tool_name or message.name
        for index, (call_id, name) in enumerate(self._open_calls):
            if wanted_id == call_id or (not wanted_id and wanted_name in {None, "", name}):
                del self._open_calls[index]
                wanted_id, wanted_name = call_id, name
                break
        if wanted_id:
            read["tool_call_id"] = wanted_id
        if wanted_name:
            read["name"] = writable_name(wanted_name)
