"""Which part of a conversation is told as a narrative, which stays, and how long the narrative may be. Pure.

1. What the assistant has not read yet stays: the question, results of calls. Where the user's messages that nobody
   answered do not fit, all but the last are told.
2. The newest units before it stay as long as all of it, with a third of what is left for the narrative, fits the
   target share of the context.
3. The user's message that what stays goes on from stays too, where it fits a quarter of the target.
4. Where the target is not to be had, what has to stays and a narrative beside it in the same proportion; where there
   is no room for one, what is told is left out. More than the context less the answer's room is never used.
"""

import enum
import itertools
from collections.abc import Sequence
from typing import Final

import msgspec

from router.context.turns import Unit, Units

TARGET_SHARE: Final = 0.35
"""Of the context that is used after a wind, at most."""
MAX_NARRATIVE_TOKENS: Final = 2048
"""More than this is not asked for, whatever the context: it has to be written while somebody may wait."""
MIN_NARRATIVE_TOKENS: Final = 48
"""A narrative with less room than this says nothing; there is none then."""
_NARRATIVE_SHARE: Final = 1 / 3
_TASK_SHARE: Final = 1 / 4


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan has to fit, in tokens.

    Attributes:
        system_tokens: Of messages of the system, tools, and what the template adds around all messages.
        frame_tokens: Of what stands around a narrative in the prompt, and of the acknowledgement behind it.
        answer_room: That the context leaves to the answer.
        earlier_tokens: Of the narrative of an earlier wind; 0 = there is none.
        target_share: Of the context, 0..1.
    """

    context_length: int
    system_tokens: int
    frame_tokens: int
    answer_room: int
    earlier_tokens: int = 0
    target_share: float = TARGET_SHARE

    @property
    def target(self) -> int:
        """Tokens of the wound prompt where its parts allow it."""
        return min(int(self.context_length * self.target_share), self.ceiling)

    @property
    def ceiling(self) -> int:
        """Tokens of the wound prompt at most."""
        return self.context_length - self.answer_room


class WindPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of the messages that no earlier wind has told.

    Attributes:
        told_end: Number of messages at the beginning of the conversation that are told, but for those of the system and
            for `task`.
        task: Index of the user's message among them that stays, because what stays goes on from it; None = none.
        told: Indexes of what is told now, ascending; what an earlier wind told is in its narrative.
        kept: Indexes of what stays and is none of the system's, ascending.
        num_turns: Units that are told.
        told_tokens: Of these.
        narrative_tokens: That the narrative may have; 0 = there is no room for one, what is told is left out.
        prompt_tokens: Of the wound prompt, with a narrative of that length.
    """

    told_end: int
    task: int | None
    told: tuple[int, ...]
    kept: tuple[int, ...]
    num_turns: int
    told_tokens: int
    narrative_tokens: int
    prompt_tokens: int


class NoPlan(enum.Enum):
    """Why nothing is told.

    FITS: all of it fits the target. NOTHING_OLDER: all there is has to stay, and fits. TOO_LARGE: what has to stay does
    not leave the answer its room.
    """

    FITS = "fits"
    NOTHING_OLDER = "nothing_older"
    TOO_LARGE = "too_large"


class _Kept(msgspec.Struct, frozen=True):
    """What could stay: the units from `start` on, and the user's one that they go on from."""

    start: int
    task: int | None
    tokens: int


class _Choices:
    """What could stay, by where it begins.

    Attributes:
        first: Index of the unit from which on as much stays as may.
    """

    def __init__(self, all_units: Units, sizes: Sequence[int], budget: Budget, least_end: int) -> None:
        units = all_units.units
        self.units = units
        self.first = next((at for at, unit in enumerate(units) if unit.start >= least_end), len(units) - 1)
        self._has_task = all_units.has_task
        self.sizes = [sum(sizes[at] for at in unit.indexes) for unit in units]
        self.tokens_from = [*itertools.accumulate(reversed(self.sizes), initial=0)][::-1]
        self._max_task_tokens = _TASK_SHARE * budget.target
        users = itertools.accumulate((at if unit.is_user else -1 for at, unit in enumerate(units)), max)
        self._user_before = [-1, *users]

    def kept_from(self, start: int) -> _Kept:
        """Return what stays with the units from there on."""
        if start == 0 and self._has_task:  # it stayed before, and stays what the others go on from
            return _Kept(1, 0, self.tokens_from[0])
        task, tokens = self._user_before[start], self.tokens_from[start]
        if self.units[start].is_user or task < 0 or self.sizes[task] > self._max_task_tokens:
            return _Kept(start, None, tokens)
        return _Kept(start, task, tokens + self.sizes[task])

    def without_task(self, start: int) -> _Kept:
        """Return what stays with the units from there on alone."""
        return _Kept(start, None, self.tokens_from[start])


def plan_wind(units: Units, sizes: Sequence[int], budget: Budget, *, least_end: int = 0) -> WindPlan | NoPlan:
    """Return what is told and what stays.

    Args:
        sizes: Tokens of each message of the conversation, by its index; only those of the units count.
        least_end: Where the told beginning ends at least, number of messages; one of `told_ends`.
    """
    choices = _Choices(units, sizes, budget, least_end)
    now = budget.system_tokens + choices.tokens_from[0]
    now += budget.frame_tokens + budget.earlier_tokens if budget.earlier_tokens else 0
    if now <= budget.target:
        return NoPlan.FITS
    least = _least_kept(units, choices, budget)
    if least is None:
        return NoPlan.TOO_LARGE
    narrative_tokens = _narrative_room(least.tokens, budget)
    kept = _most_kept(choices, least, budget.target - budget.system_tokens - budget.frame_tokens - narrative_tokens)
    told = [at for at in range(kept.start) if at != kept.task]
    if not told and now <= budget.ceiling:
        return NoPlan.NOTHING_OLDER
    # With nothing that could be told, an earlier narrative has to be shorter.
    return _plan(choices, kept, told, narrative_tokens, budget)


def _least_kept(units: Units, choices: _Choices, budget: Budget) -> _Kept | None:
    """Return the least that stays; None where that is too much."""
    if not units.units:
        return None
    room = budget.ceiling - budget.system_tokens - budget.frame_tokens
    starts = [units.num_read]
    if not units.units[units.num_read].is_open:
        starts = [max(units.num_read, choices.first), len(units.units) - 1]
    tried = (kept for start in starts for kept in (choices.kept_from(start), choices.without_task(start)))
    return next((kept for kept in tried if kept.tokens <= room), None)


def _narrative_room(kept_tokens: int, budget: Budget) -> int:
    """Return how long a narrative may be beside the least that stays."""
    taken = budget.system_tokens + budget.frame_tokens + kept_tokens
    limit = budget.target if taken + MIN_NARRATIVE_TOKENS <= budget.target else budget.ceiling
    wanted = int((limit - taken) * _NARRATIVE_SHARE)
    room = min(max(wanted, MIN_NARRATIVE_TOKENS), limit - taken, MAX_NARRATIVE_TOKENS)
    return room if room >= MIN_NARRATIVE_TOKENS else 0


def _most_kept(choices: _Choices, least: _Kept, room: int) -> _Kept:
    """Return the most that stays within so many tokens, and the least where that is more."""
    most = least
    for start in range(least.start - 1, choices.first - 1, -1):
        if choices.tokens_from[start] > room:
            break
        kept = choices.kept_from(start)
        if kept.tokens <= room:
            most = kept
    return most


def _plan(choices: _Choices, kept: _Kept, told: Sequence[int], narrative_tokens: int, budget: Budget) -> WindPlan:
    told_tokens = sum(choices.sizes[at] for at in told)
    narrative_tokens = min(narrative_tokens, max(MIN_NARRATIVE_TOKENS, told_tokens + budget.earlier_tokens))
    units = choices.units
    task = [] if kept.task is None else [units[kept.task]]
    return WindPlan(
        told_end=units[kept.start].start,
        task=task[0].start if task else None,
        told=_indexes([units[at] for at in told]),
        kept=_indexes([*task, *units[kept.start :]]),
        num_turns=len(told),
        told_tokens=told_tokens,
        narrative_tokens=narrative_tokens,
        prompt_tokens=budget.system_tokens + budget.frame_tokens + narrative_tokens + kept.tokens,
    )


def _indexes(units: Sequence[Unit]) -> tuple[int, ...]:
    return tuple(sorted(at for unit in units for at in unit.indexes))
