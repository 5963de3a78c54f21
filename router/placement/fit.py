"""Whether a load would fit, to be asked before anything is unloaded for it; and the refusal with its numbers. Pure.

Not here: what it takes (`memory_need`) and what there is (`memory`).
"""

from bisect import bisect_right
from collections.abc import Sequence

import msgspec

from backends.wire.load import LoadSpec
from registry.engines import EngineKind
from registry.facts import ModelFacts
from router.errors import InsufficientMemoryError, UnavailableError
from router.placement.memory import Machine
from router.placement.memory_need import CELL_PADDING, MemoryNeed, memory_need
from router.placement.room import Refusal
from router.placement.vision_need import COUNTED_SIDE_PX


def largest_context(
    facts: ModelFacts,
    spec: LoadSpec,
    machine: Machine,
    *,
    free_bytes: int,
    image_side_px: int = COUNTED_SIDE_PX,
    with_kept: bool = False,
) -> int | None:
    """Give the longest context that fits, all else unchanged.

    Args:
        spec: How it is loaded; `context_length` is the upper bound.
        with_kept: Whether the caches of ended answers have to fit as well.

    Returns:
        Tokens, a multiple of 256; None when not even 256 fit.
    """
    bound = min(spec.context_length, facts.context_length or spec.context_length) // CELL_PADDING

    def required_bytes(num_steps: int) -> int:
        trial = msgspec.structs.replace(spec, context_length=num_steps * CELL_PADDING, kv_cells=None)
        need = memory_need(facts, trial, machine, image_side_px=image_side_px)
        return need.total_bytes if with_kept else need.required_bytes

    return bisect_right(range(1, bound + 1), free_bytes, key=required_bytes) * CELL_PADDING or None


def refusal(
    model: str,
    facts: ModelFacts,
    spec: LoadSpec,
    machine: Machine,
    *,
    available_bytes: int,
    reclaimable_bytes: int = 0,
    unloading: Sequence[str] = (),
    staying: Sequence[str] = (),
    image_side_px: int = COUNTED_SIDE_PX,
) -> InsufficientMemoryError | None:
    """Check a load that is about to be made.

    Args:
        available_bytes: What new work could take now (`MemoryBudget.available_for`).
        reclaimable_bytes: Anonymous memory of the workers that would be ended first: mapped files count as available.
        unloading: Names of the models that these workers serve.
        staying: Names of those that are pinned, and stay.
        image_side_px: The longest side of pictures, where it sees any.

    Returns:
        None when it fits, else the error to answer with (503 insufficient_memory).
    """
    need = memory_need(facts, spec, machine, image_side_px=image_side_px)
    free_bytes = available_bytes + reclaimable_bytes
    if need.required_bytes <= free_bytes:
        return None
    context = largest_context(facts, spec, machine, free_bytes=free_bytes, image_side_px=image_side_px)
    return InsufficientMemoryError(
        needed_bytes=need.required_bytes,
        available_bytes=free_bytes,
        message=f"model: {_numbers(model, need, free_bytes, unloading)} {_pins(staying)}"
        f"{_way_out(model, need, context)}",
    )


def no_room(refusal: Refusal) -> UnavailableError:
    """Return what those are told who wait for a target that has no place beside what is pinned."""
    label, names = refusal.target.label, " and ".join(repr(each.label) for each in refusal.pinned)
    unpin = f"mlxr models set {refusal.pinned[0].model} pinned=false"
    if refusal.need is None:
        return UnavailableError(
            f"model: '{label}' on {refusal.target.engine} is not loaded beside {names}, pinned, because no group has "
            f"them together; name both in a group of the config (groups), or take the pin away (`{unpin}`)"
        )
    free_bytes = max(0, refusal.limit_bytes - refusal.pinned_bytes)
    need_bytes = refusal.need.least_bytes
    words = (
        f"model: '{label}' on {refusal.target.engine} needs {_gb(need_bytes)}; of the {_gb(refusal.limit_bytes)} that "
        f"models may take now, {_gb(refusal.pinned_bytes)} are held by {names}, pinned, which leaves "
        f"{_gb(free_bytes)}. Take a pin away (`{unpin}`), use a smaller context_length, or end other programs."
    )
    return InsufficientMemoryError(needed_bytes=need_bytes, available_bytes=free_bytes, message=words)


def _pins(staying: Sequence[str]) -> str:
    if not staying:
        return ""
    names, model = " and ".join(map(repr, staying)), staying[0].partition("+")[0]
    return f"{names}, pinned, would stay (`mlxr models set {model} pinned=false`). "


def _numbers(model: str, need: MemoryNeed, free_bytes: int, unloading: Sequence[str]) -> str:
    """Say what a model needs and what there is, in one sentence."""
    after = (
        f"would be free after unloading {' and '.join(repr(name) for name in unloading)}" if unloading else "is free"
    )
    vision = f"vision {_gb(need.vision_bytes)}, " if need.vision_bytes else ""
    return (
        f"'{model}' on {need.engine} needs {_gb(need.required_bytes)} at a context of {need.context_length} tokens "
        f"(weights {_gb(need.weights_bytes)}, KV cache {_gb(need.kv_bytes)}, {vision}"
        f"buffers {_gb(need.buffers_bytes)}); "
        f"{_gb(free_bytes)} {after}."
    )


def _way_out(model: str, need: MemoryNeed, context_length: int | None) -> str:
    """Say what would help, best first; `context_length` is the longest that fits."""
    if need.vision_bytes:
        less = _gb(need.vision_bytes)
        without = f"Without its vision it needs {less} less (`mlxr models set {model} vision=off`). "
    else:
        without = ""
    kv = ", a quantized KV cache (kv_type)" if need.engine is EngineKind.LLAMACPP else ""
    if context_length is None:
        return (
            f"{without}It does not fit with any context; use a smaller quantization or a smaller model, or end other "
            "programs."
        )
    return (
        f"{without}A context of {context_length} tokens fits (`mlxr models set {model} "
        f"context_length={context_length}`, or generation.context_length for all models); so may fewer parallel "
        f"sequences{kv} or a smaller quantization."
    )


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.2f} GB"
