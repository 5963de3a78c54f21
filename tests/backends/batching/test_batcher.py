"""The batcher as a state machine: whatever comes in whatever order, no sequence is lost and no cell is given twice."""

import dataclasses
import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from backends.batch_limits import BatchLimits
from backends.batching.checkpoints import places
from backends.row_ids import is_row
from backends.sequence import EmbeddingSpan
from backends.step import StepPlan, StepResult
from backends.wire.request import Priority
from tests.support.cell_engine import CHECKPOINT_BYTES, Driven, sequence_of
from tests.support.tiles import ids_of, tile_of

NUM_CELLS = 130
WHOLE, PIECEMEAL = tile_of((1, 1, 1), 4, 5), tile_of((2, 2, 2), 3, 10)
"""One that fits into a step and has to be whole, one of more rows than a step has."""
MAX_SEQUENCES = 3
STEP_TOKENS = 24
MAX_PROMPT = 100
MAX_OUTPUT = 20
PRIORITIES = st.sampled_from(Priority)


class BatcherMachine(RuleBasedStateMachine):
    """Plays the worker and its clients; the simulated engine checks every effect."""

    @initialize(
        num_slots=st.integers(MAX_SEQUENCES, MAX_SEQUENCES + 4),
        kind=st.sampled_from(["shares", "copies", "cannot be cut", "recurrent", "windows", "copied windows"]),
        num_retired_tokens=st.sampled_from([0, NUM_CELLS, 3 * NUM_CELLS]),
        num_checkpoints=st.integers(0, 8),
        num_spare=st.integers(0, 4),
    )
    def start(self, num_slots: int, kind: str, num_retired_tokens: int, num_checkpoints: int, num_spare: int) -> None:
        self.driven = Driven(
            BatchLimits(
                max_sequences=MAX_SEQUENCES,
                num_slots=num_slots,
                num_cells=NUM_CELLS,
                step_tokens=STEP_TOKENS,
                num_retired_tokens=num_retired_tokens,
                can_cut_cache=kind not in {"cannot be cut", "recurrent", "copied windows"},
                forks_share_cells=kind not in {"copies", "copied windows"},
                num_cuttable_tokens={"recurrent": 0, "windows": 10, "copied windows": 10}.get(kind),
                checkpoint_bytes=num_checkpoints * CHECKPOINT_BYTES,
                border_ids=frozenset({2}),
                num_live=min(num_slots, MAX_SEQUENCES + num_spare),
                background_max_wait_s=20,
                session_ttl_s=30,
            )
        )
        self.patched = pytest.MonkeyPatch()
        for name, num_tokens in {"GAP": 8, "BORDER_GAP": 12, "SPACING": 20, "HEAD": 2, "NEAR_TAIL": 3}.items():
            self.patched.setattr(places, f"{name}_TOKENS", num_tokens)
        self.next_id = 1
        self.tiles = [dataclasses.replace(tile) for tile in (WHOLE, PIECEMEAL)]
        self.prompts: list[list[int]] = [[0] * MAX_PROMPT, [1, 2] * (MAX_PROMPT // 2)]
        whole, piecemeal = map(ids_of, self.tiles)
        self.prompts += [[1, *piecemeal, 2, *whole, *whole, *[0] * 20], [*whole, 0, *piecemeal, *[1] * 30]]

    def teardown(self) -> None:
        if hasattr(self, "patched"):
            self.patched.undo()

    def _spans(self, prompt: list[int]) -> tuple[EmbeddingSpan, ...]:
        """Find the tiles that are whole in a prompt."""
        spans = []
        for tile in self.tiles:
            ids = ids_of(tile)
            starts = [start for start in range(len(prompt)) if prompt[start : start + len(ids)] == ids]
            spans += [EmbeddingSpan(start, tile, is_whole=tile is self.tiles[0]) for start in starts]
        return tuple(sorted(spans))

    def _add(self, prompt: list[int], num_output: int, priority: Priority, session_id: str | None) -> None:
        inside = {place for span in self._spans(prompt) for place in range(span.start, span.end)}
        prompt = [token for place, token in enumerate(prompt) if place in inside or not is_row(token)]
        if not prompt or is_row(prompt[-1]):
            prompt.append(0)
        num_output = min(num_output, NUM_CELLS - len(prompt))
        self.driven.add(sequence_of(self.next_id, prompt, num_output, priority, session_id, self._spans(prompt)))
        self.prompts.append(prompt)
        self.next_id += 1

    @rule(
        data=st.data(),
        num_tokens=st.integers(0, MAX_PROMPT - 5),
        tail=st.lists(st.integers(0, 2), min_size=1, max_size=5),
        num_output=st.integers(1, MAX_OUTPUT),
        priority=PRIORITIES,
        session_id=st.sampled_from([None, "a", "b"]),
    )
    def add(
        self,
        data: st.DataObject,
        num_tokens: int,
        tail: list[int],
        num_output: int,
        priority: Priority,
        session_id: str | None,
    ) -> None:
        """A prompt that begins like another one."""
        like = data.draw(st.sampled_from(self.prompts))
        self._add([*like[:num_tokens], *tail], num_output, priority, session_id)

    @rule(data=st.data(), num=st.integers(1, 5), num_output=st.integers(1, MAX_OUTPUT), priority=PRIORITIES)
    def add_choices(self, data: st.DataObject, num: int, num_output: int, priority: Priority) -> None:
        """Several times the same prompt at once."""
        prompt = data.draw(st.sampled_from(self.prompts))
        for _ in range(num):
            self._add(prompt, num_output, priority, None)

    @precondition(lambda self: self.driven.done)
    @rule(data=st.data(), tail=st.lists(st.integers(0, 2), max_size=4), priority=PRIORITIES)
    def add_next_turn(self, data: st.DataObject, tail: list[int], priority: Priority) -> None:
        """A prompt that goes on where an answer ended."""
        done = self.driven.done[data.draw(st.sampled_from(sorted(self.driven.done)))]
        self._add([*done.token_ids, *tail][: NUM_CELLS - 1], 5, priority, done.session_id)

    @precondition(lambda self: self.driven.live)
    @rule(data=st.data(), is_failed=st.booleans(), num_kept=st.sampled_from([0, 3, 1000]))
    def end(self, data: st.DataObject, num_kept: int, *, is_failed: bool) -> None:
        sequence_id = data.draw(st.sampled_from(sorted(self.driven.live)))
        self.driven.end(sequence_id, is_failed=is_failed, num_kept=num_kept)

    @precondition(lambda self: self.driven.live)
    @rule(data=st.data())
    def pause(self, data: st.DataObject) -> None:
        self.driven.pause(data.draw(st.sampled_from(sorted(self.driven.live))))

    @precondition(lambda self: self.driven.live)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        self.driven.resume(data.draw(st.sampled_from(sorted(self.driven.live))))

    @rule()
    def unknown_ids(self) -> None:
        batcher = self.driven.batcher
        batcher.pause(10_000)
        batcher.resume(10_000, self.driven.now)
        batcher.remove(10_000)
        assert not batcher.can_retire(10_000)
        assert batcher.retire(10_000, 3, self.driven.now) == ()

    @rule(share=st.sampled_from([0.0, 0.3, 0.5, 1.0]))
    def give_back(self, share: float) -> None:
        """Memory is short."""
        num_before = len(self.driven.batcher.retired_ids)
        dropped_ids = self.driven.batcher.drop_retired(share, self.driven.now)
        assert len(dropped_ids) == math.ceil(share * num_before)
        for sequence_id in dropped_ids:
            self.driven.engine.remove(sequence_id)

    @rule(seconds=st.integers(1, 40))
    def wait(self, seconds: int) -> None:
        self.driven.now += seconds

    @rule(share=st.sampled_from([0.0, 0.5, 1.0]), can_fork=st.booleans())
    def step(self, share: float, *, can_fork: bool) -> None:
        """Do a share of the plan, as engines may; an aborted step does none."""
        self._checked_step(share, can_fork=can_fork)

    @rule()
    def encode(self) -> None:
        self.driven.encode()

    @rule()
    def forget_rows(self) -> None:
        """Whoever comes later needs them again, as after a restart."""
        if not self.driven.live:
            for tile in self.tiles:
                tile.rows = None

    @precondition(lambda self: self.driven.engine.caches.keys() & self.driven.live.keys())
    @rule(data=st.data(), num_lost=st.integers(1, 200))
    def lose(self, data: st.DataObject, num_lost: int) -> None:
        """An engine may keep less of a sequence that it holds."""
        driven = self.driven
        sequence = driven.live[data.draw(st.sampled_from(sorted(driven.engine.caches.keys() & driven.live.keys())))]
        num_left = max(0, sequence.num_computed - num_lost)
        driven.engine.cut(sequence.sequence_id, num_left)
        result = driven.engine.step(StepPlan())
        result.num_computed[sequence.sequence_id] = num_left
        driven.batcher.on_step(result)

    @rule(num_left=st.integers(1, 19))
    def tear(self, num_left: int) -> None:
        """An engine may be left with a part of what has to be whole, where it is stopped."""
        driven = self.driven
        for sequence_id in sorted(driven.engine.caches.keys() & driven.live.keys()):
            sequence = driven.live[sequence_id]
            place = next((span.start + num_left for span in sequence.spans if span.is_whole), sequence.num_computed)
            if place < sequence.num_computed:
                driven.engine.cut(sequence_id, place)
                driven.batcher.on_step(StepResult(num_computed={sequence_id: place}))
                return

    @rule()
    def finish_all(self) -> None:
        """With everything resumed, all of it ends within a bounded number of steps."""
        driven = self.driven
        for sequence_id in sorted(driven.paused):
            driven.resume(sequence_id)
        num_steps = 0
        while driven.live:
            self._checked_step()
            driven.encode()
            num_steps += 1
            assert num_steps < 1_000 + 200 * self.next_id, "no progress"
        assert not driven.batcher.has_work
        assert driven.batcher.num_free_cells == NUM_CELLS

    @invariant()
    def nothing_is_lost(self) -> None:
        if hasattr(self, "driven"):
            driven, batcher = self.driven, self.driven.batcher
            assert batcher.num_running + batcher.num_waiting == len(driven.live)
            assert batcher.has_work == any(i not in driven.paused for i in driven.live)
            assert set(batcher.retired_ids) == driven.engine.retired

    @invariant()
    def what_is_cached_is_known(self) -> None:
        if hasattr(self, "driven"):
            for sequence_id, sequence in self.driven.live.items():
                cache = self.driven.engine.caches.get(sequence_id)
                assert sequence.num_computed == (len(cache.token_ids) if cache else 0)
                num_reused = cache.num_reused if cache else 0
                assert sequence.num_cached_tokens == min(num_reused, sequence.num_prompt_tokens)

    @invariant()
    def checkpoints_are_known(self) -> None:
        if hasattr(self, "driven"):
            engine, book = self.driven.engine, self.driven.batcher.checkpoints.book
            assert book.num_bytes == engine.num_checkpoint_bytes <= self.driven.limits.checkpoint_bytes
            assert all(book.places(sequence_id) == sorted(held) for sequence_id, held in engine.checkpoints.items())

    @invariant()
    def cells_are_counted(self) -> None:
        if hasattr(self, "driven"):
            engine, residents = self.driven.engine, self.driven.batcher._live.residents
            num_pending = sum(member.sequence.num_pending for member in residents)
            assert self.driven.batcher._capacity.num_free == NUM_CELLS - engine.num_cells_held - num_pending

    def _checked_step(self, share: float = 1.0, *, can_fork: bool = True) -> None:
        driven = self.driven
        had_work = driven.batcher.has_work
        is_urgent = any(
            i not in driven.paused and sequence.priority is Priority.INTERACTIVE for i, sequence in driven.live.items()
        )
        plan = driven.step(share, can_fork=lambda: can_fork)
        ids = [chunk.sequence.sequence_id for chunk in plan.chunks]
        assert len(ids) == len(set(ids)) <= MAX_SEQUENCES, "at most one chunk per sequence"
        wholes = [c.num_tokens for c in plan.chunks if (span := c.sequence.span_at(c.start)) and span.is_whole]
        assert sum(chunk.num_tokens for chunk in plan.chunks) < STEP_TOKENS + max(wholes, default=1)
        assert not set(ids) & driven.paused
        has_step = bool(plan.chunks or plan.evicted or driven.batcher.next_tile())
        assert has_step >= had_work, "work means chunks, room for them, or rows that are wanted"
        if is_urgent:
            background = [c.sequence for c in plan.chunks if c.sequence.priority is Priority.BACKGROUND]
            assert len(background) <= max(1, MAX_SEQUENCES // 2), "background is held, but for slices"


BatcherMachine.TestCase.settings = settings(max_examples=125, stateful_step_count=40, deadline=None)
TestBatcherMachine = BatcherMachine.TestCase
