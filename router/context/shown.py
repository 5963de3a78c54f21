"""What a model sees of a conversation, as it is kept and shown to people. Pure."""

import msgspec

from backends.wire.prompts import ChatPrompt, PromptMessage
from router.context.transcript import mentioned
from router.status.contexts import ShownCall, ShownMessage

_encode = msgspec.json.Encoder().encode


def shown_of(prompt: ChatPrompt) -> bytes:
    """Return a prompt's messages as JSON, a list of `ShownMessage`; thoughts are not in it, pictures are mentions."""
    return _encode([_shown(message) for message in prompt.messages])


def shown_messages(shown: bytes) -> list[ShownMessage]:
    """Return what `shown_of` gave."""
    return msgspec.json.decode(shown, type=list[ShownMessage])


def _shown(message: PromptMessage) -> ShownMessage:
    calls = message.get("tool_calls") or []
    functions = [(call.get("id"), call.get("function", {})) for call in calls]
    return ShownMessage(
        role=message["role"],
        content=mentioned(message["content"]),
        name=message.get("name"),
        tool_calls=[
            ShownCall(
                id=call_id,
                name=str(function.get("name", "")),
                arguments=_encode(function.get("arguments", {})).decode(),
            )
            for call_id, function in functions
        ],
        tool_call_id=message.get("tool_call_id"),
    )
