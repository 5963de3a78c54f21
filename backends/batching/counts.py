"""What a batch has done since its model was loaded, counted by who decides it. Nothing is decided by it."""

import msgspec


class BatchCounts(msgspec.Struct):
    """Each number only grows.

    Attributes:
        num_steps: Steps of the engine.
        num_step_sequences: Sequences that took part, summed over the steps; by the steps it is the mean batch.
        num_evictions: Sequences that lost their cells so that others could grow.
        num_preemptions: Sequences that lost them to one that goes before them.
        num_forks: Sequences that began with another one's cache.
        num_dropped: Kept caches of ended sequences that had to make room.
        num_drafted: Tokens that were drafted.
        num_accepted: Those of them that were drawn.
        num_drafted_by_model: Those that a second model drafted; `num_accepted_by_model` likewise.
        num_checkpoints_made: Checkpoints that were made.
        num_checkpoints_dropped: Those that had to make room for others.
        num_checkpoint_forks: Sequences that began at one.
    """

    num_steps: int = 0
    num_step_sequences: int = 0
    num_evictions: int = 0
    num_preemptions: int = 0
    num_forks: int = 0
    num_dropped: int = 0
    num_drafted: int = 0
    num_accepted: int = 0
    num_drafted_by_model: int = 0
    num_accepted_by_model: int = 0
    num_checkpoints_made: int = 0
    num_checkpoints_dropped: int = 0
    num_checkpoint_forks: int = 0
