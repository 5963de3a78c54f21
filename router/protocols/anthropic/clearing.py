"""What of a conversation the model is not shown because its request says so, and what the answer tells of that.

The worker counts, and only where something is cleared or may have to be. Not here: which messages go (`edits`).
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from backends.wire.prompts import ChatPrompt, PromptMessage, images_in
from backends.wire.questions import CountTokens, TokenCount
from router.errors import ContextLengthExceededError
from router.models.model_request import ModelRequest
from router.protocols.anthropic.answer_schemas import AppliedEdit, AppliedEdits, ClearedThinking, ClearedToolUses
from router.protocols.anthropic.edits import (
    ClearThinking,
    ClearToolUses,
    Edit,
    ToolUsesValue,
    cleared_thinking,
    cleared_tool_uses,
    num_tool_uses,
    trigger_of,
)
from router.protocols.serving import RequestService
from router.requests.asking import ask

_TEMPLATE_BYTES: Final = 4096
"""What templates write around a conversation and its tools, at most."""
_MESSAGE_BYTES: Final = 64
"""What they write around a message, at most."""
_PICTURE_TOKENS: Final = 1 << 15
"""Rows of one picture, at most."""


class Clearing:
    """Applies the edits of one request.

    Args:
        model_request: Whose tokens count; it is loaded if something is to be counted.

    Attributes:
        applied: What was cleared so far.
    """

    def __init__(self, serving: RequestService, model_request: ModelRequest) -> None:
        self._serving = serving
        self._model_request = model_request
        self._counted: list[tuple[ChatPrompt, int]] = []
        self.applied: list[AppliedEdit] = []

    @property
    def shown(self) -> AppliedEdits:
        """What the answer tells."""
        return AppliedEdits(self.applied)

    async def apply(self, prompt: ChatPrompt, edits: Sequence[Edit]) -> ChatPrompt:
        """Return a conversation as the model is to be shown it.

        Raises:
            RouterError: The model cannot be asked.
            BackendError: Its template, or the engine.
        """
        for edit in edits:
            match edit:
                case ClearThinking():
                    prompt = await self._clear_thinking(prompt, edit)
                case ClearToolUses() if await self._is_due(prompt, edit):
                    prompt = await self._clear_tool_uses(prompt, edit)
        return prompt

    async def count(self, prompt: ChatPrompt) -> int:
        """Return the tokens of a prompt, or how many it has at least where it is too long; it is asked for once."""
        for known, num_tokens in self._counted:
            if known is prompt:
                return num_tokens
        num_tokens = await self._count(prompt)
        self._counted.append((prompt, num_tokens))
        return num_tokens

    async def _count(self, prompt: ChatPrompt) -> int:
        timeout_s = self._serving.config.limits.stall_timeout_s
        try:
            reply = await ask(self._serving.supervisor, self._model_request, CountTokens(prompt), timeout_s=timeout_s)
        except ContextLengthExceededError as exc:
            return exc.num_prompt_tokens
        assert isinstance(reply.answer, TokenCount)
        return reply.answer.num_tokens

    async def _clear_thinking(self, prompt: ChatPrompt, edit: ClearThinking) -> ChatPrompt:
        messages, num_cleared = cleared_thinking(prompt.messages, edit)
        if not num_cleared:
            return prompt
        shorter = _with(prompt, messages)
        num_tokens = max(0, await self.count(prompt) - await self.count(shorter))
        self.applied.append(ClearedThinking(cleared_thinking_turns=num_cleared, cleared_input_tokens=num_tokens))
        return shorter

    async def _clear_tool_uses(self, prompt: ChatPrompt, edit: ClearToolUses) -> ChatPrompt:
        messages, num_cleared = cleared_tool_uses(prompt.messages, edit)
        if not num_cleared:
            return prompt
        shorter = _with(prompt, messages)
        num_tokens = max(0, await self.count(prompt) - await self.count(shorter))
        if edit.clear_at_least is not None and num_tokens < edit.clear_at_least.value:
            return prompt
        self.applied.append(ClearedToolUses(cleared_tool_uses=num_cleared, cleared_input_tokens=num_tokens))
        return shorter

    async def _is_due(self, prompt: ChatPrompt, edit: ClearToolUses) -> bool:
        trigger = trigger_of(edit)
        if isinstance(trigger, ToolUsesValue):
            return num_tool_uses(prompt.messages) > trigger.value
        return _most_tokens(prompt) > trigger.value and await self.count(prompt) > trigger.value


def _with(prompt: ChatPrompt, messages: list[PromptMessage]) -> ChatPrompt:
    return msgspec.structs.replace(prompt, messages=messages)


def _most_tokens(prompt: ChatPrompt) -> int:
    """Return more tokens than a prompt can have: there are no more than bytes."""
    num_bytes = len(msgspec.json.encode([prompt.messages, prompt.tools]))
    around = _MESSAGE_BYTES * len(prompt.messages) + _TEMPLATE_BYTES
    return num_bytes + around + _PICTURE_TOKENS * len(images_in(prompt.messages))
