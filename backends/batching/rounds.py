"""Between the batcher's decisions and an engine: what an engine can hold, and how its effects are done and told back.

No decisions in here, and nothing of requests or events.
"""

from backends.base import Engine, StepPlan, StepResult
from backends.batching.batcher import Batcher, Drop
from backends.batching.capacity import BatchLimits
from backends.batching.saved_caches import SavedCaches
from backends.wire.messages import LoadedModel, LoadSpec


def limits_of(engine: Engine, model: LoadedModel, spec: LoadSpec) -> BatchLimits:
    """Return the limits of a loaded engine."""
    has_spare_slots = engine.num_slots > model.max_sequences
    return BatchLimits(
        max_sequences=model.max_sequences,
        num_slots=engine.num_slots,
        num_cells=model.kv_cells,
        step_tokens=engine.step_tokens,
        num_retired_tokens=engine.num_retired_tokens if has_spare_slots else 0,
        can_cut_cache=engine.capabilities.can_cut_cache,
        forks_share_cells=engine.capabilities.forks_share_cells,
        background_max_wait_s=spec.background_max_wait_s,
        session_ttl_s=spec.session_ttl_s,
    )


def admit(engine: Engine, batcher: Batcher, now: float) -> None:
    """Let waiting sequences begin, with another one's cache where there is one."""
    for action in batcher.admit(now):
        if isinstance(action, Drop):
            engine.remove(action.sequence_id)
        else:
            is_done = engine.fork(action.source_id, action.target_id, action.num_tokens)
            batcher.on_fork(action.target_id, is_done=is_done)


def retire(engine: Engine, batcher: Batcher, sequence_id: int, now: float) -> None:
    """End a sequence whose cache is sound, and keep it as a beginning for others where that is possible."""
    if not batcher.can_retire(sequence_id):
        remove(engine, batcher, sequence_id)
        return
    num_kept = engine.retire(sequence_id)
    for needless_id in batcher.retire(sequence_id, num_kept, now):
        engine.remove(needless_id)


def restore(engine: Engine, batcher: Batcher, saved: SavedCaches, token_ids: list[int], now: float) -> None:
    """Read the saved cache that a new prompt could begin with, where it is worth it and there is a slot."""
    if not saved.could_help(token_ids, batcher.num_ready(token_ids)):
        return
    needless_ids = batcher.free_slot(now)
    if needless_ids is None:
        return
    for needless_id in needless_ids:
        engine.remove(needless_id)
    sequence_id = saved.next_id()
    held = saved.restore(engine, sequence_id, token_ids, batcher.num_ready(token_ids))
    if held:
        for needless_id in batcher.adopt(sequence_id, held, now, is_pinned=True):
            engine.remove(needless_id)


def remove(engine: Engine, batcher: Batcher, sequence_id: int) -> None:
    """End a sequence and its cache; unknown ids are ignored."""
    batcher.remove(sequence_id)
    engine.remove(sequence_id)


def num_decoding(plan: StepPlan) -> int:
    """Return how many of a step's sequences get their next token without a prefill; to be asked before the step."""
    return sum(chunk.sequence.is_decoding for chunk in plan.chunks)


def num_prefilled(plan: StepPlan, result: StepResult, num_decoded: int) -> int:
    """Return how many tokens a step has prefilled, by the plan's word or, where the engine did otherwise, by its own.

    Args:
        plan: The step; decode chunks come first.
    """
    num_tokens = 0
    for chunk in plan.chunks[num_decoded:]:
        num_tokens += max(0, result.num_computed.get(chunk.sequence.sequence_id, chunk.start) - chunk.start)
    return num_tokens
