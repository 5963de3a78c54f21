"""How many cells a context begins with, and how many it is made anew with when these are not enough. Pure."""

from collections.abc import Iterable
from typing import Final

from backends.sequence import Sequence
from backends.step import StepPlan

CELL_PADDING: Final = 256
"""Source: llama-context.cpp: `cparams.n_ctx = GGML_PAD(cparams.n_ctx, 256)`."""
ANSWER_TOKENS: Final = 1024
"""Of an answer that are counted before they are there: what most answers have, far less than most may have."""
_NEARLY_ALL: Final = 0.75
"""Who would have this share of all cells is given all: every growth copies what is there."""


def padded(num_cells: int) -> int:
    """Return the cells that the library makes where so many are asked for."""
    return -(-num_cells // CELL_PADDING) * CELL_PADDING


def first_size(num_promised: int, num_first: int | None, least: Iterable[int] = ()) -> int:
    """Return the cells that a context begins with.

    Args:
        num_promised: What it may grow to.
        num_first: What is wished; None = all at once.
        least: What it cannot do without.
    """
    return num_promised if num_first is None else min(num_promised, padded(max(num_first, *least, 1)))


def larger_sizes(num_cells: int, num_promised: int, *, num_needed: int, num_wanted: int) -> list[int]:
    """Return what a context is to grow to, best first: twice as many, at least; as few as will do.

    Args:
        num_needed: Cells with which the next step is possible.
        num_wanted: Cells with which it need not grow again soon.

    Returns:
        Sizes above `num_cells`, up to `num_promised`; none where it cannot grow.
    """
    most = max(2 * num_cells, num_wanted, num_needed)
    best = num_promised if most > _NEARLY_ALL * num_promised else padded(most)
    sizes = (best, min(padded(num_needed), num_promised))
    return [size for size in dict.fromkeys(sizes) if size > num_cells]


def num_rows(plan: StepPlan) -> int:
    """Return how many cells a step takes."""
    return sum(chunk.num_tokens + len(chunk.draft) for chunk in plan.chunks)


def num_expected(plan: StepPlan) -> int:
    """Return how many cells a step's sequences take before they end, as far as that is known."""
    return sum(
        sequence.num_pending + min(ANSWER_TOKENS, max(0, sequence.max_output_tokens - sequence.num_output_tokens))
        for sequence in (chunk.sequence for chunk in plan.chunks)
    )


def relieved(plan: StepPlan) -> tuple[StepPlan, Sequence | None]:
    """Return a plan that takes fewer cells: without its drafts or, where it has none, without a sequence.

    Returns:
        The plan, and the sequence: the one with the most tokens to evaluate, of equal ones the last.
    """
    if any(chunk.draft for chunk in plan.chunks):
        return StepPlan(tuple(chunk._replace(draft=()) for chunk in plan.chunks)), None
    largest = max(reversed(plan.chunks), key=lambda chunk: chunk.sequence.num_pending)
    return StepPlan(tuple(chunk for chunk in plan.chunks if chunk is not largest)), largest.sequence
