"""An engine that is nothing but its cache: it knows which token every cell holds, and refuses what no engine could do.

It tells a batcher's mistakes (a fork of tokens that differ, a chunk in the wrong place, one slot or cell too many) from
sound decisions, and drives a batcher as the worker does.
"""

import dataclasses
import zlib
from collections.abc import Callable

import numpy as np

from backends.batch_limits import BatchLimits
from backends.batching.actions import Drop, Fork
from backends.batching.batcher import Batcher
from backends.sequence import EmbeddingSpan, Sequence, Tile
from backends.step import Chunk, StepPlan, StepResult
from backends.wire.request import Priority, SamplingParams


def sequence_of(
    sequence_id: int,
    prompt: list[int] | int,
    num_output: int,
    priority: Priority = Priority.INTERACTIVE,
    session_id: str | None = None,
    spans: tuple[EmbeddingSpan, ...] = (),
) -> Sequence:
    """Return a waiting sequence; a number stands for so many tokens that no other sequence begins with."""
    token_ids = [1000 + sequence_id, *[7] * (prompt - 1)] if isinstance(prompt, int) else list(prompt)
    return Sequence(
        sequence_id=sequence_id,
        token_ids=token_ids,
        num_prompt_tokens=len(token_ids),
        max_output_tokens=num_output,
        sampling=SamplingParams(),
        priority=priority,
        session_id=session_id,
        spans=spans,
    )


@dataclasses.dataclass
class Cache:
    """Cells, each a number, and the token in each."""

    cells: list[int] = dataclasses.field(default_factory=list)
    token_ids: list[int] = dataclasses.field(default_factory=list)
    num_reused: int = 0


CHECKPOINT_BYTES = 10


@dataclasses.dataclass(eq=False)
class Checkpoint:
    """A state, shared by all who hold it."""

    num_bytes: int


class CellEngine:
    """The caches of one engine within the limits of its batcher."""

    def __init__(self, limits: BatchLimits) -> None:
        self.limits = limits
        self.caches: dict[int, Cache] = {}
        self.retired: set[int] = set()
        self.checkpoints: dict[int, dict[int, Checkpoint]] = {}
        self.num_evaluated = 0
        self._num_cells_ever = 0

    def fork(self, source_id: int, target: Sequence, num_tokens: int) -> None:
        source = self.caches[source_id]
        assert 1 <= num_tokens <= len(source.token_ids)
        assert num_tokens < len(target.token_ids), "the last token is always computed"
        assert target.sequence_id not in self.caches
        assert target.token_ids[:num_tokens] == source.token_ids[:num_tokens], "a fork of other tokens"
        assert not any(span.start < num_tokens < span.end for span in target.spans), "a fork ends in a span"
        held = self.checkpoints.get(source_id, {})
        num_held = len(source.token_ids)
        if not (self.limits.can_cut_cache if source_id not in self.retired else self.limits.can_cut(num_held)):
            assert num_tokens == num_held or num_tokens in held or self.limits.can_cut(num_held)
        is_shared = self.limits.forks_share_cells and source_id not in self.retired
        cells = source.cells[:num_tokens] if is_shared else self._new_cells(num_tokens)
        self.caches[target.sequence_id] = Cache(cells, source.token_ids[:num_tokens], num_tokens)
        self.checkpoints[target.sequence_id] = {place: each for place, each in held.items() if place <= num_tokens}
        self.check_slots()

    def add_checkpoint(self, sequence: Sequence) -> int:
        """Keep the state after what is computed."""
        num_tokens = sequence.num_computed
        assert len(self.caches[sequence.sequence_id].token_ids) == num_tokens
        held = self.checkpoints.setdefault(sequence.sequence_id, {})
        assert num_tokens not in held, "it is there already"
        held[num_tokens] = Checkpoint(CHECKPOINT_BYTES)
        return CHECKPOINT_BYTES

    def drop_checkpoint(self, sequence_id: int, num_tokens: int) -> None:
        del self.checkpoints[sequence_id][num_tokens]

    @property
    def num_checkpoint_bytes(self) -> int:
        states = {id(each): each for held in self.checkpoints.values() for each in held.values()}
        return sum(each.num_bytes for each in states.values())

    def clear_pool(self) -> None:
        """Nothing is kept."""

    def remove(self, sequence_id: int) -> None:
        self.caches.pop(sequence_id, None)
        self.checkpoints.pop(sequence_id, None)
        self.retired.discard(sequence_id)

    def retire(self, sequence_id: int, num_kept: int) -> int:
        """Keep the first `num_kept` tokens, or fewer if there are not so many."""
        cache = self.caches[sequence_id]
        self.cut(sequence_id, num_kept)
        if not cache.token_ids:
            del self.caches[sequence_id]
            return 0
        self.retired.add(sequence_id)
        return len(cache.token_ids)

    def cut(self, sequence_id: int, num_tokens: int) -> None:
        cache = self.caches[sequence_id]
        del cache.cells[num_tokens:]
        del cache.token_ids[num_tokens:]
        cache.num_reused = min(cache.num_reused, num_tokens)
        held = self.checkpoints.get(sequence_id, {})
        self.checkpoints[sequence_id] = {place: each for place, each in held.items() if place <= num_tokens}

    def step(self, plan: StepPlan, share: float = 1.0) -> StepResult:
        """Do the first `share` of the chunks."""
        for sequence_id in plan.evicted:
            self.remove(sequence_id)
        result = StepResult()
        for chunk in plan.chunks[: int(len(plan.chunks) * share)]:
            cache = self.caches.setdefault(chunk.sequence.sequence_id, Cache())
            assert chunk.start == chunk.sequence.num_computed == len(cache.token_ids)
            assert 1 <= chunk.num_tokens <= chunk.sequence.num_pending
            assert cache.token_ids == chunk.sequence.token_ids[: chunk.start]
            check_spans(chunk)
            cache.token_ids += chunk.sequence.token_ids[chunk.start : chunk.end]
            cache.cells += self._new_cells(chunk.num_tokens)
            self.num_evaluated += chunk.num_tokens
            result.num_computed[chunk.sequence.sequence_id] = chunk.end
            if chunk.samples:
                text = ",".join(map(str, chunk.sequence.token_ids))
                result.add(chunk.sequence.sequence_id, zlib.crc32(text.encode()) % 3, None)
        self.check_slots()
        assert self.num_cells_held <= self.limits.num_cells, "cells oversubscribed"
        return result

    @property
    def num_cells_held(self) -> int:
        return len({cell for i, cache in self.caches.items() if i not in self.retired for cell in cache.cells})

    @property
    def num_retired_tokens(self) -> int:
        return sum(len(self.caches[sequence_id].token_ids) for sequence_id in self.retired)

    def check_slots(self) -> None:
        assert self.num_retired_tokens <= self.limits.num_retired_tokens, "too much is kept"
        assert len(self.caches) <= self.limits.num_slots, "slots oversubscribed"
        assert len(self.caches.keys() - self.retired) <= self.limits.num_live_slots, "more live ones than can be"

    def _new_cells(self, num: int) -> list[int]:
        self._num_cells_ever += num
        return list(range(self._num_cells_ever - num, self._num_cells_ever))


def check_spans(chunk: Chunk) -> None:
    """Refuse a chunk that is neither all tokens nor all of one span's rows, or that comes before them."""
    for span in chunk.sequence.spans:
        if span.start < chunk.end and chunk.start < span.end:
            assert span.start <= chunk.start < chunk.end <= span.end, "tokens and rows in one chunk"
            assert span.tile.rows is not None, "rows before the tower has made them"
            assert not span.is_whole or chunk.num_tokens == span.tile.size, "a part of what has to be whole"


class Driven:
    """A batcher and its engine, driven as the worker does it.

    Attributes:
        live: Sequences that have not ended.
        done: Those that have.
        now: Seconds; every step takes one.
        forked: All forks that were done.
        evicted: All ids of live sequences that were evicted.
        dropped: All ids of retired sequences that were given up.
        encoded: All tiles whose rows were made, in order.
    """

    def __init__(self, limits: BatchLimits) -> None:
        self.limits = limits
        self.batcher = Batcher(limits)
        self.engine = CellEngine(limits)
        self.live: dict[int, Sequence] = {}
        self.done: dict[int, Sequence] = {}
        self.paused: set[int] = set()
        self.now = 0.0
        self.forked: list[Fork] = []
        self.evicted: list[int] = []
        self.dropped: list[int] = []
        self.encoded: list[Tile] = []

    def add(self, sequence: Sequence) -> Sequence:
        self.live[sequence.sequence_id] = sequence
        self.batcher.add(sequence, self.now)
        return sequence

    def pause(self, sequence_id: int) -> None:
        self.paused.add(sequence_id)
        self.batcher.pause(sequence_id)

    def resume(self, sequence_id: int) -> None:
        self.paused.discard(sequence_id)
        self.batcher.resume(sequence_id, self.now)

    def end(self, sequence_id: int, *, is_failed: bool = False, num_kept: int = 1_000_000) -> None:
        """Finish or cancel a sequence, keeping its cache where the batcher wants it."""
        self.done[sequence_id] = self.live.pop(sequence_id)
        self.paused.discard(sequence_id)
        if is_failed or not self.batcher.can_retire(sequence_id):
            self.engine.remove(sequence_id)
            self.batcher.remove(sequence_id)
            return
        kept = self.engine.retire(sequence_id, num_kept)
        for needless_id in self.batcher.retire(sequence_id, kept, self.now):
            self._drop(needless_id)

    def admit(self, *, can_fork: Callable[[], bool] = lambda: True) -> None:
        forked: list[Sequence] = []
        for action in self.batcher.admit(self.now):
            if isinstance(action, Drop):
                self._drop(action.sequence_id)
                continue
            is_done = can_fork()
            is_fallback = not is_done and action.fallback > 0
            if is_done or is_fallback:
                num_tokens = action.num_tokens if is_done else action.fallback
                self.engine.fork(action.source_id, self.live[action.target_id], num_tokens)
                self.forked.append(action)
            is_done = is_done or is_fallback
            sequence = self.batcher.on_fork(action.target_id, is_done=is_done, is_fallback=is_fallback)
            if is_done:
                forked.append(sequence)
        for sequence in forked:
            self._add_checkpoint(sequence)

    def _add_checkpoint(self, sequence: Sequence) -> None:
        if self.batcher.checkpoints.is_wanted(sequence):
            num_bytes = self.engine.add_checkpoint(sequence)
            for dropped in self.batcher.checkpoints.on_kept(sequence, num_bytes):
                for holder_id in dropped.holder_ids:
                    self.engine.drop_checkpoint(holder_id, dropped.num_tokens)

    def plan(self) -> StepPlan:
        plan = self.batcher.plan(self.now)
        for sequence_id in plan.evicted:
            (self.evicted if sequence_id in self.live else self.dropped).append(sequence_id)
        return plan

    def step(self, share: float = 1.0, *, can_fork: Callable[[], bool] = lambda: True) -> StepPlan:
        """Do one round; sequences whose answer is complete end."""
        self.admit(can_fork=can_fork)
        plan = self.plan()
        result = self.engine.step(plan, share)
        self.batcher.on_step(result)
        for chunk in plan.chunks:
            self._add_checkpoint(chunk.sequence)
        self.now += 1.0
        for sequence_id, token_ids in result.tokens.items():
            for token_id in token_ids:
                self.batcher.on_token(sequence_id, token_id)
            sequence = self.live[sequence_id]
            if sequence.num_output_tokens >= sequence.max_output_tokens:
                self.end(sequence_id)
        return plan

    def encode(self) -> None:
        """Make the rows that are wanted next, if any are."""
        tile = self.batcher.next_tile()
        if tile is not None:
            assert tile.rows is None, "no rows are made twice"
            tile.rows = np.zeros((tile.size, 1), np.float32)
            self.encoded.append(tile)
            self.batcher.on_encoded(tile, 1.0)

    def run(self, max_steps: int = 2_000) -> None:
        """Step until nobody has work."""
        for _ in range(max_steps):
            if not self.batcher.has_work:
                return
            self.step()
            self.encode()
        raise AssertionError("no progress")

    def _drop(self, sequence_id: int) -> None:
        assert sequence_id in self.engine.retired, "only retired sequences are dropped"
        self.engine.remove(sequence_id)
        self.dropped.append(sequence_id)
