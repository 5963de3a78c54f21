"""Messages of Ollama's chats to those that a model's template reads. Pure.

Ollama's calls need no id, and a tool's result may name the tool, or nothing at all: templates that show ids get such
that say which result answers which call, in their order.
"""

from collections.abc import Sequence
from typing import Any, Final

from backends.wire.prompts import PromptMessage
from router.errors import InvalidRequestError
from router.protocols.fields.support import refuse_with_hint
from router.protocols.ollama.schemas import Message, ToolCall
from router.protocols.openai.messages import only_for

_ROLES: Final = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


def template_messages(messages: Sequence[Message]) -> list[PromptMessage]:
    """Return what the template is given."""
    reader = _Reader()
    return [reader.read(message, f"messages[{index}]") for index, message in enumerate(messages)]


class _Reader:
    """Reads the messages in their order, and remembers which calls have no result yet."""

    def __init__(self) -> None:
        self._num_calls = 0
        self._open_calls: list[tuple[str, str]] = []

    def read(self, message: Message, where: str) -> PromptMessage:
        """Return one message as the template is given it."""
        role = _ROLES.get(message.role.lower())
        if role is None:
            path = f"{where}.role"
            raise InvalidRequestError(
                f"{path}: {message.role!r:.40} is not known; use system, user, assistant or tool", path
            )
        refuse_with_hint(message, f"{where}.")
        read: PromptMessage = {"role": role, "content": message.content or ""}
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
        function = {"name": call.function.name, "arguments": call.function.arguments or {}}
        return {"id": call_id, "type": "function", "function": function}

    def _add_result_fields(self, read: PromptMessage, message: Message) -> None:
        """Say which call a result is for: that of its id, the first of its name, or the first that has none."""
        wanted_id, wanted_name = message.tool_call_id, message.tool_name
        for index, (call_id, name) in enumerate(self._open_calls):
            if wanted_id == call_id or (not wanted_id and wanted_name in {None, "", name}):
                del self._open_calls[index]
                wanted_id, wanted_name = call_id, name
                break
        if wanted_id:
            read["tool_call_id"] = wanted_id
        if wanted_name:
            read["name"] = wanted_name
