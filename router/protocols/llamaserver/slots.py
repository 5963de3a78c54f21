"""A worker's sequences as llama-server's slots. Pure: what the gateway has seen of them, and nothing guessed.

A slot is a place in the batch. Values that are not known are left out: `params`, and before the prompt is evaluated the
counts of evaluated and cached tokens, which a worker tells only where the request asks for its progress.

Source: llama.cpp, tools/server/README.md, "GET /slots".
"""

from typing import Any

from backends.wire.messages import LoadedModel
from router.workers.streams import SequenceProgress


def slots_of(model: LoadedModel, progress: list[SequenceProgress]) -> list[dict[str, Any]]:
    """Return all slots of a loaded model."""
    by_slot = {each.slot: each for each in progress}
    num_slots = max([model.max_sequences, *(slot + 1 for slot in by_slot)])
    return [_slot(number, model, by_slot.get(number)) for number in range(num_slots)]


def has_idle_slot(slots: list[dict[str, Any]]) -> bool:
    """Tell whether a request could start at once."""
    return any(not slot["is_processing"] for slot in slots)


def _slot(number: int, model: LoadedModel, progress: SequenceProgress | None) -> dict[str, Any]:
    slot: dict[str, Any] = {
        "id": number,
        "n_ctx": model.context_length,
        "speculative": False,
        "is_processing": progress is not None,
    }
    if progress is None:
        return slot
    counts = {
        "n_prompt_tokens": progress.num_prompt_tokens,
        "n_prompt_tokens_processed": progress.num_evaluated,
        "n_prompt_tokens_cache": progress.num_cached,
    }
    next_token: dict[str, Any] = {"has_next_token": True, "n_decoded": progress.num_output_tokens}
    if progress.max_tokens is not None:
        next_token["n_remain"] = max(0, progress.max_tokens - progress.num_output_tokens)
    known = {name: count for name, count in counts.items() if count is not None}
    return slot | {"id_task": progress.sequence_id} | known | {"next_token": [next_token]}
