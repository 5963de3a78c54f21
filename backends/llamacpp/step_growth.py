"""More cells for a step that has too few, and what becomes of a step that cannot have them.

A sequence that would need cells for which there is no memory ends with an error; the others of its step go on.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from backends.errors import BackendError, CacheGrowthError
from backends.llamacpp.caches import SequenceCaches
from backends.llamacpp.context import Context
from backends.llamacpp.growth import num_expected, num_rows, relieved
from backends.sequence import Sequence
from backends.step import StepPlan


class StepGrowth(NamedTuple):
    """What is left of a step that does not go on as it was planned.

    Attributes:
        plan: What is to be evaluated instead, if anything is.
        is_over: It was given up, or what it began with is gone.
        num_computed: As in `StepResult`.
        errors: Likewise.
    """

    plan: StepPlan = StepPlan()
    is_over: bool = False
    num_computed: Mapping[int, int] = MappingProxyType({})
    errors: Mapping[int, BackendError] = MappingProxyType({})


class _AbortWish:
    """Asks whether a step is to be given up, and remembers a yes."""

    def __init__(self, should_abort: Callable[[], bool]) -> None:
        self._should_abort = should_abort
        self._is_there = should_abort()

    def look(self) -> None:
        self._is_there = self._should_abort() or self._is_there

    def is_there(self) -> bool:
        return self._is_there


class StepGrower:
    """Has a context grow, and keeps the caches in it right."""

    def __init__(self, context: Context, caches: SequenceCaches) -> None:
        self._context = context
        self._caches = caches

    def grow(self, plan: StepPlan, should_abort: Callable[[], bool], num_needed: int = 0) -> StepGrowth | None:
        """Have more cells.

        Args:
            should_abort: Asked before, and now and then meanwhile.
            num_needed: What there must be at least; more, in any case, by what the step takes.

        Returns:
            What is left of the step; None = all of it, to be evaluated with the cells that there are now.
        """
        wish = _AbortWish(should_abort)
        if wish.is_there():
            return StepGrowth(is_over=True, num_computed=self._caches.roll_back(plan.chunks))
        num_cells = self._context.num_cells
        growth = self._context.grow(
            num_needed=max(num_needed, num_cells + num_rows(plan)),
            num_wanted=max(num_needed, num_cells) + num_expected(plan),
            may_empty=True,
            poll=wish.look,
        )
        rest, sequence = (plan, None) if growth.is_larger else relieved(plan)
        errors = self._refused(sequence, growth.why_not)
        if growth.is_emptied:
            return StepGrowth(is_over=True, num_computed=dict.fromkeys(self._caches.lose(), 0), errors=errors)
        if wish.is_there():
            return StepGrowth(is_over=True, num_computed=self._caches.roll_back(plan.chunks))
        return None if growth.is_larger else StepGrowth(rest, errors=errors)

    def _refused(self, sequence: Sequence | None, why_not: str) -> dict[int, BackendError]:
        """Have a sequence without cells end."""
        if sequence is None:
            return {}
        self._caches.remove(sequence.sequence_id)
        return {sequence.sequence_id: CacheGrowthError(self._context.num_cells, why_not)}
