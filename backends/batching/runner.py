"""Between the batcher's decisions and an engine: has them done, and tells back what came of them.

No decisions in here, and nothing of requests or events.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from backends.base import LoadedEngine
from backends.batching.actions import Drop, Fork
from backends.batching.adopting import adopt, drop_checkpoints
from backends.batching.batcher import Batcher
from backends.batching.saving import Saving
from backends.cache_files import read_header
from backends.errors import EngineError, PromptError
from backends.logits import LogitsEditor
from backends.sequence import Sequence
from backends.speculation.speculation import Speculation
from backends.step import StepPlan, StepResult
from backends.wire.questions import CacheFile

FIRST_READ_ID: Final = -(2**40)
"""Ids of sequences that files were read into are below this; those of `SavedCaches` are above it, below 0."""


class BatchRunner:
    """Owns the batch of one loaded engine.

    Args:
        saving: Has caches of this artifact read and written; None = none are.
        clock: Monotonic seconds.
    """

    _last_read_id = FIRST_READ_ID

    def __init__(
        self,
        engine: LoadedEngine,
        batcher: Batcher,
        saving: Saving | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.batcher = batcher
        self._engine = engine
        self.saving = saving
        self._clock = clock
        self._noted_growth_s = 0.0
        self._speculation: Speculation | None = None
        if engine.model.why_no_drafts is None:
            self._speculation = Speculation(engine.limits, engine.speculation, engine.tokenizer.end_ids, engine.drafter)

    def start(self, sequence: Sequence, editor: LogitsEditor | None) -> None:
        """Queue a sequence, after the saved cache that it could begin with was read."""
        assert not sequence.spans or self._engine.evaluates_rows, "the intake refuses what the engine cannot evaluate"
        if self.saving is not None and not sequence.is_scored:
            self.saving.restore(sequence)
        self._engine.insert(sequence, editor)
        if self._speculation is not None:
            self._speculation.start(sequence, editor)
        self.batcher.add(sequence, self._clock())

    def plan(self, now: float) -> StepPlan:
        """Let waiting sequences begin, with another one's cache where there is one; return the next step."""
        forked: list[Sequence] = []
        for action in self.batcher.admit(now):
            if isinstance(action, Drop):
                self._engine.remove(action.sequence_id)
            else:
                forked += self._fork(action)
        for sequence in forked:  # after all: what others begin with was decided without these
            self._add_checkpoint(sequence)
        plan = self.batcher.plan(now)
        return plan if self._speculation is None else self._speculation.drafted(plan, self.batcher.num_free_cells)

    def step(self, plan: StepPlan, should_abort: Callable[[], bool]) -> StepResult:
        """Have a plan done; arguments and errors as in `LoadedEngine.step`."""
        started_at, cpu_at = self._clock(), time.process_time()
        result = self._engine.step(plan, should_abort)
        if not result.was_aborted:
            self._observe(plan, result, self._clock() - started_at, time.process_time() - cpu_at)
        self.batcher.on_step(result)
        self._note_growth(plan)
        for chunk in plan.chunks:
            if chunk.sequence.checkpoint_places:
                self._add_checkpoint(chunk.sequence)
        return result

    def retire(self, sequence_id: int) -> None:
        """End a sequence whose cache is sound, and keep it as a beginning for others where that is possible."""
        if not self.batcher.can_retire(sequence_id):
            self.remove(sequence_id)
            return
        self._forget_drafts(sequence_id)
        num_kept = self._engine.retire(sequence_id)
        self._remove_all(self.batcher.retire(sequence_id, num_kept, self._clock()))

    def remove(self, sequence_id: int) -> None:
        """End a sequence and its cache; unknown ids are ignored."""
        self.batcher.remove(sequence_id)
        self._engine.remove(sequence_id)
        self._forget_drafts(sequence_id)

    def _forget_drafts(self, sequence_id: int) -> None:
        if self._speculation is not None:
            self._speculation.forget(sequence_id)

    def save(self) -> None:
        """Write the kept caches to disk, the last used first, as far as there is time and room."""
        if self.saving is not None:
            self.saving.finish(reversed(self.batcher.retired_ids))

    def give_back(self, share: float) -> int:
        """Drop a share of the kept caches; return how many.

        They are saved before where all of them go, and nobody waits for that or all are to be saved anyway; otherwise
        the one that is being saved, and in memory for that, goes too.
        """
        is_idle = self.batcher.num_running + self.batcher.num_waiting == 0
        if share >= 1 and self.saving is not None:
            if is_idle or self.saving.saves_all:
                self.save()
            else:
                self.saving.saved.give_up()
        dropped_ids = self.batcher.drop_retired(share, self._clock())
        self._remove_all(dropped_ids)
        self._engine.clear_pool()
        return len(dropped_ids)

    def save_file(self, sequence_id: int, path: Path, owner: str | None = None) -> CacheFile:
        """Write the kept cache of a sequence that has ended to a file.

        Raises:
            EngineError: It cannot be written.
        """
        num_tokens = self._num_kept(sequence_id, owner)
        if not num_tokens:
            return CacheFile(sequence_id, 0, 0)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as exc:
            raise EngineError(f"the cache cannot be saved in {path}: {exc.strerror or exc}") from exc
        return CacheFile(sequence_id, num_tokens, self._engine.save_cache(sequence_id, path))

    def read_file(self, path: Path, owner: str | None = None) -> CacheFile:
        """Keep the cache that a file has as that of an ended sequence.

        Raises:
            PromptError: There is no such file, it is not this model's, or there is no place for it.
        """
        header, now = read_header(path), self._clock()
        needless_ids = None if header is None else self.batcher.free_slot(now)
        if header is None or needless_ids is None:
            problem = (
                "there is no saved cache of that name for this model" if header is None else "no cache is kept here"
            )
            raise PromptError(f"filename: {problem}", param="filename")
        self._remove_all(needless_ids)
        self._last_read_id -= 1
        sequence_id = self._last_read_id
        num_tokens = self._engine.load_cache(path, sequence_id, header.token_ids)
        if not num_tokens:
            raise PromptError("filename: the file is damaged, or not of this model as it is loaded", param="filename")
        adopt(self._engine, self.batcher, sequence_id, header.token_ids[:num_tokens], now, owner)
        return CacheFile(sequence_id, num_tokens, path.stat().st_size)

    def erase(self, sequence_id: int, owner: str | None = None) -> CacheFile:
        """Forget the kept cache of a sequence that has ended."""
        num_tokens = self._num_kept(sequence_id, owner)
        if num_tokens:
            self.remove(sequence_id)
        return CacheFile(sequence_id, num_tokens, 0)

    def _fork(self, fork: Fork) -> list[Sequence]:
        """Have a fork done, or its fallback; return its target where one of both was."""
        is_done = self._engine.fork(fork.source_id, fork.target_id, fork.num_tokens)
        is_fallback = not is_done and fork.fallback > 0
        if is_fallback:
            is_done = self._engine.fork(fork.source_id, fork.target_id, fork.fallback)
        sequence = self.batcher.on_fork(fork.target_id, is_done=is_done, is_fallback=is_fallback)
        return [sequence] if is_done else []

    def _add_checkpoint(self, sequence: Sequence) -> None:
        """Keep the state that a sequence's cache has now, where that is wanted."""
        checkpoints = self.batcher.checkpoints
        if not checkpoints.is_wanted(sequence):
            return
        num_bytes = self._engine.add_checkpoint(sequence.sequence_id)
        if num_bytes:
            drop_checkpoints(self._engine, checkpoints.on_kept(sequence, num_bytes))

    def _num_kept(self, sequence_id: int, owner: str | None) -> int:
        """Return how many tokens the kept cache of an owner's sequence holds."""
        return self.batcher.num_kept(sequence_id) if self.batcher.owner_of(sequence_id) == owner else 0

    def _remove_all(self, sequence_ids: tuple[int, ...]) -> None:
        for sequence_id in sequence_ids:
            self._engine.remove(sequence_id)

    def _note_growth(self, plan: StepPlan) -> None:
        """Let the sequences of a step tell how long the cache grew for it, or for the forks before it."""
        made = self._engine.cells_made
        if made is None or made.growth_s == self._noted_growth_s:
            return
        for chunk in plan.chunks:
            chunk.sequence.cache_growth_ms += (made.growth_s - self._noted_growth_s) * 1000
        self._noted_growth_s = made.growth_s

    def _note_drafts(self, speculation: Speculation) -> None:
        counts = self.batcher.counts
        counts.num_drafted, counts.num_accepted = speculation.num_drafted, speculation.num_accepted
        counts.num_drafted_by_model = speculation.num_drafted_by_model
        counts.num_accepted_by_model = speculation.num_accepted_by_model

    def _observe(self, plan: StepPlan, result: StepResult, duration_s: float, cpu_s: float) -> None:
        """Let those learn what a step took who decide by it; decode chunks come first in a plan."""
        if self._speculation is not None:
            threads = self._engine.threads
            cost_s = cpu_s if self._engine.computes_on_cpu else duration_s
            self._speculation.on_step(plan, result, cost_s, None if threads is None else threads.num)
            self._note_drafts(self._speculation)
        if any(chunk.draft for chunk in plan.chunks):
            return  # it tells nothing of steps without drafts
        num_decoding = sum(chunk.sequence.is_decoding for chunk in plan.chunks)
        num_prefilled = sum(
            max(0, result.num_computed.get(chunk.sequence.sequence_id, chunk.start) - chunk.start)
            for chunk in plan.chunks[num_decoding:]
        )
        self.batcher.prefill_budget.observe(num_decoding, num_prefilled, duration_s)
