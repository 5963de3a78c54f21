"""Which drafts the sequences of a step get, and what is learned of them. Pure: no engine, clock or I/O in here.

Only steps in which all sequences decode have any: beside a prompt, and in a full batch, rows are worth more to others.
A draft is cut to what its sequence may still draw, before an end token, at the first token that its constraint forbids,
and to the cells that are free.
"""

import dataclasses
from collections.abc import Collection
from typing import Final

from backends.batch_limits import BatchLimits
from backends.logits import LogitsEditor
from backends.sequence import Sequence
from backends.speculation.lookup import TokenLookup
from backends.speculation.worth import FIRST_CREDIT, SHARE, DraftWorth, Offer, credited
from backends.step import Chunk, StepPlan, StepResult
from backends.wire.request import SpeculationMode

MAX_DRAFT: Final = 15
"""Tokens of the longest draft."""
_SEEN_EVERY: Final = 4
"""Of steps without drafts one of so many is looked at: it costs a thousandth of a small model's step."""
_LOOKUP_DRAFT: Final = 7
"""Those of one that does not ask what it costs."""


@dataclasses.dataclass(slots=True)
class _Drafting:
    """What is kept of a sequence.

    Attributes:
        lookup: None = it has no drafts, but is in steps with others that have.
        credit: What it may still lose by drafts.
    """

    lookup: TokenLookup | None
    editor: LogitsEditor | None
    credit: float = FIRST_CREDIT


class Speculation:
    """Owns the drafts of one worker's sequences.

    Args:
        mode: Of sequences that do not say.
        end_ids: Tokens that end an answer.

    Attributes:
        num_drafted: Tokens of all drafts so far.
        num_accepted: Those of them that were drawn.
    """

    def __init__(self, limits: BatchLimits, mode: SpeculationMode, end_ids: Collection[int]) -> None:
        self.num_drafted = self.num_accepted = 0
        self._limits = limits
        self._mode = mode
        self._end_ids = end_ids
        self._worth = DraftWorth()
        self._drafting: dict[int, _Drafting] = {}
        self._num_drafting = self._num_unseen = 0

    def start(self, sequence: Sequence, editor: LogitsEditor | None) -> None:
        """Take a sequence up; its editor is asked what may follow, and never changed."""
        lookup = None if self._mode_of(sequence) is SpeculationMode.OFF else TokenLookup()
        self._num_drafting += lookup is not None
        self._drafting[sequence.sequence_id] = _Drafting(lookup, editor)

    def forget(self, sequence_id: int) -> None:
        """Drop what is kept of a sequence that has ended; unknown ids are ignored."""
        drafting = self._drafting.pop(sequence_id, None)
        self._num_drafting -= drafting is not None and drafting.lookup is not None

    def drafted(self, plan: StepPlan, num_free_cells: int) -> StepPlan:
        """Return the plan with the drafts that it is to have.

        Args:
            num_free_cells: Cells that nobody has claimed for the tokens that are known.
        """
        chunks = plan.chunks
        num_rows = len(chunks)
        is_full = num_rows >= max(2, self._limits.max_sequences)
        max_rows = min(num_rows + num_free_cells, self._limits.step_tokens)
        if not self._num_drafting or not _all_decode(chunks) or is_full or max_rows <= num_rows:
            return plan
        drafts = [self._draft(chunk.sequence) for chunk in chunks]
        if not any(drafts):
            return plan
        lengths = self._lengths(chunks, drafts, max_rows)
        if not any(lengths):
            return plan
        pairs = zip(chunks, drafts, lengths, strict=True)
        return StepPlan(tuple(chunk._replace(draft=draft[:length]) for chunk, draft, length in pairs), plan.evicted)

    def on_step(self, plan: StepPlan, result: StepResult, cpu_s: float, num_threads: int | None) -> None:
        """Learn from a step that was not given up.

        Args:
            cpu_s: What it took of the processors: by the clock it takes longer where others use them too.
            num_threads: That computed it, where that is known.
        """
        if not self._num_drafting or not _all_decode(plan.chunks):
            return
        num_steps = 1
        if not any(chunk.draft for chunk in plan.chunks):
            self._num_unseen += 1
            if self._num_unseen < _SEEN_EVERY:
                return
            num_steps, self._num_unseen = self._num_unseen, 0
        nums = [len(result.tokens.get(chunk.sequence.sequence_id, ())) for chunk in plan.chunks]
        num_drafted = sum(len(chunk.draft) for chunk in plan.chunks)
        cost = self._worth.observe(len(nums), num_drafted, sum(nums), cpu_s, num_threads, num_steps)
        for chunk, num_tokens in zip(plan.chunks, nums, strict=True):
            drafting = self._drafting.get(chunk.sequence.sequence_id)
            if drafting is not None:
                drafting.credit = credited(drafting.credit, num_tokens - cost if num_drafted else SHARE * num_steps)
            if chunk.draft:
                chunk.sequence.num_drafted += len(chunk.draft)
                chunk.sequence.num_accepted += max(0, num_tokens - 1)
                self.num_drafted += len(chunk.draft)
                self.num_accepted += max(0, num_tokens - 1)

    def _mode_of(self, sequence: Sequence) -> SpeculationMode:
        return self._mode if sequence.speculation is None else sequence.speculation

    def _draft(self, sequence: Sequence) -> tuple[int, ...]:
        """Return what may follow a sequence's tokens, as far as it would be of use."""
        drafting = self._drafting.get(sequence.sequence_id)
        if drafting is None or drafting.lookup is None:
            return ()
        # One more is drawn than was drafted.
        num_left = sequence.max_output_tokens - sequence.num_output_tokens - 1
        draft = drafting.lookup.draft(sequence.token_ids, min(MAX_DRAFT, num_left))
        if not draft:
            return ()
        draft = draft[: next((index for index, token_id in enumerate(draft) if token_id in self._end_ids), len(draft))]
        return draft if drafting.editor is None else draft[: drafting.editor.num_allowed(draft)]

    def _lengths(self, chunks: tuple[Chunk, ...], drafts: list[tuple[int, ...]], max_rows: int) -> list[int]:
        """Return how much of each draft is used: of those that are wanted whatever they cost, or else what pays."""
        modes = [self._mode_of(chunk.sequence) for chunk in chunks]
        wanted = [
            min(_LOOKUP_DRAFT, len(draft)) if mode is SpeculationMode.LOOKUP else 0
            for mode, draft in zip(modes, drafts, strict=True)
        ]
        if any(wanted):
            share = (max_rows - len(chunks)) // sum(length > 0 for length in wanted)
            return [min(length, share) for length in wanted]
        offers = [self._offer(chunk.sequence, len(draft)) for chunk, draft in zip(chunks, drafts, strict=True)]
        return self._worth.lengths(offers, max_rows)

    def _offer(self, sequence: Sequence, num_tokens: int) -> Offer:
        drafting = self._drafting[sequence.sequence_id]
        acceptance = 0.0 if drafting.lookup is None else drafting.lookup.acceptance
        return Offer(num_tokens, acceptance, drafting.credit)


def _all_decode(chunks: tuple[Chunk, ...]) -> bool:
    """Tell whether a step has sequences, and all of them decode; those that do come first in it."""
    return bool(chunks) and chunks[-1].sequence.is_decoding
