"""How much work a request is, as far as its text tells before it is tokenized. Pure.

Nothing here is shown as a measured figure: lengths in tokens are estimates, and are called so where they are printed.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from backends.wire.prompts import (
    ChatPrompt,
    InfillPrompt,
    Prompt,
    PromptMessage,
    TextPrompt,
    TokenPrompt,
    shown_content,
)

CHARS_PER_TOKEN: Final = 4
"""Of English text, about, with the vocabularies in use; it only has to tell short prompts from long ones."""
USUAL_ANSWER_TOKENS: Final = 256
"""Expected of an answer that may be longer."""


class RequestSize(msgspec.Struct, frozen=True):
    """How much work a request is, about.

    Attributes:
        beginnings: For each message of the conversation, what tells that it and all before it are the same as in
            another request, and how many prompt tokens that makes.
    """

    num_prompt_tokens: int
    num_answer_tokens: int
    beginnings: tuple[tuple[int, int], ...] = ()


def size_of(prompts: Sequence[Prompt], max_tokens: int | None) -> RequestSize:
    """Return how much work a request is.

    Args:
        prompts: What it continues; several add up.
        max_tokens: Upper bound of each answer, or None.
    """
    beginnings: list[tuple[int, int]] = []
    num_tokens = 0
    for prompt in prompts:
        match prompt:
            case ChatPrompt():
                own = _beginnings(prompt)
                beginnings += own
                num_tokens += own[-1][1] if own else 0
            case TextPrompt(text=text):
                num_tokens += len(text) // CHARS_PER_TOKEN
            case InfillPrompt(prefix=prefix, suffix=suffix, files=files):
                num_tokens += (
                    sum(len(text) for text in (prefix, suffix, *(file.text for file in files))) // CHARS_PER_TOKEN
                )
            case TokenPrompt(token_ids=token_ids):
                num_tokens += len(token_ids)
            case _:
                pass  # a fork costs no prefill
    num_answer = USUAL_ANSWER_TOKENS if max_tokens is None else min(max_tokens, USUAL_ANSWER_TOKENS)
    return RequestSize(max(1, num_tokens), num_answer * max(1, len(prompts)), tuple(beginnings))


def _beginnings(prompt: ChatPrompt) -> list[tuple[int, int]]:
    tools = msgspec.json.encode(prompt.tools) if prompt.tools else b""
    digest, num_chars = hash(tools), len(tools)
    found: list[tuple[int, int]] = []
    for message in prompt.messages:
        text = _text_of(message)
        digest = hash((digest, message.get("role"), text))
        num_chars += len(text)
        found.append((digest, num_chars // CHARS_PER_TOKEN))
    return found


def _text_of(message: PromptMessage) -> str:
    content = shown_content(message) or ""
    calls = message.get("tool_calls")
    return f"{content}{msgspec.json.encode(calls).decode()}" if calls else content
