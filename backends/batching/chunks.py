"""What each sequence that computes gets of a step: pure arithmetic over budgets.

Who computes at all is the batcher's choice, what prefill may take beside running streams the prefill budget's.
"""

from collections.abc import Iterable

from backends.batch_limits import BatchLimits
from backends.batching.prefill_budget import SHORT_PREFILL_TOKENS, PrefillBudget
from backends.sequence import Sequence
from backends.step import Chunk


def step_chunks(sequences: Iterable[Sequence], limits: BatchLimits, prefill_budget: PrefillBudget) -> list[Chunk]:
    """Return a step's chunks, decode first.

    Args:
        sequences: In order, none of which waits for rows.
    """
    chunks: list[Chunk] = []
    prefilling: list[Sequence] = []
    for sequence in sequences:
        if sequence.is_decoding:
            chunks.append(Chunk(sequence, sequence.num_computed, 1))
        else:
            prefilling.append(sequence)
    del chunks[limits.step_tokens :]
    if prefilling:
        chunks += _prefill_chunks(prefilling, len(chunks), limits, prefill_budget)
    return chunks


def _prefill_chunks(
    prefilling: list[Sequence], num_decoding: int, limits: BatchLimits, prefill_budget: PrefillBudget
) -> list[Chunk]:
    """Return what each prompt gets of the step; short prompts may pass long ones beside running streams.

    A span that has to be whole takes what it needs as soon as there is room for anything.
    """
    long_room = short_room = limits.step_tokens - num_decoding
    scored_room = limits.scored_tokens
    if num_decoding and long_room > 0:
        short_room = prefill_budget.short_budget(short_room)
        long_room = prefill_budget.budget(num_decoding, long_room)
    chunks: list[Chunk] = []
    for sequence in prefilling:
        is_short = len(sequence.token_ids) - sequence.num_cached_tokens <= SHORT_PREFILL_TOKENS
        room = short_room if is_short else long_room
        if sequence.is_scored:
            room = min(room, scored_room)
        if room > 0:
            num_tokens = _num_tokens(sequence, room)
            scored_room -= num_tokens if sequence.is_scored else 0
            chunks.append(Chunk(sequence, sequence.num_computed, num_tokens))
            long_room -= num_tokens
            short_room -= num_tokens
    return chunks


def _num_tokens(sequence: Sequence, room: int) -> int:
    """Return the length of a sequence's next chunk: all tokens, or all rows of one span."""
    start = sequence.num_computed
    span = sequence.span_at(start)
    num_alike = sequence.num_alike(start)
    return num_alike if span is not None and span.is_whole else min(room, num_alike)
