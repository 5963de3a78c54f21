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
        num_prompt_tokens: Of the prompt as the model was shown it, likewise; None = not known.
        target_share: Of the context that is to be used afterwards.
    """

    context_length: int
    num_tokens: int
    num_prompt_tokens: int | None
    target_share: float


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """A plan, and by what it was made.

    Attributes:
        base: The wind that it goes on from; None = nothing was told yet.
        inline_tokens: Of the conversation up to where it is told, as its model was shown it.
    """

    plan: WindPlan
    base: Wind | None
    sizes: PromptSizes
    full: Full
    inline_tokens: int

    def tokens_after(self, narrative_tokens: int) -> int:
        """Return the tokens of the wound prompt with a narrative of that length."""
        return self.plan.prompt_tokens - self.plan.narrative_tokens + narrative_tokens


async def planned(
    conversation: Conversation, base: Wind | None, full: Full, sizes: Sizes, ask: Ask
) -> Planned | NoPlan:
    """Return what of a conversation is to be told; errors as of `ask`.

    Where the answer's whole room is not to be had, it gets less.
    """
    begin, task = (0, None) if base is None else (base.num_told, base.task)
    units = units_of(conversation.prompt.messages, begin, task)
    wanted = sorted({at for unit in units.units for at in unit.indexes})
    counted = await sizes.of(conversation.prompt, wanted, ask, conversation.model)
    earlier = 0 if base is None else base.narrative_tokens
    around = counted.system + (0 if base is None else counted.frame + earlier)
    estimate = around + sum(counted.messages)
    if full.num_prompt_tokens is not None and full.num_prompt_tokens > estimate:
        counted = counted.scaled((full.num_prompt_tokens - around) / max(1, estimate - around))
    found: WindPlan | NoPlan = NoPlan.TOO_LARGE
    for room in _rooms(answer_room(conversation.request.spec.max_tokens, full.context_length)):
        budget = Budget(
            context_length=full.context_length,
            system_tokens=counted.system,
            frame_tokens=counted.frame,
            answer_room=room,
            earlier_tokens=earlier,
            target_share=full.target_share,
        )
        found = plan_wind(units, counted.messages, budget)
        if found is not NoPlan.TOO_LARGE:
            break
    if isinstance(found, NoPlan):
        return found
    return Planned(
        plan=found, base=base, sizes=counted, full=full, inline_tokens=around + _before(units, found, counted)
    )


def _rooms(wanted: int) -> Iterator[int]:
    """Yield how much room an answer may have, from what it is to have down to a token."""
    while wanted > 1:
        yield wanted
        wanted //= 2
    yield 1


def _before(units: Units, plan: WindPlan, sizes: PromptSizes) -> int:
    return sum(sizes.messages[at] for unit in units.units for at in unit.indexes if at < plan.told_end)
