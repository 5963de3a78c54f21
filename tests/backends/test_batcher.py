"""The batcher as a state machine: whatever comes in whatever order, no sequence is lost and no cell is given twice."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from backends.base import Chunk, StepPlan, StepResult
from backends.batcher import Batcher, BatchLimits
from backends.sequence import SamplingParams, Sequence, SequenceState

NUM_CELLS = 48
MAX_SEQUENCES = 4
STEP_TOKENS = 12
MIXED_STEP_TOKENS = 6


def sequence_of(sequence_id: int, num_prompt: int, num_output: int) -> Sequence:
    return Sequence(
        sequence_id=sequence_id,
        token_ids=[1] * num_prompt,
        num_prompt_tokens=num_prompt,
        max_output_tokens=num_output,
        sampling=SamplingParams(),
    )


def batcher_of(num_cells: int = NUM_CELLS, max_sequences: int = MAX_SEQUENCES) -> Batcher:
    return Batcher(BatchLimits(max_sequences, num_cells, STEP_TOKENS, MIXED_STEP_TOKENS))


def computed(plan: StepPlan) -> StepResult:
    """What an engine that does the whole plan reports."""
    result = StepResult()
    for chunk in plan.chunks:
        result.num_computed[chunk.sequence.sequence_id] = chunk.end
        if chunk.samples:
            result.tokens[chunk.sequence.sequence_id] = 1
    return result


class BatcherMachine(RuleBasedStateMachine):
    """Plays the worker: adds, pauses, resumes, cancels, steps, and keeps the engine's books beside."""

    @initialize()
    def start(self) -> None:
        self.batcher = batcher_of()
        self.live: dict[int, Sequence] = {}
        self.paused: set[int] = set()
        self.cache: dict[int, int] = {}
        self.next_id = 1
        self.started: list[int] = []
        self.was_disturbed = False

    @rule(num_prompt=st.integers(1, 40), num_output=st.integers(1, 20))
    def add(self, num_prompt: int, num_output: int) -> None:
        sequence = sequence_of(self.next_id, num_prompt, min(num_output, NUM_CELLS - num_prompt))
        self.next_id += 1
        self.live[sequence.sequence_id] = sequence
        self.batcher.add(sequence)

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self._end(data.draw(st.sampled_from(sorted(self.live))))

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def pause(self, data: st.DataObject) -> None:
        sequence_id = data.draw(st.sampled_from(sorted(self.live)))
        self.batcher.pause(sequence_id)
        self.paused.add(sequence_id)
        self.was_disturbed = True

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        sequence_id = data.draw(st.sampled_from(sorted(self.live)))
        self.batcher.resume(sequence_id)
        self.paused.discard(sequence_id)

    @rule()
    def pause_unknown(self) -> None:
        assert not self.batcher.pause(10_000)
        self.batcher.resume(10_000)
        self.batcher.remove(10_000)

    @rule(share=st.sampled_from([0.0, 0.5, 1.0]))
    def step(self, share: float) -> None:
        """Do a share of the plan, as engines may; an aborted step does none."""
        plan = self._checked_plan()
        if share == 1.0:
            self._take(computed(plan))
        else:
            done = plan.chunks[: int(len(plan.chunks) * share)]
            self._take(computed(StepPlan(done)))

    @rule()
    def finish_all(self) -> None:
        """With everything resumed, all of it ends within a bounded number of steps."""
        for sequence_id in sorted(self.paused):
            self.batcher.resume(sequence_id)
        self.paused.clear()
        num_steps = 0
        while self.live:
            assert self.batcher.has_work
            self._take(computed(self._checked_plan()))
            num_steps += 1
            assert num_steps < 2_000 + 200 * self.next_id, "no progress"
        assert not self.batcher.has_work
        assert self.batcher.num_free_cells == NUM_CELLS

    @invariant()
    def nothing_is_lost(self) -> None:
        if hasattr(self, "live"):
            assert self.batcher.num_running + self.batcher.num_waiting == len(self.live)

    @invariant()
    def work_is_known(self) -> None:
        if hasattr(self, "live"):
            assert self.batcher.has_work == any(i not in self.paused for i in self.live)

    def _checked_plan(self) -> StepPlan:
        had_work = self.batcher.has_work
        plan = self.batcher.plan()
        for sequence_id in plan.evicted:
            self.cache.pop(sequence_id, None)
        ids = [chunk.sequence.sequence_id for chunk in plan.chunks]
        assert len(ids) == len(set(ids)), "at most one chunk per sequence"
        assert bool(ids) == had_work, "work means chunks"
        assert not set(ids) & self.paused
        assert len(set(self.cache) | set(ids)) <= MAX_SEQUENCES
        self._check_budget(plan)
        cells = dict(self.cache)
        for chunk in plan.chunks:
            assert chunk.start == chunk.sequence.num_computed == self.cache.get(chunk.sequence.sequence_id, 0)
            assert 1 <= chunk.num_tokens <= chunk.sequence.num_pending
            cells[chunk.sequence.sequence_id] = chunk.end
        assert sum(cells.values()) <= NUM_CELLS, "cells oversubscribed"
        assert self.batcher.num_free_cells >= 0
        self._check_order(ids)
        return plan

    def _check_budget(self, plan: StepPlan) -> None:
        is_mixed = any(chunk.sequence.is_decoding for chunk in plan.chunks)
        num_tokens = sum(chunk.num_tokens for chunk in plan.chunks)
        assert num_tokens <= (MIXED_STEP_TOKENS if is_mixed else STEP_TOKENS)
        kinds = [chunk.sequence.is_decoding for chunk in plan.chunks]
        assert kinds == sorted(kinds, reverse=True), "decode first"

    def _check_order(self, ids: list[int]) -> None:
        """First come, first served, as long as nobody was paused."""
        for sequence_id in sorted(ids):
            if sequence_id not in self.started:
                if not self.was_disturbed:
                    assert all(other in self.started for other in self.live if other < sequence_id)
                self.started.append(sequence_id)

    def _take(self, result: StepResult) -> None:
        self.batcher.on_step(result)
        self.cache |= result.num_computed
        for sequence_id in result.tokens:
            sequence = self.live[sequence_id]
            if sequence.num_output_tokens >= sequence.max_output_tokens:
                self._end(sequence_id)

    def _end(self, sequence_id: int) -> None:
        self.batcher.remove(sequence_id)
        del self.live[sequence_id]
        self.paused.discard(sequence_id)
        self.cache.pop(sequence_id, None)


BatcherMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestBatcherMachine = BatcherMachine.TestCase


def test_an_idle_batcher_plans_nothing() -> None:
    batcher = batcher_of()
    assert not batcher.has_work
    assert batcher.plan() == StepPlan()


def test_a_long_prompt_comes_in_chunks_of_the_budget() -> None:
    batcher = batcher_of()
    sequence = sequence_of(1, 30, 4)
    batcher.add(sequence)
    sizes = []
    while sequence.num_output_tokens == 0:
        plan = batcher.plan()
        sizes.append(plan.chunks[0].num_tokens)
        batcher.on_step(computed(plan))
    assert sizes == [12, 12, 6]


def test_prefill_gets_a_smaller_budget_beside_a_running_stream() -> None:
    batcher = batcher_of()
    stream, prompt = sequence_of(1, 1, 10), sequence_of(2, 30, 4)
    batcher.add(stream)
    batcher.on_step(computed(batcher.plan()))
    batcher.add(prompt)
    assert batcher.plan().chunks == (Chunk(stream, 1, 1), Chunk(prompt, 0, MIXED_STEP_TOKENS - 1))


def test_the_newest_is_evicted_and_comes_back_first_with_its_tokens() -> None:
    batcher = batcher_of(num_cells=12)
    old, new, late = sequence_of(1, 4, 8), sequence_of(2, 4, 4), sequence_of(3, 1, 1)
    batcher.add(old)
    batcher.add(new)
    evicted: list[int] = []
    while not evicted:
        plan = batcher.plan()
        evicted += plan.evicted
        batcher.on_step(computed(plan))
    assert evicted == [2]
    assert new.state is SequenceState.WAITING
    assert new.num_computed == 0
    num_tokens = len(new.token_ids)
    batcher.add(late)
    batcher.remove(1)
    first = batcher.plan().chunks[0]
    assert first.sequence is new
    assert first.num_tokens == num_tokens


def test_paused_sequences_are_evicted_before_running_ones() -> None:
    batcher = batcher_of(num_cells=12)
    old, new = sequence_of(1, 5, 6), sequence_of(2, 5, 6)
    batcher.add(old)
    batcher.add(new)
    batcher.on_step(computed(batcher.plan()))
    assert batcher.pause(1)
    evicted: list[int] = []
    while not evicted:
        plan = batcher.plan()
        evicted += plan.evicted
        batcher.on_step(computed(plan))
    assert evicted == [1]
    assert new.state is SequenceState.RUNNING


def test_more_streams_than_the_budget_are_served_by_age() -> None:
    """Two start, pause, let two others start, and are resumed: four decode where a step may do two."""
    batcher = Batcher(BatchLimits(max_sequences=4, num_cells=100, step_tokens=2, mixed_step_tokens=2))
    sequences = [sequence_of(i, 1, 5) for i in range(4)]
    for sequence in sequences:
        batcher.add(sequence)
    batcher.on_step(computed(batcher.plan()))
    batcher.pause(0)
    batcher.pause(1)
    batcher.on_step(computed(batcher.plan()))
    batcher.resume(0)
    batcher.resume(1)
    assert all(sequence.is_decoding for sequence in sequences)
    ends = []
    while batcher.has_work:
        plan = batcher.plan()
        assert 1 <= sum(chunk.num_tokens for chunk in plan.chunks) <= 2
        batcher.on_step(computed(plan))
        for sequence in sequences:
            if sequence.num_output_tokens == 5 and sequence.sequence_id not in ends:
                batcher.remove(sequence.sequence_id)
                ends.append(sequence.sequence_id)
    assert ends == [0, 1, 2, 3]
