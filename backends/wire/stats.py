"""What a worker tells of its batch, its checkpoints and its saved caches, beside the answers."""

import msgspec

from backends.wire.threads import ThreadsUsed


class CellsMade(msgspec.Struct, frozen=True, array_like=True):
    """How far a KV cache that grows has grown.

    Attributes:
        num_cells: That there are now.
        num_growths: How often there have become more.
        growth_s: What that took, together.
    """

    num_cells: int
    num_growths: int = 0
    growth_s: float = 0.0


class Stats(msgspec.Struct, frozen=True, array_like=True, tag=True, kw_only=True):
    """What the batch does and has done, for metrics; at most once in a second of work, and when it comes to rest.

    Attributes:
        num_running: Sequences with a slot, held and paused ones included.
        num_cells: Of the KV cache, in tokens.
        num_free_cells: Those that no live sequence has claimed.
        num_made_cells: Those of `num_cells` that there are already; None = the engine does not tell.
        num_cache_growths: How often there have become more of them since the load.
        num_kept_tokens: Tokens of ended sequences whose caches are kept.
        threads: Of the last step; None = there was none, or the engine does not tell.
        num_thread_changes: How often their number has moved since the load.
        num_steps: From here on as in `backends.batching.counts.BatchCounts`.
        num_checkpoints: That there are now; `checkpoint_bytes` is what they take.
        num_loaded_caches: From here on what was done with saved caches; `cache_load_s` is what reading them took.
        num_discarded_caches: Files that were thrown away because they were damaged or of another version.
    """

    num_running: int
    num_waiting: int
    num_cells: int
    num_free_cells: int
    num_kept_tokens: int
    threads: ThreadsUsed | None
    num_thread_changes: int
    num_steps: int
    num_step_sequences: int
    num_evictions: int
    num_preemptions: int
    num_forks: int
    num_dropped: int
    num_drafted: int
    num_accepted: int
    num_drafted_by_model: int = 0
    num_accepted_by_model: int = 0
    num_checkpoints_made: int = 0
    num_checkpoints_dropped: int = 0
    num_checkpoint_forks: int = 0
    num_checkpoints: int = 0
    checkpoint_bytes: int = 0
    num_loaded_caches: int = 0
    loaded_cache_tokens: int = 0
    loaded_cache_bytes: int = 0
    cache_load_s: float = 0.0
    num_written_caches: int = 0
    written_cache_bytes: int = 0
    num_discarded_caches: int = 0
    num_made_cells: int | None = None
    num_cache_growths: int = 0
