"""How long a context is of which neither request, model nor config says a word: as long as the memory allows. Pure.

By the machine's whole memory, so that clients can be told before anything is loaded, and the next load has the same;
what is free decides only where that does not fit now.
"""

from typing import Final

from msgspec.structs import replace

from backends.wire.load import LoadSpec
from registry.catalogue import Artifact
from registry.engines import EngineKind
from registry.facts import ModelFacts
from registry.settings import LoadSettings
from router.config import Config
from router.models.load_settings import AS_CONFIGURED, config_for
from router.models.load_spec import UNPLANNED_CONTEXT, load_spec_of
from router.placement.fit import largest_context
from router.placement.memory import Machine, MemoryBudget
from router.placement.memory_need import CELL_PADDING

_SHARE: Final = 2 / 3
"""Of the memory, for all that mlxr's workers hold, full caches and kept ones included; the rest is for others."""
_BESIDE_SHARE: Final = 0.4
"""Of that, where several models may be loaded: two of them have room with what they grow to, below what counts as
critical."""
_ALLOCATED_TOKENS: Final = 65_536
"""The most where llamacpp allocates and clears all cells at the load; caches that grow cost nothing before."""
_LEAST_TOKENS: Final = 2048
_STEP: Final = CELL_PADDING
_FREE_SHARE: Final = 0.8
"""Of what is free now, where not all that was planned is."""


def is_planned(config: Config, load: LoadSettings) -> bool:
    """Tell whether the context's length is for mlxr to choose."""
    return config_for(config, load).generation.context_length is None


def planned_context(facts: ModelFacts, spec: LoadSpec, machine: Machine, budget: MemoryBudget, config: Config) -> int:
    """Return the context that a model is to have on this machine, tokens, at least UNPLANNED_CONTEXT.

    Where the model was made for less, whoever loads it lowers that.

    Args:
        facts: The adapter's weights among them.
        spec: How it is loaded otherwise.
        config: For whether others share the memory: further workers of the model, and a ceiling.
    """
    longest = facts.context_length or UNPLANNED_CONTEXT
    if facts.kv is None or facts.memory is None or longest <= UNPLANNED_CONTEXT:
        return UNPLANNED_CONTEXT
    engine = EngineKind.LLAMACPP if facts.format == "gguf" else EngineKind.MLX
    if engine is EngineKind.LLAMACPP and spec.first_cells is None:
        longest = min(longest, _ALLOCATED_TOKENS)
    limits = [budget.total_bytes * _SHARE]
    if config.memory.budget_bytes is not None:
        limits.append(config.memory.budget_bytes)
    if engine is EngineKind.MLX and budget.wired_limit_bytes is not None:
        limits.append(budget.wired_limit_bytes)
    share = 1.0 if config.residency == "exclusive" else _BESIDE_SHARE
    num_bytes = int(share * min(limits)) // config.generation.workers
    wished = replace(spec, context_length=longest)
    found = largest_context(facts, wished, machine, free_bytes=num_bytes, with_kept=True) or 0
    # Steps of 256 tokens end below a length that is none of them.
    return longest if found > longest - _STEP else max(found, UNPLANNED_CONTEXT)


def fitting_context(
    facts: ModelFacts, spec: LoadSpec, machine: Machine, *, free_bytes: int, image_side_px: int
) -> int | None:
    """Return what of a planned context fits now, tokens; None = nothing that is worth a load.

    Args:
        spec: With the planned context.
        free_bytes: What the load may take.
    """
    for share in (_FREE_SHARE, 1.0):
        found = largest_context(facts, spec, machine, free_bytes=int(free_bytes * share), image_side_px=image_side_px)
        if found is not None and found > spec.context_length - _STEP:
            return spec.context_length
        if found is not None and found >= min(_LEAST_TOKENS, spec.context_length):
            return found
    return None


def planned_spec(
    artifact: Artifact,
    config: Config,
    load: LoadSettings = AS_CONFIGURED,
    *,
    machine: Machine,
    budget: MemoryBudget,
    facts: ModelFacts | None = None,
) -> LoadSpec:
    """Return how an artifact is loaded here, its context planned where that is for mlxr to choose.

    Args:
        facts: With an adapter's; None = the artifact's.
    """
    spec = load_spec_of(artifact, config, load)
    if not is_planned(config, load):
        return spec
    own = config_for(config, load)
    return replace(spec, context_length=planned_context(facts or artifact.facts, spec, machine, budget, own))
