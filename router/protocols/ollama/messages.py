"""Messages of Ollama's chats to those that a model's template reads. Pure.

Ollama's calls need no id, and a tool's result may name the tool, or nothing at all: templates that show ids get such
that say which result answers which call, in their order.
"""

from collections.abc import Sequence
from typing import Any, Final

from backends.wire.prompts import PromptMessage
from router.errors import InvalidRequestError
from router.protocols.fields.call_arguments import call_arguments
from router.protocols.fields.support import refuse_with_hint
from router.protocols.fields.tool_names import writable_name
from router.protocols.fields.unseen import in_words
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


def template_messages(messages: Sequence[Message]) -> list[PromptMessage]:
    """Return what the template is given."""
    questions = [index for index, message in enumerate(messages) if message.role.lower() == "user"]
    reader = _Reader(questions[-1] if questions else -1)
    return [reader.read(message, index) for index, message in enumerate(messages)]


class _Reader:
    """Reads the messages in their order, and remembers which calls have no result yet.

    Args:
        question: Number of the user's last message; what it holds and the model cannot see is refused.
    """

    def __init__(self, question: int) -> None:
        self._question = question
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
        if index == self._question:
            refuse_with_hint(message, f"{where}.")
        unseen = [in_words("image", f"{where}.images") for _ in message.images or []]
        read: PromptMessage = {"role": role, "content": "\n".join(filter(None, [message.content, *unseen]))}
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
