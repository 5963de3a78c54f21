"""Has one part of a conversation told: at once by the model that has it in its cache, or in pieces that are quoted.

What was told is kept from one try to the next, so that a wind which is held up goes on where it was. Not here: when it
is tried, and what is done when nobody can tell (`winding.py`).
"""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from backends.errors import PromptError
from backends.wire.prompts import ChatPrompt
from backends.wire.request import Priority
from router.context.narrative import asked_inline, asked_quoted, told_narrative
from router.context.sizes import Ask, Sizes
from router.context.summarising import Said, Summariser
from router.context.transcript import transcripts_of
from router.errors import ContextLengthExceededError, InvalidRequestError

_MIN_PIECE_TOKENS: Final = 64
"""Of a piece that is told by itself."""
_THINKING_FACTOR: Final = 4
"""How much longer an answer may be whose model thinks although it was asked not to."""

AskSummariser = Callable[[ChatPrompt, Summariser, int, Priority], Awaitable[Said]]
"""Prompt, who is asked, tokens of the answer at most, priority."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be told.

    Attributes:
        shown: The conversation as its model was shown it.
        told_end: Number of messages of that which are told.
        inline_tokens: Of these; None = its model was not shown them like that.
        prompt: The whole conversation; `told` and `sizes` have its indexes.
        earlier: The narrative of what was before it, or None.
        max_tokens: Of the narrative.
        instructions: What it is to heed, in the request's own words, or None.
    """

    shown: ChatPrompt
    told_end: int
    inline_tokens: int | None
    prompt: ChatPrompt
    told: tuple[int, ...]
    sizes: tuple[int, ...]
    earlier: str | None
    max_tokens: int
    instructions: str | None = None


class Telling:
    """One part on its way to its narrative.

    Args:
        said: Puts a question to a summariser.

    Attributes:
        narrative: Of what was told so far, that which was told before included.
        is_whole: Whether that is all.
        by: Who was asked last, or None.
    """

    def __init__(self, part: Part, said: AskSummariser, sizes: Sizes) -> None:
        self._part = part
        self._said = said
        self._sizes = sizes
        self.narrative = part.earlier
        self.is_whole = False
        self.by: str | None = None
        self._pieces: list[str] | None = None
        self._is_inline_tried = False

    async def tell(self, by: Summariser, ask: Ask, context_length: int, priority: Priority) -> None:
        """Go on; errors as of `Summarising.said`. Whether all is told then says `is_whole`.

        Args:
            ask: Has the summariser count.
            context_length: Of the summariser, tokens.
        """
        self.by = by.name
        part = self._part
        question = await self._sizes.prompt(
            asked_quoted("", "", max_tokens=part.max_tokens, instructions=part.instructions), ask, by.name
        )
        if by.is_own and self._may_be_inline(question, context_length):
            await self._tell_inline(by, context_length, priority)
        room = context_length - question - 2 * part.max_tokens
        while not self.is_whole and room >= _MIN_PIECE_TOKENS:
            try:
                await self._tell_pieces(by, room, context_length, priority)
                break
            except ContextLengthExceededError:  # its tokens are shorter than those that were counted
                self._pieces = None
                room //= 2

    def _may_be_inline(self, question_tokens: int, context_length: int) -> bool:
        """Tell whether one question does, which was not put yet."""
        part = self._part
        if part.inline_tokens is None or not part.told or self._is_inline_tried or self._pieces is not None:
            return False
        return part.inline_tokens + question_tokens + part.max_tokens <= context_length

    async def _tell_inline(self, by: Summariser, context_length: int, priority: Priority) -> None:
        part = self._part
        asked = asked_inline(part.shown, part.told_end, max_tokens=part.max_tokens, instructions=part.instructions)
        try:
            narrative = await self._answer(asked, by, context_length, priority)
        except (InvalidRequestError, PromptError):  # too long after all, or the template does not take it like that
            narrative = None
        self._is_inline_tried = True
        if narrative is not None:
            self.narrative, self.is_whole = narrative, True

    async def _tell_pieces(self, by: Summariser, room: int, context_length: int, priority: Priority) -> None:
        """Tell piece after piece, each with the narrative of those before it; one that says nothing ends it."""
        part = self._part
        if self._pieces is None:
            told = transcripts_of(part.prompt.messages, part.told, part.sizes, room)
            self._pieces, self.narrative = told or [""], part.earlier
        while self._pieces:
            asked = asked_quoted(
                self.narrative, self._pieces[0], max_tokens=part.max_tokens, instructions=part.instructions
            )
            narrative = await self._answer(asked, by, context_length, priority)
            if narrative is None:
                return
            self.narrative = narrative
            del self._pieces[0]
        self.is_whole = True

    async def _answer(self, asked: ChatPrompt, by: Summariser, context_length: int, priority: Priority) -> str | None:
        max_tokens = self._part.max_tokens
        said = await self._said(asked, by, max_tokens, priority)
        narrative = _narrative(said, asked, max_tokens)
        if narrative is None and said.has_thought and said.is_cut:
            longer = min(max_tokens * _THINKING_FACTOR, context_length // 2)
            narrative = _narrative(await self._said(asked, by, longer, priority), asked, max_tokens)
        return narrative


def _narrative(said: Said, asked: ChatPrompt, max_tokens: int) -> str | None:
    return told_narrative(said.text, is_cut=said.is_cut, num_tokens=said.num_tokens, max_tokens=max_tokens, asked=asked)
