"""Conversations of all kinds, made from a seed, for properties of what becomes of them; none of them means anything."""

import random
from typing import Any

from backends.wire.prompts import ChatPrompt, ImagePart, PromptMessage, TextPart
from router.context.turns import is_pinned

_WORDS = ("red", "file", "port", "name", "seven", "plan", "maybe", "never", "always", "line", "test", "harbour")


def random_prompt(rng: random.Random, max_turns: int = 40) -> ChatPrompt:
    """Return a conversation: the system's words anywhere, rounds of calls, open ones, results late or missing."""
    messages: list[PromptMessage] = [
        {"role": rng.choice(("system", "developer")), "content": prose(rng, 30)}
        for _ in range(rng.choice((0, 1, 1, 1, 2)))
    ]
    for _ in range(rng.randrange(1, max_turns)):
        kind = rng.random()
        if kind < 0.35:
            messages.append({"role": "user", "content": _content(rng)})
        elif kind < 0.6:
            messages.append(_said(rng, {"role": "assistant", "content": prose(rng, 40)}))
        elif kind < 0.95:
            messages += _round(rng, len(messages))
        else:
            messages.append({"role": "system", "content": prose(rng, 10)})
    if rng.random() < 0.8:
        messages.append({"role": "user", "content": _content(rng)})
    tools = [{"type": "function", "function": {"name": "read", "parameters": {}}}] if rng.random() < 0.5 else []
    return ChatPrompt(messages, tools=tools)


def random_sizes(rng: random.Random, prompt: ChatPrompt) -> list[int]:
    """Return a size in tokens for each message, most of them small."""
    return [rng.choice((rng.randrange(1, 20), rng.randrange(1, 200), rng.randrange(1, 2000))) for _ in prompt.messages]


def pinned_in(messages: list[PromptMessage]) -> list[int]:
    """Return the indexes of the system's messages."""
    return [at for at, message in enumerate(messages) if is_pinned(message)]


def prose(rng: random.Random, num_words: int) -> str:
    """Return at most so many words."""
    return " ".join(rng.choice(_WORDS) for _ in range(rng.randrange(1, num_words + 1)))


def _content(rng: random.Random) -> Any:
    if rng.random() < 0.8:
        return prose(rng, 60)
    return [TextPart(prose(rng, 20)), ImagePart(b"\x89PNG" + rng.randbytes(20), "messages"), TextPart(prose(rng, 5))]


def _said(rng: random.Random, message: PromptMessage) -> PromptMessage:
    return {**message, "reasoning_content": prose(rng, 20)} if rng.random() < 0.3 else message


def _round(rng: random.Random, number: int) -> list[PromptMessage]:
    """Return calls and results; some results are missing, some come behind a message of the user's."""
    ids = [f"call_{number}_{at}" for at in range(rng.choice((1, 1, 1, 2, 4)))]
    calls = [
        {"id": each, "type": "function", "function": {"name": "read", "arguments": {"path": prose(rng, 2)}}}
        for each in ids
    ]
    turn = _said(rng, {"role": "assistant", "content": rng.choice((None, "", "I look.")), "tool_calls": calls})
    results: list[PromptMessage] = [
        {"role": "tool", "tool_call_id": each, "content": prose(rng, 80)} for each in ids if rng.random() < 0.9
    ]
    if rng.random() < 0.1:
        results.insert(rng.randrange(len(results) + 1), {"role": "user", "content": prose(rng, 5)})
    if rng.random() < 0.1:
        rng.shuffle(results)
    return [turn, *results]
