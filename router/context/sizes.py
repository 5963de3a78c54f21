"""How many tokens the messages of a conversation have, as its model's worker counts them.

Texts are counted, not renderings: a message costs its texts and what the template puts around any message. What was
counted once is known. How far that is from what a rendered prompt has is for who knows the latter (`scaled`).
"""

import hashlib
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from backends.wire.prompts import ChatPrompt, ImagePart, PromptMessage, images_in, shown_content
from backends.wire.questions import Answer, CountTexts, CountTokens, Question, TextCounts, TokenCount
from router.context.narrative import frame
from router.context.turns import is_pinned

_AT_ONCE_BYTES: Final = 64 * 1024
"""Of texts that are counted between two steps of running answers."""
_MAX_KNOWN: Final = 16_384
_CALL_TOKENS: Final = 12
"""What templates write around a call, about."""
_PROBE: Final[PromptMessage] = {"role": "user", "content": "x"}
_PROBE_ANSWER: Final[PromptMessage] = {"role": "assistant", "content": "x"}
_encode = msgspec.json.Encoder(order="sorted").encode

Ask = Callable[[Question], Awaitable[Answer]]
"""Has the conversation's model answer a question."""


class PromptSizes(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of a conversation's parts.

    Attributes:
        system: Of messages of the system, tools, and what the template adds around all messages.
        frame: Of what stands around a narrative.
        messages: Of each message, by its index; 0 for those that were not asked for.
    """

    system: int
    frame: int
    messages: tuple[int, ...]

    def scaled(self, factor: float) -> "PromptSizes":
        """Return them with messages that are larger by a factor, >= 1."""
        return msgspec.structs.replace(self, messages=tuple(math.ceil(size * factor) for size in self.messages))


class Sizes:
    """Counts for all conversations of a gateway, and knows what it counted."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, int] = OrderedDict()

    async def of(self, prompt: ChatPrompt, indexes: Iterable[int], ask: Ask, model: str) -> PromptSizes:
        """Return the sizes of a prompt; errors as of `ask`.

        Args:
            indexes: Of the messages whose sizes are wanted.
            model: By whose tokens it is counted.
        """
        system, per_message = await self._around(prompt, ask, model)
        wanted = list(indexes)
        messages = [prompt.messages[at] for at in wanted]
        stands_in = frame()
        counted = await self.texts([_text_of(message) for message in [*messages, *stands_in]], ask, model)
        sizes = [0] * len(prompt.messages)
        for at, message, size in zip(wanted, messages, counted, strict=False):
            calls = _CALL_TOKENS * len(message.get("tool_calls") or [])
            sizes[at] = size + calls + per_message + await self._pictures(message, ask, model)
        frame_tokens = sum(counted[len(messages) :]) + per_message * len(stands_in)
        return PromptSizes(system=system, frame=frame_tokens, messages=tuple(sizes))

    async def texts(self, texts: Sequence[str], ask: Ask, model: str) -> list[int]:
        """Return the tokens of texts; errors as of `ask`."""
        keys = [_key(model, "text", text.encode()) for text in texts]
        found = {key: self._known[key] for key in keys if key in self._known}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        for batch in _batches(missing):
            answer = await ask(CountTexts([text for _, text in batch]))
            assert isinstance(answer, TextCounts)
            for (key, _), size in zip(batch, answer.num_tokens, strict=True):
                found[key] = found.get(key, 0) + size
        for key in missing:
            self._note(key, found.setdefault(key, 0))
        return [found[key] for key in keys]

    async def _around(self, prompt: ChatPrompt, ask: Ask, model: str) -> tuple[int, int]:
        """Return the tokens of what is before and behind all messages, and of what is around each."""
        pinned = [message for message in prompt.messages if is_pinned(message)]
        bare = msgspec.structs.replace(prompt, messages=[*pinned, _PROBE], continuation=None, truncates=False)
        first = await self.prompt(bare, ask, model)
        longer = msgspec.structs.replace(bare, messages=[*pinned, _PROBE, _PROBE_ANSWER, _PROBE])
        second = await self.prompt(longer, ask, model)
        return first, max(1, math.ceil((second - first) / 2))

    async def _pictures(self, message: PromptMessage, ask: Ask, model: str) -> int:
        pictures = images_in([message])
        if not pictures:
            return 0
        return await self.prompt(ChatPrompt([{"role": "user", "content": [*pictures]}]), ask, model)

    async def prompt(self, prompt: ChatPrompt, ask: Ask, model: str) -> int:
        """Return the tokens of a prompt as the template writes it; errors as of `ask`."""
        key = _key(model, "prompt", _encode([_digested(prompt.messages), *msgspec.structs.astuple(prompt)[1:]]))
        if key not in self._known:
            answer = await ask(CountTokens(prompt))
            assert isinstance(answer, TokenCount)
            self._note(key, answer.num_tokens)
        return self._known[key]

    def _note(self, key: bytes, size: int) -> None:
        self._known[key] = size
        while len(self._known) > _MAX_KNOWN:
            self._known.popitem(last=False)


def _text_of(message: PromptMessage) -> str:
    """Return what of a message has tokens; thoughts of earlier turns are shown to few models."""
    calls = [_encode(call.get("function")).decode() for call in message.get("tool_calls") or []]
    return "\n".join([message.get("name") or "", shown_content(message) or "", *calls])


def _batches(texts: dict[bytes, str]) -> Iterable[list[tuple[bytes, str]]]:
    """Yield texts as they are counted at once; one that is longer comes in parts under one key."""
    batch: list[tuple[bytes, str]] = []
    taken = 0
    for key, text in texts.items():
        for begin in range(0, len(text), _AT_ONCE_BYTES):
            part = text[begin : begin + _AT_ONCE_BYTES]
            size = len(part.encode())
            if batch and taken + size > _AT_ONCE_BYTES:
                yield batch
                batch, taken = [], 0
            batch.append((key, part))
            taken += size
    if batch:
        yield batch


def _digested(messages: list[PromptMessage]) -> list[dict[str, Any]]:
    """Return messages as JSON can have them: pictures as digests."""
    return [{**message, "content": _digested_content(message)} for message in messages]


def _digested_content(message: PromptMessage) -> Any:
    content = message["content"]
    if not isinstance(content, list):
        return content
    return [hashlib.sha256(part.data).hexdigest() if isinstance(part, ImagePart) else part.text for part in content]


def _key(model: str, kind: str, data: bytes) -> bytes:
    return hashlib.sha256(b"\0".join([model.encode(), kind.encode(), data])).digest()
