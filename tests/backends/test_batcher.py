"""The batcher as a state machine: whatever comes in whatever order, no sequence is lost and no cell is given twice."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from backends.base import Chunk, StepPlan, StepResult
from backends.batcher import Batcher, BatchLimits, Fork
from backends.sequence import SamplingParams, Sequence, SequenceState

NUM_CELLS = 48
MAX_SEQUENCES = 4
STEP_TOKENS = 12
MIXED_STEP_TOKENS = 6


def sequence_of(sequence_id: int, num_prompt: int, num_output: int, fork_of: int | None = None) -> Sequence:
    return Sequence(
        sequence_id=sequence_id,
        token_ids=[1] * num_prompt,
        num_prompt_tokens=num_prompt,
        max_output_tokens=num_output,
        sampling=SamplingParams(),
        fork_of=fork_of,
    )


def batcher_of(num_cells: int = NUM_CELLS, max_sequences: int = MAX_SEQUENCES, *, shares: bool = True) -> Batcher:
    return Batcher(BatchLimits(max_sequences, num_cells, STEP_TOKENS, MIXED_STEP_TOKENS, forks_share_cells=shares))


def computed(plan: StepPlan) -> StepResult:
    """What an engine that does the whole plan reports."""
    result = StepResult()
    for chunk in plan.chunks:
        result.num_computed[chunk.sequence.sequence_id] = chunk.end
        if chunk.samples:
            result.tokens[chunk.sequence.sequence_id] = 1
    return result


class BatcherMachine(RuleBasedStateMachine):
    """Plays the worker: adds, forks, pauses, resumes, cancels, steps, and keeps the engine's books beside.

    The books: per sequence its cells, each a number; where forks share cells, they hold the same numbers.
    """

    @initialize(shares=st.booleans())
    def start(self, *, shares: bool) -> None:
        self.batcher = batcher_of(shares=shares)
        self.shares = shares
        self.live: dict[int, Sequence] = {}
        self.paused: set[int] = set()
        self.cache: dict[int, list[int]] = {}
        self.num_cells_ever = 0
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
    @rule(data=st.data(), num_more=st.integers(-3, 3), num_output=st.integers(1, 20))
    def add_fork(self, data: st.DataObject, num_more: int, num_output: int) -> None:
        """A sequence with a prompt shorter, as long or longer than what it shares with one that is there."""
        source_id = data.draw(st.sampled_from(sorted(self.live)))
        num_prompt = min(max(1, self.live[source_id].num_prompt_tokens + num_more), NUM_CELLS - 1)
        sequence = sequence_of(self.next_id, num_prompt, min(num_output, NUM_CELLS - num_prompt), fork_of=source_id)
        self.next_id += 1
        self.live[sequence.sequence_id] = sequence
        self.batcher.add(sequence)
        self.was_disturbed = True

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

    @rule(share=st.sampled_from([0.0, 0.5, 1.0]), can_fork=st.booleans())
    def step(self, share: float, *, can_fork: bool) -> None:
        """Do a share of the plan, as engines may; an aborted step does none."""
        self._fork(is_done=can_fork)
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
            self._fork(is_done=True)
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

    @invariant()
    def what_is_cached_is_known(self) -> None:
        if hasattr(self, "live"):
            for sequence_id, sequence in self.live.items():
                assert sequence.num_computed == len(self.cache.get(sequence_id, []))
                assert 0 <= sequence.num_cached_tokens <= sequence.num_computed

    def _fork(self, *, is_done: bool) -> None:
        forks = self.batcher.ready_forks()
        for fork in forks:
            source, target = self.live[fork.source_id], self.live[fork.target_id]
            assert 1 <= fork.num_tokens <= min(source.num_computed, len(target.token_ids) - 1)
            assert not {fork.source_id, fork.target_id} & self.paused
            self.batcher.on_fork(fork.target_id, is_done=is_done)
            assert target.fork_of is None
            if is_done:
                first = self.cache[fork.source_id][: fork.num_tokens]
                self.cache[fork.target_id] = first if self.shares else self._new_cells(fork.num_tokens)
                assert target.num_computed == target.num_cached_tokens == fork.num_tokens
        assert self.batcher.num_free_cells >= 0 or not forks

    def _new_cells(self, num: int) -> list[int]:
        self.num_cells_ever += num
        return list(range(self.num_cells_ever - num, self.num_cells_ever))

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
        for chunk in plan.chunks:
            assert chunk.start == chunk.sequence.num_computed == len(self.cache.get(chunk.sequence.sequence_id, []))
            assert 1 <= chunk.num_tokens <= chunk.sequence.num_pending
        num_held = len({cell for cells in self.cache.values() for cell in cells})
        assert num_held + sum(chunk.num_tokens for chunk in plan.chunks) <= NUM_CELLS, "cells oversubscribed"
        num_pending = sum(self.live[i].num_pending for i in self.batcher._active)
        assert self.batcher.num_free_cells == NUM_CELLS - num_held - num_pending >= 0
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
        for sequence_id, num_computed in result.num_computed.items():
            cells = self.cache.setdefault(sequence_id, [])
            self.cache[sequence_id] = cells + self._new_cells(num_computed - len(cells))
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


def with_source(
    num_prompt: int = 8,
    num_output: int = 6,
    num_cells: int = NUM_CELLS,
    max_sequences: int = MAX_SEQUENCES,
    *,
    shares: bool = True,
) -> tuple[Batcher, Sequence]:
    """Return a batcher whose sequence 1 has drawn its first token."""
    batcher, source = batcher_of(num_cells, max_sequences, shares=shares), sequence_of(1, num_prompt, num_output)
    batcher.add(source)
    batcher.on_step(computed(batcher.plan()))
    return batcher, source


def test_forks_wait_for_the_prefill_and_compute_the_last_prompt_token_only() -> None:
    batcher = batcher_of()
    source, child = sequence_of(1, 20, 4), sequence_of(2, 20, 4, fork_of=1)
    batcher.add(source)
    batcher.add(child)
    assert batcher.ready_forks() == []
    plan = batcher.plan()
    assert plan.chunks == (Chunk(source, 0, 12),)
    batcher.on_step(computed(plan))
    assert batcher.ready_forks() == []
    plan = batcher.plan()
    assert plan.chunks == (Chunk(source, 12, 8),)
    batcher.on_step(computed(plan))
    assert batcher.ready_forks() == [Fork(1, 2, 19)]
    batcher.on_fork(2, is_done=True)
    assert batcher.plan().chunks == (Chunk(source, 20, 1), Chunk(child, 19, 1))
    assert child.num_cached_tokens == 19
    assert batcher.ready_forks() == []


def test_a_held_fork_lets_those_behind_it_go_first() -> None:
    batcher = batcher_of()
    source, child, other = sequence_of(1, 20, 4), sequence_of(2, 20, 4, fork_of=1), sequence_of(3, 2, 4)
    for sequence in (source, child, other):
        batcher.add(sequence)
    batcher.on_step(computed(batcher.plan()))
    assert batcher.plan().chunks == (Chunk(source, 12, 8), Chunk(other, 0, 2))


def test_shared_cells_count_once_until_the_last_holder_is_gone() -> None:
    batcher, source = with_source(num_prompt=8)
    for sequence_id in (2, 3):
        batcher.add(sequence_of(sequence_id, 8, 4, fork_of=1))
    assert batcher.ready_forks() == [Fork(1, 2, 7), Fork(1, 3, 7)]
    batcher.on_fork(2, is_done=True)
    batcher.on_fork(3, is_done=True)
    assert batcher.num_free_cells == NUM_CELLS - 9 - 1 - 1
    batcher.on_step(computed(batcher.plan()))
    assert batcher.num_free_cells == NUM_CELLS - 10 - 2 - 2
    batcher.remove(source.sequence_id)
    assert batcher.num_free_cells == NUM_CELLS - 7 - 2 - 2
    batcher.remove(2)
    assert batcher.num_free_cells == NUM_CELLS - 7 - 2
    batcher.remove(3)
    assert batcher.num_free_cells == NUM_CELLS


def test_forks_that_hold_copies_count_in_full() -> None:
    batcher, _source = with_source(num_prompt=8, num_cells=24, shares=False)
    for sequence_id in (2, 3):
        batcher.add(sequence_of(sequence_id, 8, 4, fork_of=1))
    assert batcher.ready_forks() == [Fork(1, 2, 7)], "9 + 8 + 8 are more than 24"
    batcher.on_fork(2, is_done=True)
    assert batcher.num_free_cells == 24 - 9 - 8
    assert batcher.ready_forks() == []


def test_forks_that_could_not_be_done_wait_like_any_other() -> None:
    batcher, source = with_source(num_prompt=8)
    child = sequence_of(2, 8, 4, fork_of=1)
    batcher.add(child)
    (fork,) = batcher.ready_forks()
    batcher.on_fork(fork.target_id, is_done=False)
    assert batcher.plan().chunks == (Chunk(source, 8, 1), Chunk(child, 0, MIXED_STEP_TOKENS - 1))
    assert child.num_cached_tokens == 0


def test_a_fork_of_a_sequence_that_is_gone_or_paused_waits_like_any_other() -> None:
    for is_paused in (False, True):
        batcher = batcher_of()
        child = sequence_of(2, 20, 4, fork_of=1)
        batcher.add(sequence_of(1, 20, 4))
        batcher.add(child)
        batcher.on_step(computed(batcher.plan()))
        if is_paused:
            batcher.pause(1)
        else:
            batcher.remove(1)
        assert batcher.ready_forks() == []
        assert batcher.plan().chunks == (Chunk(child, 0, 12),)


def test_a_fork_of_an_unknown_sequence_or_of_nothing_in_common_waits_like_any_other() -> None:
    batcher, _source = with_source(num_prompt=8)
    unknown, stranger = sequence_of(2, 8, 4, fork_of=99), sequence_of(3, 8, 4, fork_of=1)
    stranger.token_ids = [2] * 8
    single = sequence_of(4, 1, 4, fork_of=1)
    for sequence in (unknown, stranger, single):
        batcher.add(sequence)
        assert sequence.fork_of is None
    assert batcher.ready_forks() == []


def test_only_the_common_beginning_is_forked() -> None:
    batcher, _source = with_source(num_prompt=8)
    child = sequence_of(2, 20, 4, fork_of=1)
    child.token_ids[5] = 7
    batcher.add(child)
    assert batcher.ready_forks() == [Fork(1, 2, 5)]


def test_only_forks_that_fit_are_ready() -> None:
    batcher, _source = with_source(num_prompt=8, num_cells=48, max_sequences=2)
    for sequence_id in (2, 3):
        batcher.add(sequence_of(sequence_id, 8, 4, fork_of=1))
    assert batcher.ready_forks() == [Fork(1, 2, 7)]
    batcher.on_fork(2, is_done=True)
    assert batcher.ready_forks() == []
    batcher.on_step(computed(batcher.plan()))
    batcher.remove(2)
    assert batcher.ready_forks() == [Fork(1, 3, 7)]


def test_an_evicted_fork_is_computed_anew_and_its_source_keeps_the_cells() -> None:
    batcher, source = with_source(num_prompt=8, num_output=4, num_cells=12)
    child = sequence_of(2, 8, 4, fork_of=1)
    batcher.add(child)
    batcher.ready_forks()
    batcher.on_fork(2, is_done=True)
    evicted: list[int] = []
    while not evicted:
        plan = batcher.plan()
        evicted += plan.evicted
        batcher.on_step(computed(plan))
    assert evicted == [2]
    assert (child.num_computed, child.num_cached_tokens, child.fork_of) == (0, 0, None)
    assert batcher.num_free_cells == 12 - len(source.token_ids)
