"""Keeps a request within the context that goes on from tokens instead of messages, as Ollama's `context` has it.

Where they do not fit, their text takes their place, as one message that was read; that is told like any other.
"""

from collections.abc import Awaitable, Callable
from typing import Final

from msgspec.structs import replace

from backends.wire.prompts import ChatPrompt, PromptMessage
from router.errors import ContextLengthExceededError
from router.models.targets import Choice
from router.requests.context import ContextFacts
from router.requests.keeping import KeptRequest, PromptKeeper
from router.requests.request import GenerationRequest

_MAX_TOKEN_ID: Final = 2**31 - 1
"""Those above stand for rows of pictures, which have no text."""
_READ: Final = "I have read what was said before and go on from there."


class TokenIdsKeeper:
    """A `PromptKeeper` for a request whose prompt has `context_ids`.

    Args:
        keeper_for: Makes what keeps a request without such.
        text_of: Returns the text of tokens, by the model that answers a request.
    """

    def __init__(
        self,
        keeper_for: Callable[[GenerationRequest], PromptKeeper],
        text_of: Callable[[GenerationRequest, Choice, list[int]], Awaitable[str]],
    ) -> None:
        self._keeper_for = keeper_for
        self._text_of = text_of
        self._keeper: PromptKeeper | None = None

    async def before(self, request: GenerationRequest) -> KeptRequest:
        """Return the request as it was sent: of tokens nothing was told before."""
        return KeptRequest(request=request)

    async def too_long(
        self, kept: KeptRequest, error: ContextLengthExceededError, choice: Choice
    ) -> KeptRequest | None:
        """Return the request with the text of its tokens, told as far as it has to be."""
        if self._keeper is None:
            request = await self._with_text(kept.request, choice)
            self._keeper = self._keeper_for(request)
            kept = await self._keeper.before(request)
        return await self._keeper.too_long(kept, error, choice)

    def on_end(self, kept: KeptRequest, facts: ContextFacts, choice: Choice) -> None:
        """Keep what the model saw; nothing is told ahead, because the next request comes with other tokens."""

    async def _with_text(self, request: GenerationRequest, choice: Choice) -> GenerationRequest:
        (prompt,) = request.prompts
        assert isinstance(prompt, ChatPrompt)
        token_ids = [token_id for token_id in prompt.context_ids if token_id <= _MAX_TOKEN_ID]
        text = await self._text_of(request, choice, token_ids)
        said: list[PromptMessage] = [{"role": "user", "content": text}, {"role": "assistant", "content": _READ}]
        return replace(request, prompts=(replace(prompt, messages=[*said, *prompt.messages], context_ids=[]),))
