"""When a worker tells what its batch does: at most once in an interval while it works, and when it comes to rest."""

from typing import Final

from backends.base import LoadedEngine
from backends.batching.batcher import Batcher
from backends.saved_caches.caches import SavedCounts
from backends.wire.stats import Stats

STATS_INTERVAL_S: Final = 1.0


class StatsReporter:
    """Tells of one batch, never twice the same.

    Args:
        saved: What its saved caches count.
    """

    def __init__(self, batcher: Batcher, engine: LoadedEngine, saved: SavedCounts | None = None) -> None:
        self._saved = saved or SavedCounts()
        self._batcher = batcher
        self._engine = engine
        self._told: Stats | None = None
        self._told_at = 0.0

    def due(self, now: float, *, is_busy: bool) -> Stats | None:
        """Return what is to be told now, if anything is."""
        if is_busy and self._told is not None and now - self._told_at < STATS_INTERVAL_S:
            return None
        batcher, counts, saved, made = self._batcher, self._batcher.counts, self._saved, self._engine.cells_made
        stats = Stats(
            num_running=batcher.num_running,
            num_waiting=batcher.num_waiting,
            num_cells=self._engine.limits.num_cells,
            num_free_cells=batcher.num_free_cells,
            num_kept_tokens=batcher.num_kept_tokens,
            threads=self._engine.threads,
            num_thread_changes=self._engine.num_thread_changes,
            num_steps=counts.num_steps,
            num_step_sequences=counts.num_step_sequences,
            num_evictions=counts.num_evictions,
            num_preemptions=counts.num_preemptions,
            num_forks=counts.num_forks,
            num_dropped=counts.num_dropped,
            num_drafted=counts.num_drafted,
            num_accepted=counts.num_accepted,
            num_drafted_by_model=counts.num_drafted_by_model,
            num_accepted_by_model=counts.num_accepted_by_model,
            num_checkpoints_made=counts.num_checkpoints_made,
            num_checkpoints_dropped=counts.num_checkpoints_dropped,
            num_checkpoint_forks=counts.num_checkpoint_forks,
            num_checkpoints=len(batcher.checkpoints.book),
            checkpoint_bytes=batcher.checkpoints.book.num_bytes,
            num_loaded_caches=saved.num_loaded,
            loaded_cache_tokens=saved.loaded_tokens,
            loaded_cache_bytes=saved.loaded_bytes,
            cache_load_s=saved.load_s,
            num_written_caches=saved.num_written,
            written_cache_bytes=saved.written_bytes,
            num_discarded_caches=saved.num_discarded,
            num_made_cells=None if made is None else made.num_cells,
            num_cache_growths=0 if made is None else made.num_growths,
        )
        if stats == self._told:
            return None
        self._told, self._told_at = stats, now
        return stats
