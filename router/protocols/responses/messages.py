"""Items of a conversation to the messages that a model's template reads. Pure."""

from collections.abc import Iterable

from backends.wire.prompts import PromptMessage
from router.errors import InvalidRequestError
from router.protocols.openai.messages import call_arguments
from router.protocols.responses.items import Item


def conversation_messages(items: Iterable[Item], instructions: str | None) -> list[PromptMessage]:
    """Return what the template is given.

    What an assistant thought, said and called in a row is one message, as the model wrote it. System messages at the
    beginning are joined to one: many templates take no more, and clients send instructions and a developer message.
    A call that was cut in its arguments is left out: there is nothing to show.

    Args:
        items: Of the whole conversation, as they are kept.
        instructions: Of this request alone; they come first.
    """
    messages: list[PromptMessage] = [] if instructions is None else [{"role": "system", "content": instructions}]
    called: set[str] = set()
    for item in items:
        match item["type"]:
            case "message":
                _add_message(messages, item)
            case "reasoning":
                _add_reasoning(messages, item)
            case "function_call" if item["status"] != "incomplete":
                called.add(item["call_id"])
                _add_call(messages, item)
            case "function_call_output":
                if item["call_id"] not in called:
                    problem = f"No tool call found for function call output with call_id {item['call_id']!r:.80}"
                    raise InvalidRequestError(f"{problem}; send the function_call item before it.", "input")
                messages.append({"role": "tool", "content": item["output"], "tool_call_id": item["call_id"]})
    return _without_open_thoughts(messages)


def _add_message(messages: list[PromptMessage], item: Item) -> None:
    text = "\n".join(part["text"] for part in item["content"])
    role = "system" if item["role"] == "developer" else item["role"]
    last = messages[-1] if messages else None
    if role == "assistant" and last is not None and _is_open_thought(last):
        last["content"] = text
        return
    if role == "system" and len(messages) == 1 and last is not None and last["role"] == "system":
        last["content"] = f"{last['content']}\n\n{text}"
        return
    messages.append({"role": role, "content": text})


def _add_reasoning(messages: list[PromptMessage], item: Item) -> None:
    text = "".join(part["text"] for part in item["content"])
    if text:
        messages.append({"role": "assistant", "content": None, "reasoning_content": text})


def _add_call(messages: list[PromptMessage], item: Item) -> None:
    arguments = call_arguments(item["arguments"], "input")
    call = {"id": item["call_id"], "type": "function", "function": {"name": item["name"], "arguments": arguments}}
    if messages and messages[-1]["role"] == "assistant":
        messages[-1].setdefault("tool_calls", []).append(call)
    else:
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})


def _without_open_thoughts(messages: list[PromptMessage]) -> list[PromptMessage]:
    """Give thoughts that nothing came of an empty text: templates want a content beside no calls."""
    for message in messages:
        if _is_open_thought(message):
            message["content"] = ""
    return messages


def _is_open_thought(message: PromptMessage) -> bool:
    return message["role"] == "assistant" and message["content"] is None and "tool_calls" not in message
