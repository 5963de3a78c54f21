"""Which sequences compute what in the next step: pure decisions over sequences and KV cells.

No engine, clock, I/O or log in here: events in (`add`, `remove`, `pause`, `resume`, `on_fork`, `on_step`), forks and
plans out. Before every plan the caller asks for `ready_forks`, lets the engine do them and tells `on_fork`.

How a plan comes about:
    1. Running sequences that decode get one token each; those beyond the step's budget wait for the next one.
    2. If their growth does not fit into the cells, the newest running sequences are evicted until it does. An evicted
       sequence goes back to the head of the queue and is computed anew (its tokens so far are kept).
    3. Running sequences in prefill get chunks, first come first served, from what the step's token budget leaves.
    4. Waiting sequences are admitted in order while a slot is free and their whole prompt fits into the free cells.
       The first one always fits an empty batch, because a sequence may hold at most as many tokens as there are cells.
    5. When only paused sequences are in the batch and the first waiting one does not fit beside them, the newest paused
       ones are evicted until it does.
    6. A sequence that is to fork another one is held back, and lets those behind it go first, until the other one has
       computed what both have in common; then it is admitted with that much done, as soon as a slot and cells are free.
       Where the other one is gone or paused, it becomes a waiting sequence like any other.
"""

import dataclasses
from collections import deque
from typing import NamedTuple

from backends.base import Chunk, StepPlan, StepResult
from backends.cells import SharedCells
from backends.sequence import Sequence, SequenceState


@dataclasses.dataclass(frozen=True, slots=True)
class BatchLimits:
    """What the engine can hold and should do in one step.

    Attributes:
        max_sequences: Sequences in the batch at once, paused ones included, >= 1.
        num_cells: Tokens that all of them together may hold.
        step_tokens: Token budget of a step in which nobody decodes.
        mixed_step_tokens: Token budget of a step in which somebody decodes: smaller, so that running streams keep
            their pace while a long prompt comes in.
        forks_share_cells: Whether a fork holds its source's cells, or a copy of them.
    """

    max_sequences: int
    num_cells: int
    step_tokens: int
    mixed_step_tokens: int
    forks_share_cells: bool = True


class Fork(NamedTuple):
    """A waiting sequence that could begin with the computed beginning of a running one.

    Attributes:
        source_id: Has computed at least `num_tokens`.
        target_id: Waits; fits the batch with its source's cells.
        num_tokens: How many of its first tokens are the source's; at least one is left to be computed.
    """

    source_id: int
    target_id: int
    num_tokens: int


class Batcher:
    """Owns the sequences of one worker and decides what each step does."""

    def __init__(self, limits: BatchLimits) -> None:
        self._limits = limits
        self._waiting: deque[Sequence] = deque()
        self._active: dict[int, Sequence] = {}
        self._paused_waiting: dict[int, Sequence] = {}
        self._fork_points: dict[int, int] = {}
        self._shared = SharedCells()

    @property
    def num_running(self) -> int:
        """Sequences in the batch, paused ones included."""
        return len(self._active)

    @property
    def num_waiting(self) -> int:
        """Sequences that wait for a place."""
        return len(self._waiting) + len(self._paused_waiting)

    @property
    def num_free_cells(self) -> int:
        """Cells that no sequence has claimed; those that several share are claimed once."""
        claimed = sum(len(sequence.token_ids) for sequence in self._active.values())
        return self._limits.num_cells - claimed + self._shared.num_saved

    @property
    def has_work(self) -> bool:
        """Whether a plan would have chunks."""
        return bool(self._waiting) or any(s.state is SequenceState.RUNNING for s in self._active.values())

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence; its prompt and answer together must fit the cells."""
        assert sequence.num_prompt_tokens + sequence.max_output_tokens <= self._limits.num_cells, "checked at intake"
        if sequence.fork_of is not None:
            source = self._find(sequence.fork_of)
            num_shared = 0 if source is None else _num_shared(source, sequence)
            if num_shared:
                self._fork_points[sequence.sequence_id] = num_shared
            else:
                sequence.fork_of = None
        self._waiting.append(sequence)

    def remove(self, sequence_id: int) -> None:
        """Forget a sequence wherever it stands; unknown ids are ignored."""
        self._active.pop(sequence_id, None)
        self._shared.release(sequence_id)
        self._fork_points.pop(sequence_id, None)
        self._paused_waiting.pop(sequence_id, None)
        self._waiting = deque(s for s in self._waiting if s.sequence_id != sequence_id)

    def pause(self, sequence_id: int) -> bool:
        """Leave a sequence out of the plans until `resume`; return whether it is in the batch (holds a cache)."""
        active = self._active.get(sequence_id)
        if active is not None:
            active.state = SequenceState.PAUSED
            return True
        for sequence in self._waiting:
            if sequence.sequence_id == sequence_id:
                sequence.state = SequenceState.PAUSED
                self._paused_waiting[sequence_id] = sequence
                self._waiting.remove(sequence)
                break
        return False

    def resume(self, sequence_id: int) -> None:
        """Let a paused sequence go on; ignored when it is not paused."""
        active = self._active.get(sequence_id)
        if active is not None:
            active.state = SequenceState.RUNNING
            return
        waiting = self._paused_waiting.pop(sequence_id, None)
        if waiting is not None:
            waiting.state = SequenceState.WAITING
            self._waiting.append(waiting)

    def ready_forks(self) -> list[Fork]:
        """Return the forks that can be done now, all of them together; each is to be answered by `on_fork`."""
        if not self._waiting:
            return []
        self._release_orphans()
        forks: list[Fork] = []
        num_cells = self.num_free_cells
        num_slots = self._limits.max_sequences - len(self._active)
        for sequence in self._waiting:
            if sequence.fork_of is None or not self._is_ready(sequence):
                continue
            num_tokens = self._fork_points[sequence.sequence_id]
            num_cells -= len(sequence.token_ids) - (num_tokens if self._limits.forks_share_cells else 0)
            if num_cells < 0 or len(forks) == num_slots:
                break
            forks.append(Fork(sequence.fork_of, sequence.sequence_id, num_tokens))
        return forks

    def on_fork(self, target_id: int, *, is_done: bool) -> None:
        """Admit a ready fork with its beginning computed, or let it wait like any other where it could not be done."""
        target = next(s for s in self._waiting if s.sequence_id == target_id)
        source_id, target.fork_of = target.fork_of, None
        num_tokens = self._fork_points.pop(target_id)
        if not is_done:
            return
        assert source_id is not None, "only ready forks are answered"
        if self._limits.forks_share_cells:
            self._shared.share(source_id, target_id, num_tokens)
        target.num_computed = target.num_cached_tokens = num_tokens
        target.state = SequenceState.RUNNING
        self._waiting.remove(target)
        self._active[target_id] = target

    def plan(self) -> StepPlan:
        """Return the next step; mutates only the states of sequences that are evicted or admitted."""
        self._release_orphans()
        evicted = self._evict_for_growth()
        running = [s for s in self._active.values() if s.state is SequenceState.RUNNING]
        if not running:
            evicted += self._evict_for_waiting()
        chunks = [Chunk(s, s.num_computed, 1) for s in running if s.is_decoding][: self._limits.step_tokens]
        budget = (self._limits.mixed_step_tokens if chunks else self._limits.step_tokens) - len(chunks)
        prefilling = [s for s in running if not s.is_decoding]
        if not evicted or not running:  # who was just evicted for growth must not push the next one out
            prefilling += self._admit()
        for sequence in prefilling:
            if budget <= 0:
                break
            num_tokens = min(budget, sequence.num_pending)
            chunks.append(Chunk(sequence, sequence.num_computed, num_tokens))
            budget -= num_tokens
        return StepPlan(tuple(chunks), tuple(evicted))

    def on_step(self, result: StepResult) -> None:
        """Take over what the engine did."""
        for sequence_id, num_computed in result.num_computed.items():
            sequence = self._active.get(sequence_id)
            if sequence is not None:
                sequence.num_computed = num_computed
        for sequence_id, token_id in result.tokens.items():
            sequence = self._active.get(sequence_id)
            if sequence is not None:
                sequence.token_ids.append(token_id)

    def _evict_for_growth(self) -> list[int]:
        """Make room for the newest token of every sequence, from the newest sequence on (paused ones first)."""
        evicted: list[int] = []
        by_age = list(self._active.values())
        candidates = [s for s in by_age if s.state is SequenceState.RUNNING] + [
            s for s in by_age if s.state is SequenceState.PAUSED
        ]
        while self.num_free_cells < 0 and len(candidates) > 1:
            evicted.append(self._evict(candidates.pop()))
        return evicted

    def _evict_for_waiting(self) -> list[int]:
        """Make room among paused sequences for the first waiting one."""
        evicted: list[int] = []
        first = next((s for s in self._waiting if s.fork_of is None), None)
        while first is not None and self._active and not self._fits(first):
            evicted.append(self._evict(list(self._active.values())[-1]))
        return evicted

    def _evict(self, victim: Sequence) -> int:
        del self._active[victim.sequence_id]
        self._shared.release(victim.sequence_id)
        victim.num_computed = victim.num_cached_tokens = 0
        if victim.state is SequenceState.PAUSED:
            self._paused_waiting[victim.sequence_id] = victim
        else:
            victim.state = SequenceState.WAITING
            self._waiting.appendleft(victim)
        return victim.sequence_id

    def _fits(self, sequence: Sequence) -> bool:
        if not self._active:
            return True
        return len(self._active) < self._limits.max_sequences and len(sequence.token_ids) <= self.num_free_cells

    def _admit(self) -> list[Sequence]:
        admitted: list[Sequence] = []
        for sequence in list(self._waiting):
            if sequence.fork_of is not None:
                if self._is_ready(sequence):
                    break  # its turn has come, and it does not fit, or it will be among the next ready forks
                continue
            if not self._fits(sequence):
                break
            self._waiting.remove(sequence)
            sequence.state = SequenceState.RUNNING
            self._active[sequence.sequence_id] = sequence
            admitted.append(sequence)
        return admitted

    def _find(self, sequence_id: int) -> Sequence | None:
        return (
            self._active.get(sequence_id)
            or self._paused_waiting.get(sequence_id)
            or next((s for s in self._waiting if s.sequence_id == sequence_id), None)
        )

    def _release_orphans(self) -> None:
        """Let sequences wait like any other whose source is gone or paused."""
        forks = [s for s in self._waiting if s.fork_of is not None]
        if not forks:
            return
        sources = {s.sequence_id for s in [*self._waiting, *self._active.values()] if s.state != SequenceState.PAUSED}
        for sequence in forks:
            if sequence.fork_of not in sources:
                sequence.fork_of = None
                del self._fork_points[sequence.sequence_id]

    def _is_ready(self, sequence: Sequence) -> bool:
        """Tell whether the source of a waiting fork has computed what both have in common."""
        assert sequence.fork_of is not None, "asked of forks only"
        source = self._active.get(sequence.fork_of)
        return source is not None and source.num_computed >= self._fork_points[sequence.sequence_id]


def _num_shared(source: Sequence, target: Sequence) -> int:
    """Return how many first tokens of both are the same, leaving the target's last one to be computed."""
    at_most = min(len(source.token_ids), len(target.token_ids) - 1)
    if source.token_ids[:at_most] == target.token_ids[:at_most]:
        return at_most
    pairs = zip(source.token_ids, target.token_ids, strict=False)
    return next(index for index, (ours, theirs) in enumerate(pairs) if ours != theirs)
