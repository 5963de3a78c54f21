"""Retired sequences that come from files, and checkpoints that go: done in the engine as the batcher decides it."""

from collections.abc import Iterable

from backends.base import LoadedEngine
from backends.batching.batcher import Batcher
from backends.batching.checkpoints.book import Dropped


def adopt(
    engine: LoadedEngine, batcher: Batcher, sequence_id: int, token_ids: list[int], now: float, owner: str | None
) -> None:
    """Take up a retired sequence that the engine has read, with its checkpoints; what is too much for it goes.

    Args:
        token_ids: What it holds.
        now: Seconds of a monotonic clock.
    """
    checkpoints = engine.checkpoints_of(sequence_id)
    needless_ids = batcher.adopt(sequence_id, token_ids, now, owner, is_pinned=True, checkpoints=checkpoints)
    for needless_id in needless_ids:
        engine.remove(needless_id)
    drop_checkpoints(engine, batcher.checkpoints.over_budget())


def drop_checkpoints(engine: LoadedEngine, dropped: Iterable[Dropped]) -> None:
    """Have checkpoints dropped by all who hold them."""
    for checkpoint in dropped:
        for sequence_id in checkpoint.holder_ids:
            engine.drop_checkpoint(sequence_id, checkpoint.num_tokens)
