"""By what a conversation is known again: a digest of each of its beginnings. Pure.

Clients that send their history back change some of it without meaning anything: thoughts are dropped, calls get other
ids, arguments other spaces, texts lose line ends, a text comes as a part. None of that changes a digest; whatever a
user could have edited does. Whose the conversation is, is no part of it: that belongs to every lookup.
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from backends.wire.prompts import ChatPrompt, ContentPart, ImagePart, PromptMessage

_FORM: Final = b"mlxr context 1"
"""Another one, and no stored digest is found any more."""
_REMINDER: Final = re.compile(r"<system-reminder>(?:(?!</?system-reminder>).)*</system-reminder>", re.DOTALL)
"""What coding agents put into messages beside the user's words, and not into every request alike."""
_encode = msgspec.json.Encoder(order="sorted").encode


def chain_of(prompt: ChatPrompt) -> tuple[bytes, ...]:
    """Return the digests of a conversation's beginnings: the i-th is of its tools and its first i messages."""
    digest = hashlib.sha256(_FORM + _encode(prompt.tools)).digest()
    chain = [digest]
    for told in _normalised(prompt.messages):
        digest = hashlib.sha256(digest + _encode(told)).digest()
        chain.append(digest)
    return tuple(chain)


def root_of(prompt: ChatPrompt, chain: tuple[bytes, ...]) -> bytes:
    """Return the digest by which all branches of a conversation are known: that of its beginning up to a first message.

    Args:
        chain: Of the prompt.
    """
    first = next((at for at, message in enumerate(prompt.messages) if message["role"] == "user"), -1)
    return chain[first + 1]


def _normalised(messages: list[PromptMessage]) -> Iterator[list[Any]]:
    numbers: dict[str, int] = {}
    num_calls = 0
    for message in messages:
        calls = []
        for call in message.get("tool_calls") or []:
            numbers[call.get("id", "")] = num_calls
            num_calls += 1
            function = call.get("function", {})
            calls.append([function.get("name"), function.get("arguments")])
        role = message["role"]
        if role == "tool":  # its name is that of the call, where a client says it at all
            yield [role, numbers.get(message.get("tool_call_id", ""), -1), _content(message["content"])]
        else:
            yield [role, message.get("name"), _content(message["content"]), calls]


def _content(content: str | list[ContentPart] | None) -> list[str | dict[str, str]]:
    """Return texts, those beside each other as one, and pictures by their digests."""
    if not isinstance(content, list):
        text = _without_reminders(content or "")
        return [text] if text else []
    shown: list[str | dict[str, str]] = []
    texts: list[str] = []
    for part in content:
        if isinstance(part, ImagePart):
            shown += [*_joined(texts), {"image": hashlib.sha256(part.data).hexdigest()}]
            texts = []
        else:
            texts.append(part.text)
    return [*shown, *_joined(texts)]


def _joined(texts: list[str]) -> list[str]:
    text = "\n".join(filter(None, map(_without_reminders, texts)))
    return [text] if text else []


def _without_reminders(text: str) -> str:
    return (_REMINDER.sub("", text) if "<system-reminder>" in text else text).strip()
