"""Brings a conversation into the order of turns that a model's template takes. Pure, but for the renderings that probe.

Many templates take one system message, the first of all, or none, and some want user and assistant by turns. Clients
send what they like. What a template takes is seen by asking it once, never by the model's name; a message is only
changed where it has to be, and what comes out for the beginning of a conversation does not hang on what follows it, so
that the next turn finds its prompt in the cache.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from backends.errors import PromptError

Message = dict[str, Any]
_SYSTEM, _USER, _ASSISTANT = "system", "user", "assistant"
_BETWEEN_SYSTEMS: Final = "\n\n"


class TurnRules(msgspec.Struct, frozen=True):
    """What a template takes as it is.

    Attributes:
        system: A system message before all others.
        late_system: One between the others.
        neighbours: Two messages of the user, or of the assistant, in a row.
        assistant_first: A conversation that the assistant begins.
    """

    system: bool = True
    late_system: bool = True
    neighbours: bool = True
    assistant_first: bool = True


STRICTEST: Final = TurnRules(system=False, late_system=False, neighbours=False, assistant_first=False)
"""What every template takes."""


def probe(render: Callable[[list[Message]], str]) -> TurnRules:
    """Ask a template what it takes; one that fails on a plain message is taken to take everything.

    Args:
        render: Returns the text of a conversation, or raises PromptError.
    """

    def takes(*roles: str) -> bool:
        texts = [f"probe {index} of {role}" for index, role in enumerate(roles)]
        try:
            shown = render([{"role": role, "content": text} for role, text in zip(roles, texts, strict=True)])
        except PromptError:
            return False
        return all(text in shown for text in texts)

    if not takes(_USER):
        return TurnRules()
    has_system = takes(_SYSTEM, _USER)
    return TurnRules(
        system=has_system,
        late_system=has_system and takes(_SYSTEM, _USER, _ASSISTANT, _SYSTEM, _USER),
        neighbours=takes(_USER, _USER) and takes(_USER, _ASSISTANT, _ASSISTANT, _USER),
        assistant_first=takes(_ASSISTANT, _USER),
    )


def arranged(messages: list[Message], rules: TurnRules) -> list[Message]:
    """Return a conversation as a template with some rules takes it; system messages at its beginning are one."""
    turns = _with_one_beginning(messages)
    if not rules.late_system:
        turns = _late_system_as_user(turns)
    if not rules.system:
        turns = _system_as_user(turns)
    if not rules.neighbours:
        turns = _joined(turns)
    begin = int(bool(turns) and turns[0]["role"] == _SYSTEM)
    if not rules.assistant_first and turns[begin:] and turns[begin]["role"] == _ASSISTANT:
        turns.insert(begin, {"role": _USER, "content": ""})
    return turns


def _with_one_beginning(messages: list[Message]) -> list[Message]:
    turns: list[Message] = []
    for message in messages:
        if message["role"] == _SYSTEM and len(turns) == 1 and turns[0]["role"] == _SYSTEM:
            turns[0] = _appended(turns[0], message, _BETWEEN_SYSTEMS)
        else:
            turns.append(message)
    return turns


def _late_system_as_user(messages: list[Message]) -> list[Message]:
    """Return a conversation whose system messages behind the first message are part of the user's words beside them."""
    turns: list[Message] = []
    is_moved = False
    for message in messages:
        is_late = bool(turns) and message["role"] == _SYSTEM
        role = _USER if is_late else message["role"]
        if role == _USER and turns and turns[-1]["role"] == _USER and (is_late or is_moved):
            turns[-1] = _appended(turns[-1], message)
        else:
            turns.append({**message, "role": role})
        is_moved = is_late
    return turns


def _system_as_user(messages: list[Message]) -> list[Message]:
    """Return a conversation whose first message, if it is a system message, comes before the first user's text."""
    if not messages or messages[0]["role"] != _SYSTEM:
        return messages
    first, rest = {**messages[0], "role": _USER}, messages[1:]
    if rest and rest[0]["role"] == _USER:
        return [{**rest[0], "content": _texts(first, rest[0], _BETWEEN_SYSTEMS)}, *rest[1:]]
    return [first, *rest]


def _joined(messages: list[Message]) -> list[Message]:
    turns: list[Message] = []
    for message in messages:
        if turns and message["role"] == turns[-1]["role"] and message["role"] in {_USER, _ASSISTANT}:
            turns[-1] = _appended(turns[-1], message)
        else:
            turns.append(message)
    return turns


def _appended(message: Message, more: Message, between: str = "\n") -> Message:
    """Return two messages of one role as one: texts, thoughts and calls of both."""
    joined = {**more, **message, "content": _texts(message, more, between)}
    if message.get("reasoning_content") and more.get("reasoning_content"):
        joined["reasoning_content"] = f"{message['reasoning_content']}\n{more['reasoning_content']}"
    if message.get("tool_calls") and more.get("tool_calls"):
        joined["tool_calls"] = [*message["tool_calls"], *more["tool_calls"]]
    return joined


def _texts(message: Message, more: Message, between: str) -> str | None:
    texts = [each["content"] for each in (message, more) if each["content"]]
    return between.join(texts) if texts else message["content"]
