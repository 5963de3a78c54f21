"""Which drafts the sequences of a step get, and what is learned of them.

Pure, but for the drafter that may be there. Only steps in which all sequences decode have any: beside a prompt, and in
a full batch, rows are worth more to others. A draft is cut to what its sequence may still draw, before an end token, at
the first token that its constraint forbids, and to the cells that are free.
"""

import dataclasses
import sys
from collections.abc import Collection
from typing import Final

from backends.batch_limits import BatchLimits
from backends.logits import LogitsEditor
from backends.sequence import Sequence
from backends.speculation.drafter import Drafter, Wish
from backends.speculation.lookup import TokenLookup
from backends.speculation.model_drafts import Candidate, ModelDrafts
from backends.speculation.worth import FIRST_CREDIT, SHARE, DraftWorth, Lengths, Offer, credited
from backends.step import Chunk, StepPlan, StepResult
from backends.wire.request import SpeculationMode

MAX_DRAFT: Final = 15
"""Tokens of the longest draft."""
_SEEN_EVERY: Final = 4
"""Of steps without drafts one of so many is looked at: it costs a thousandth of a small model's step."""
_WANTED_DRAFT: Final = 7
"""Tokens of a draft that is wanted whatever it costs."""
_LEAST_CHANCE: Final = 0.3
"""Of such a draft of a model."""
_DRAFTER_CREDIT: Final = 2.0
"""What each sequence may lose besides by drafts of a model, which evaluates some of the text first."""

_Drafts = list[tuple[int, ...]]
_LOOKS_UP: Final = {SpeculationMode.AUTO, SpeculationMode.LOOKUP}
_BY_MODEL: Final = {SpeculationMode.AUTO, SpeculationMode.DRAFT}


@dataclasses.dataclass(slots=True)
class _Drafting:
    """What is kept of a sequence.

    Attributes:
        lookup: None = nothing is looked up for it.
        credit: What it may still lose by drafts, its own or others' in the same steps.
    """

    mode: SpeculationMode
    lookup: TokenLookup | None
    editor: LogitsEditor | None
    credit: float = FIRST_CREDIT

    @property
    def is_drafting(self) -> bool:
        return self.mode is not SpeculationMode.OFF


class Speculation:
    """Owns the drafts of one worker's sequences.

    Args:
        mode: Of sequences that do not say.
        end_ids: Tokens that end an answer.
        drafter: A second model, if there is one.

    Attributes:
        num_drafted: Tokens of all drafts so far.
        num_accepted: Those of them that were drawn.
        num_drafted_by_model: Those of them that the drafter drafted; `num_accepted_by_model` likewise.
    """

    def __init__(
        self, limits: BatchLimits, mode: SpeculationMode, end_ids: Collection[int], drafter: Drafter | None = None
    ) -> None:
        self.num_drafted = self.num_accepted = self.num_drafted_by_model = self.num_accepted_by_model = 0
        self._limits = limits
        self._mode = mode
        self._end_ids = end_ids
        self._worth = DraftWorth()
        self._model = None if drafter is None else ModelDrafts(drafter, self._worth)
        self._drafting: dict[int, _Drafting] = {}
        self._num_drafting = self._num_unseen = 0
        self._is_by_model = [False]
        self._drafting_s = 0.0

    def start(self, sequence: Sequence, editor: LogitsEditor | None) -> None:
        """Take a sequence up; its editor is asked what may follow, and never changed."""
        mode = self._mode if sequence.speculation is None else sequence.speculation
        lookup = TokenLookup() if mode in _LOOKS_UP else None
        drafting = _Drafting(mode, lookup, editor)
        self._num_drafting += drafting.is_drafting
        self._drafting[sequence.sequence_id] = drafting
        if self._model is not None and mode in _BY_MODEL:
            self._model.start(sequence.sequence_id)

    def forget(self, sequence_id: int) -> None:
        """Drop what is kept of a sequence that has ended; unknown ids are ignored."""
        drafting = self._drafting.pop(sequence_id, None)
        self._num_drafting -= drafting is not None and drafting.is_drafting
        if self._model is not None:
            self._model.forget(sequence_id)

    def drafted(self, plan: StepPlan, num_free_cells: int) -> StepPlan:
        """Return the plan with the drafts that it is to have.

        Args:
            num_free_cells: Cells that nobody has claimed for the tokens that are known.
        """
        chunks = plan.chunks
        num_rows = len(chunks)
        most = self._limits.max_drafted
        is_full = num_rows >= max(2, self._limits.max_sequences) or (most is not None and num_rows > most)
        max_rows = min(num_rows + num_free_cells, self._limits.step_tokens)
        self._drafting_s = 0.0
        if not self._num_drafting or not _all_decode(chunks) or is_full or max_rows <= num_rows:
            return plan
        looked_up = [self._looked_up(chunk.sequence) for chunk in chunks]
        wanted = [self._is_wanted(chunk.sequence, draft) for chunk, draft in zip(chunks, looked_up, strict=True)]
        if any(wanted):
            drafts = self._wanted_drafts(chunks, looked_up, wanted, max_rows)
        else:
            drafts = self._worthwhile_drafts(chunks, looked_up, max_rows)
        if not any(drafts):
            return plan
        pairs = zip(chunks, drafts, strict=True)
        return StepPlan(tuple(chunk._replace(draft=draft) for chunk, draft in pairs), plan.evicted)

    def on_step(self, plan: StepPlan, result: StepResult, cpu_s: float, num_threads: int | None) -> None:
        """Learn from a step that was not given up.

        Args:
            cpu_s: What it took of the processors: by the clock it takes longer where others use them too. Where they do
                not compute, by the clock.
            num_threads: That computed it, where that is known.
        """
        if not self._num_drafting or not _all_decode(plan.chunks):
            return
        nums = [len(result.tokens.get(chunk.sequence.sequence_id, ())) for chunk in plan.chunks]
        if not any(chunk.draft for chunk in plan.chunks):
            self._on_plain_step(plan.chunks, sum(nums), cpu_s, num_threads)
            return
        num_drafted = sum(len(chunk.draft) for chunk in plan.chunks)
        cost = self._worth.observe(len(nums), num_drafted, sum(nums), cpu_s, num_threads, drafting_s=self._drafting_s)
        for chunk, num_tokens, is_by_model in zip(plan.chunks, nums, self._is_by_model, strict=True):
            self._credit(chunk.sequence, num_tokens - cost)
            if chunk.draft:
                self._count(chunk, max(0, num_tokens - 1), num_tokens - cost, is_by_model=is_by_model)

    def _on_plain_step(self, chunks: tuple[Chunk, ...], num_tokens: int, cpu_s: float, num_threads: int | None) -> None:
        """Learn from one of some steps without drafts, and from each whose drafts came to nothing."""
        num = len(chunks)
        if self._drafting_s:
            cost = self._worth.charge(self._drafting_s, num)
            for chunk in chunks:
                self._credit(chunk.sequence, -cost)
        self._num_unseen += 1
        if self._num_unseen < _SEEN_EVERY:
            return
        num_steps, self._num_unseen = self._num_unseen, 0
        self._worth.observe(num, 0, num_tokens, cpu_s, num_threads, num_steps)
        if self._model is not None:
            self._model.on_idle_steps(num_steps)
        for chunk in chunks:
            self._credit(chunk.sequence, SHARE * num_steps)
            if self._model is not None:
                self._model.on_plain_steps(chunk.sequence.sequence_id, num_steps)

    def _credit(self, sequence: Sequence, gain: float) -> None:
        drafting = self._drafting.get(sequence.sequence_id)
        if drafting is not None:
            drafting.credit = credited(drafting.credit, gain)

    def _count(self, chunk: Chunk, num_right: int, gain: float, *, is_by_model: bool) -> None:
        sequence, num_drafted = chunk.sequence, len(chunk.draft)
        for counts in (sequence, self):
            counts.num_drafted += num_drafted
            counts.num_accepted += num_right
            if is_by_model:
                counts.num_drafted_by_model += num_drafted
                counts.num_accepted_by_model += num_right
        if is_by_model and self._model is not None:
            self._model.on_step(sequence.sequence_id, num_drafted, num_right, gain)

    # ---- drafts ------------------------------------------------------------------------------------------------------

    def _looked_up(self, sequence: Sequence) -> tuple[int, ...]:
        """Return what followed when a sequence's newest tokens stood in it before."""
        drafting = self._drafting.get(sequence.sequence_id)
        if drafting is None or drafting.lookup is None:
            return ()
        return self._useful(sequence, drafting.lookup.draft(sequence.token_ids, _num_useful(sequence)))

    def _useful(self, sequence: Sequence, draft: tuple[int, ...]) -> tuple[int, ...]:
        """Return a draft as far as it could be drawn."""
        if not draft:
            return ()
        draft = draft[: next((index for index, token_id in enumerate(draft) if token_id in self._end_ids), len(draft))]
        editor = self._drafting[sequence.sequence_id].editor
        return draft if editor is None else draft[: editor.num_allowed(draft)]

    def _is_wanted(self, sequence: Sequence, draft: tuple[int, ...]) -> bool:
        """Tell whether a sequence is to have a draft whatever it costs."""
        drafting = self._drafting.get(sequence.sequence_id)
        if drafting is None:
            return False
        if drafting.mode is SpeculationMode.LOOKUP:
            return bool(draft)
        return drafting.mode is SpeculationMode.DRAFT and self._model is not None and _num_useful(sequence) > 0

    def _wanted_drafts(
        self, chunks: tuple[Chunk, ...], looked_up: _Drafts, wanted: list[bool], max_rows: int
    ) -> _Drafts:
        """Return drafts of those that want them."""
        most = min(_WANTED_DRAFT, (max_rows - len(chunks)) // sum(wanted))
        wishes: list[Wish | None] = [
            Wish(chunk.sequence, min(most, _num_useful(chunk.sequence)), sys.maxsize)
            if is_wanted and most and not draft
            else None
            for chunk, is_wanted, draft in zip(chunks, wanted, looked_up, strict=True)
        ]
        drafts = [draft[:most] if is_wanted else () for draft, is_wanted in zip(looked_up, wanted, strict=True)]
        if not any(wishes):
            self._is_by_model = [False] * len(chunks)
            return drafts
        by_model = self._asked(chunks, wishes, _LEAST_CHANCE)
        return [draft or other for draft, other in zip(drafts, by_model, strict=True)]

    def _worthwhile_drafts(self, chunks: tuple[Chunk, ...], looked_up: _Drafts, max_rows: int) -> _Drafts:
        """Return those drafts, looked up or of the model, of which more is expected; none where none pays."""
        offers = [self._offer(chunk.sequence, len(draft)) for chunk, draft in zip(chunks, looked_up, strict=True)]
        found = self._worth.lengths(offers, max_rows) if any(looked_up) else Lengths([0] * len(chunks))
        if self._model is not None and not self._model.rests():
            planned = self._model.planned([self._candidate(chunk.sequence) for chunk in chunks], max_rows)
            if any(planned.wishes) and planned.lengths.gain > found.gain:
                drafts = self._asked(chunks, planned.wishes, planned.lengths.row_cost)
                if any(drafts):
                    return drafts
        self._is_by_model = [False] * len(chunks)
        return [draft[:num_tokens] for draft, num_tokens in zip(looked_up, found.tokens, strict=True)]

    def _asked(self, chunks: tuple[Chunk, ...], wishes: list[Wish | None], least_chance: float) -> _Drafts:
        """Return what the drafter drafts."""
        assert self._model is not None
        drafts = self._model.drafted(wishes, least_chance)
        self._drafting_s = drafts.cpu_s
        self._is_by_model = [wish is not None for wish in wishes]
        return [self._useful(chunk.sequence, draft) for chunk, draft in zip(chunks, drafts.tokens, strict=True)]

    def _offer(self, sequence: Sequence, num_tokens: int) -> Offer:
        drafting = self._drafting[sequence.sequence_id]
        acceptance = 0.0 if drafting.lookup is None else drafting.lookup.acceptance
        return Offer(num_tokens, acceptance, drafting.credit)

    def _candidate(self, sequence: Sequence) -> Candidate:
        drafting = self._drafting[sequence.sequence_id]
        return Candidate(
            sequence, _num_useful(sequence) if drafting.mode in _BY_MODEL else 0, drafting.credit + _DRAFTER_CREDIT
        )


def _num_useful(sequence: Sequence) -> int:
    """Return how long a draft may be that is drawn to its end: one token more is drawn than was drafted."""
    return max(0, min(MAX_DRAFT, sequence.max_output_tokens - sequence.num_output_tokens - 1))


def _all_decode(chunks: tuple[Chunk, ...]) -> bool:
    """Tell whether a step has sequences, and all of them decode; those that do come first in it."""
    return bool(chunks) and chunks[-1].sequence.is_decoding
