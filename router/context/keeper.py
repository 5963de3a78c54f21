"""Keeps the conversation of one request within its model's context, with the winder that has all of them."""

from typing import Final, Protocol

from msgspec.structs import replace

from router.context.conversation import Conversation
from router.context.plan import NoPlan
from router.errors import ContextLengthExceededError
from router.models.targets import Choice
from router.requests.context import ContextFacts
from router.requests.keeping import KeptRequest
from router.requests.request import GenerationRequest
from router.stores.contexts import Wind

_MAX_WINDS: Final = 4
"""Of one request: each is by what was counted of the one before."""


class Winds(Protocol):
    """What a keeper wants of the winder."""

    async def longest(self, conversation: Conversation) -> Wind | None:
        """Return what was told of the longest of a conversation's beginnings."""

    async def wind(
        self, conversation: Conversation, base: Wind | None, error: ContextLengthExceededError, choice: Choice
    ) -> Wind | NoPlan:
        """Have a conversation told on that is too long, and wait for that."""

    def wind_ahead(self, conversation: Conversation, base: Wind | None, facts: ContextFacts, choice: Choice) -> None:
        """Have it told on in the background, if that is worth it by now."""

    def note_use(self, conversation: Conversation, wind: Wind) -> None:
        """Take note that a model saw it."""


class ConversationKeeper:
    """A `PromptKeeper`. Its request's tasks come one after the other."""

    def __init__(self, winds: Winds, request: GenerationRequest) -> None:
        self._winds = winds
        self._conversation = Conversation(request)
        self._wind: Wind | None = None
        self._num_winds = 0

    async def before(self, request: GenerationRequest) -> KeptRequest:  # noqa: ARG002 - it has it
        """Return the request with what of its conversation was told again before."""
        self._wind = await self._winds.longest(self._conversation)
        return self._conversation.kept(self._wind)

    async def too_long(
        self, kept: KeptRequest, error: ContextLengthExceededError, choice: Choice
    ) -> KeptRequest | None:
        """Return the request with more of its conversation told; where nothing more can be, as it fits without that."""
        self._num_winds += 1
        if self._num_winds > _MAX_WINDS:
            return self._as_it_is(kept, error)
        found = await self._winds.wind(self._conversation, self._wind, error, choice)
        if isinstance(found, NoPlan):
            return self._as_it_is(kept, error)
        self._wind = found
        return _without_threshold(self._conversation.kept(found, is_new=True))

    def on_end(self, kept: KeptRequest, facts: ContextFacts, choice: Choice) -> None:  # noqa: ARG002 - it has it
        """Keep what the model saw; look whether the next turn will need less."""
        if self._wind is not None:
            self._winds.note_use(self._conversation, self._wind)
        self._winds.wind_ahead(self._conversation, self._wind, facts, choice)

    def _as_it_is(self, kept: KeptRequest, error: ContextLengthExceededError) -> KeptRequest | None:
        """Return the request with less room for its answer than it should have, or as it was sent to be cut."""
        if error.num_prompt_tokens < error.context_length:
            return replace(_without_threshold(kept), keeps_room=False)
        if self._conversation.truncates:
            (prompt,) = kept.request.prompts
            cut = replace(kept.request, prompts=(replace(prompt, truncates=True),))
            return replace(_without_threshold(kept), request=cut, keeps_room=False)
        return None


def _without_threshold(kept: KeptRequest) -> KeptRequest:
    """Return a request that is not wound again only because it is longer than its client wants it."""
    wish = kept.request.context
    if wish is None or wish.threshold is None:
        return kept
    return replace(kept, request=replace(kept.request, context=replace(wish, threshold=None)))
