"""From a conversation and the tokens of its parts to a plan that fits. The plan itself is pure (`plan.py`)."""

from collections.abc import Iterator

import msgspec

from router.context.conversation import Conversation
from router.context.plan import Budget, NoPlan, WindPlan, plan_wind
from router.context.sizes import Ask, PromptSizes, Sizes
from router.context.turns import Units, units_of
from router.requests.context import answer_room
from router.stores.contexts import Wind


class Full(msgspec.Struct, frozen=True, kw_only=True):
    """How a context is full.

    Attributes:
        context_length: Tokens that it holds.
        num_tokens: Of what it was to hold, or a lower bound of them.
        is_prompt: Whether these are the prompt's, as its model was shown it; otherwise an answer is among them.
        target_share: Of the context that is to be used afterwards.
    """

    context_length: int
    num_tokens: int
    is_prompt: bool
    target_share: float


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """What stands for the beginning of a conversation; None = nothing does.

    Attributes:
        shown: What its model is shown now.
        base: From where it is told: that, or where messages were left out, what was told before them.
    """

    shown: Wind | None
    base: Wind | None

    @property
    def least_end(self) -> int:
        """Where the told beginning has to end at least, so that it takes the place of what is shown."""
        return 0 if self.shown is None or self.shown is self.base else self.shown.num_told


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """A plan, and by what it was made.

    Attributes:
        base: The wind that it goes on from; None = nothing was told yet.
        inline_tokens: Of the conversation up to where it is told, as it would be shown from there; None = its model
            has not been shown that.
    """

    plan: WindPlan
    base: Wind | None
    sizes: PromptSizes
    full: Full
    inline_tokens: int | None

    def tokens_after(self, narrative_tokens: int) -> int:
        """Return the tokens of the wound prompt with a narrative of that length."""
        return self.plan.prompt_tokens - self.plan.narrative_tokens + narrative_tokens


async def planned(
    conversation: Conversation, standing: Standing, full: Full, sizes: Sizes, ask: Ask
) -> Planned | NoPlan:
    """Return what of a conversation is to be told; errors as of `ask`.

    Where the answer's whole room is not to be had, it gets less.
    """
    base = standing.base
    units = _units(conversation, base)
    counted = await sizes.of(conversation.prompt, _indexes(units), ask, conversation.model)
    if full.is_prompt:
        counted = _set_right(conversation, standing.shown, counted, full.num_tokens)
    found = _plan(conversation, units, counted, full, standing)
    if isinstance(found, NoPlan):
        return found
    before = sum(counted.messages[at] for at in _indexes(units) if at < found.told_end)
    inline_tokens = _around(counted, base) + before if base is standing.shown else None
    return Planned(plan=found, base=base, sizes=counted, full=full, inline_tokens=inline_tokens)


def _plan(
    conversation: Conversation, units: Units, sizes: PromptSizes, full: Full, standing: Standing
) -> WindPlan | NoPlan:
    base = standing.base
    found: WindPlan | NoPlan = NoPlan.TOO_LARGE
    for room in _rooms(answer_room(conversation.request.spec.max_tokens, full.context_length)):
        budget = Budget(
            context_length=full.context_length,
            system_tokens=sizes.system,
            frame_tokens=sizes.frame,
            answer_room=room,
            earlier_tokens=0 if base is None else base.narrative_tokens,
            target_share=full.target_share,
        )
        found = plan_wind(units, sizes.messages, budget, least_end=standing.least_end)
        if found is not NoPlan.TOO_LARGE:
            break
    return found


def _set_right(conversation: Conversation, shown: Wind | None, sizes: PromptSizes, num_tokens: int) -> PromptSizes:
    """Return sizes by which a prompt is as long as its model's worker says."""
    around = _around(sizes, shown)
    messages = sum(sizes.messages[at] for at in _indexes(_units(conversation, shown)))
    factor = (num_tokens - around) / max(1, messages)
    return sizes.scaled(factor) if factor > 1 else sizes


def _units(conversation: Conversation, wind: Wind | None) -> Units:
    begin, task = (0, None) if wind is None else (wind.num_told, wind.task)
    return units_of(conversation.prompt.messages, begin, task)


def _indexes(units: Units) -> list[int]:
    return sorted({at for unit in units.units for at in unit.indexes})


def _around(sizes: PromptSizes, wind: Wind | None) -> int:
    return sizes.system + (0 if wind is None else sizes.frame + wind.narrative_tokens)


def _rooms(wanted: int) -> Iterator[int]:
    """Yield how much room an answer may have, from what it is to have down to a token."""
    while wanted > 1:
        yield wanted
        wanted //= 2
    yield 1
