"""What is told of an adapter. Pure."""

import msgspec

from registry.catalogue import Adapter
from registry.engines import EngineKind


class AdapterReport(msgspec.Struct, frozen=True, kw_only=True):
    """A LoRA adapter.

    Attributes:
        reference: What requests name: `model+name`.
        own_scale: Of its makers; `scale` multiplies it.
        problem: Why it cannot be used now, or null.
    """

    model: str
    name: str
    reference: str
    engine: EngineKind
    format: str
    method: str
    architecture: str | None
    rank: int
    alpha: float
    own_scale: float
    scale: float
    path: str
    size_bytes: int
    num_tensors: int
    problem: str | None


def adapter_report(adapter: Adapter, problem: str | None) -> AdapterReport:
    """Describe an adapter.

    Args:
        problem: What is not as the registry has it of its files (`registry.scan.watch.what_changed`).
    """
    facts = adapter.facts
    return AdapterReport(
        model=adapter.model_name,
        name=adapter.name,
        reference=adapter.reference,
        engine=adapter.engine,
        format=adapter.format,
        method=facts.method,
        architecture=facts.architecture,
        rank=facts.rank,
        alpha=facts.alpha,
        own_scale=facts.scale,
        scale=adapter.scale,
        path=adapter.path,
        size_bytes=adapter.size_bytes,
        num_tensors=facts.num_tensors,
        problem=problem,
    )
