"""Whether a load would fit, to be asked before anything is unloaded for it; and the refusal with its numbers. Pure.

Not here: the sums (`registry.memory_fit`) and the readings (`memory_budget`).
"""

from collections.abc import Sequence

from registry.engines import EngineKind
from registry.facts import ModelFacts
from registry.memory_fit import Fit, FitSettings, Machine, MemoryNeed, check_fit, largest_context, memory_need
from router.config import Config
from router.errors import InsufficientMemoryError
from router.models.load_settings import AS_CONFIGURED, LoadSettings, config_for


def fit_settings_for(config: Config, engine: EngineKind, load: LoadSettings = AS_CONFIGURED) -> FitSettings:
    """Give the settings with which a model is loaded.

    Args:
        load: What differs from the config for this model.
    """
    config = config_for(config, load)
    is_llamacpp = engine is EngineKind.LLAMACPP
    return FitSettings(
        context_length=config.generation.context_length,
        parallel=config.generation.parallel,
        kv_cells=config.llamacpp.kv_cells if is_llamacpp else None,
        step_tokens=config.llamacpp.batch_tokens if is_llamacpp else config.mlx.prefill_step_tokens,
        kv_type=config.llamacpp.kv_type if is_llamacpp else None,
        has_flash_attention=config.llamacpp.flash_attention.value != "off",
        keeps_caches=config.cache.slots != 0,
        uses_mmap=config.llamacpp.mmap,
    )


def refusal(
    model: str,
    facts: ModelFacts,
    settings: FitSettings,
    machine: Machine,
    *,
    available_bytes: int,
    reclaimable_bytes: int = 0,
    unloading: Sequence[str] = (),
) -> InsufficientMemoryError | None:
    """Check a load that is about to be made.

    Args:
        available_bytes: What new work could take now (`MemoryBudget.available_for`).
        reclaimable_bytes: Anonymous memory of the workers that would be ended first.
        unloading: Names of the models that these workers serve.

    Returns:
        None when it fits, else the error to answer with (503 insufficient_memory).
    """
    need = memory_need(facts, settings, machine)
    fit = check_fit(need, available_bytes=available_bytes, reclaimable_bytes=reclaimable_bytes)
    if fit.is_fitting:
        return None
    context = largest_context(facts, settings, machine, free_bytes=fit.free_bytes)
    return InsufficientMemoryError(
        needed_bytes=fit.needed_bytes,
        available_bytes=fit.free_bytes,
        message=f"model: {numbers(model, need, fit, unloading)} {way_out(model, need, context)}",
    )


def numbers(model: str, need: MemoryNeed, fit: Fit, unloading: Sequence[str] = ()) -> str:
    """Say what a model needs and what there is, in one sentence.

    Args:
        fit: The answer of `check_fit`.
    """
    after = (
        f"would be free after unloading {' and '.join(repr(name) for name in unloading)}" if unloading else "is free"
    )
    return (
        f"'{model}' on {need.engine} needs {_gb(fit.needed_bytes)} at a context of {need.context_length} tokens "
        f"(weights {_gb(need.weights_bytes)}, KV cache {_gb(need.kv_bytes)}, buffers {_gb(need.buffers_bytes)}); "
        f"{_gb(fit.free_bytes)} {after}."
    )


def way_out(model: str, need: MemoryNeed, context_length: int | None) -> str:
    """Say what would help, best first.

    Args:
        need: What does not fit.
        context_length: The longest context that fits, None without one.
    """
    kv = ", a quantized KV cache (kv_type)" if need.engine is EngineKind.LLAMACPP else ""
    if context_length is None:
        return "It does not fit with any context; use a smaller quantization or a smaller model, or end other programs."
    return (
        f"A context of {context_length} tokens fits (`mlxr models set {model} context_length={context_length}`, or "
        f"generation.context_length for all models); so may fewer parallel sequences"
        f"{kv} or a smaller quantization."
    )


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.2f} GB"
