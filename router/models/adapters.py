"""Which adapter a request means, and what it adds to a load. Pure: registry entries in, registry entries out."""

from collections.abc import Mapping

from msgspec.structs import replace

from registry.catalogue import Adapter, Artifact, Model
from registry.engines import EngineKind
from registry.errors import AdapterNotFoundError
from registry.facts import ArtifactFormat, MemoryFacts, ModelFacts
from router.errors import EngineNotAvailableError

_FLOAT_BYTES = 4


def find_adapters(model: Model, name: str) -> dict[EngineKind, Adapter]:
    """Return the adapters of a name by their engine, one at least.

    Raises:
        AdapterNotFoundError: The model has none of this name.
    """
    found = {adapter.engine: adapter for adapter in model.adapters_named(name)}
    if not found:
        raise AdapterNotFoundError(model.name, name, [adapter.name for adapter in model.adapters])
    return found


def artifacts_under(
    artifacts: Mapping[EngineKind, Artifact],
    adapters: Mapping[EngineKind, Adapter],
    reference: str,
    wanted: EngineKind | None,
) -> dict[EngineKind, Artifact]:
    """Return the artifacts that an adapter can be laid over.

    Args:
        reference: `name+adapter`, for the message.
        wanted: The engine that is set; None for `auto`.

    Raises:
        EngineNotAvailableError: There is none for the engines that are wanted.
    """
    both = {engine: artifact for engine, artifact in artifacts.items() if engine in adapters}
    if both and (wanted is None or wanted in both):
        return both
    missing = wanted or next(iter(adapters))
    name, _, adapter = reference.partition("+")
    if missing not in adapters:
        kind = "MLX adapter folder" if missing is EngineKind.MLX else "GGUF adapter"
        remedy = f"mlxr models adapter add {name} PATH --name {adapter}   (PATH: its {kind})"
    else:
        kind = "MLX folder" if missing is EngineKind.MLX else "GGUF file"
        remedy = f"mlxr models add PATH --name {name}   (PATH: the model's {kind}, which the adapter changes)"
    raise EngineNotAvailableError(reference, missing, sorted(both), remedy)


def facts_with(facts: ModelFacts, adapter: Adapter | None) -> ModelFacts:
    """Return a model's facts with an adapter's weights among its own, for sums of memory.

    Neither engine maps an adapter's file; that the sum counts it among the mapped weights changes nothing in the total.
    """
    if adapter is None:
        return facts
    facts = replace(facts, weight_bytes=facts.weight_bytes + adapter.facts.weight_bytes)
    if facts.format is not ArtifactFormat.MLX:
        return facts
    # What is stored in halves takes twice as much where mlx computes in float32.
    memory = facts.memory or MemoryFacts()
    half_bytes = max(0, adapter.facts.num_weights * _FLOAT_BYTES - adapter.facts.weight_bytes)
    return replace(facts, memory=replace(memory, half_bytes=memory.half_bytes + half_bytes))
