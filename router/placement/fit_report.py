"""What a model takes per engine, and whether this machine has it, for who asks. The sums are `memory_need`'s."""

import msgspec
from msgspec.structs import asdict, replace

from backends.wire.load import LoadSpec, kv_types_of
from registry.catalogue import Artifact, Model
from registry.checksums.verification import read_facts
from registry.engines import EngineKind
from registry.errors import ArtifactError
from router.config import Config
from router.errors import InvalidRequestError
from router.models.adapters import facts_with, find_adapters
from router.models.draft import draft_source, draft_spec
from router.models.load_settings import load_settings_of
from router.placement.context import planned_spec
from router.placement.fit import largest_context
from router.placement.memory import Machine, MemoryBudget
from router.placement.memory_need import KV_ELEMENT_BYTES, MemoryNeed, draft_bytes, memory_need
from router.placement.vision_need import counted_side_px


class FitWishes(msgspec.Struct, frozen=True, kw_only=True):
    """How it would be loaded; None = as the model's settings and the config have it.

    Attributes:
        context_length: Tokens of one request.
        parallel: Requests at a time.
        kv_type: Of the cache, on llamacpp.

    Raises:
        InvalidRequestError: There is no such type.
    """

    context_length: int | None = None
    parallel: int | None = None
    kv_type: str | None = None

    def __post_init__(self) -> None:
        """Refuse an unknown type."""
        if self.kv_type is not None and not KV_ELEMENT_BYTES.keys() >= set(kv_types_of(self.kv_type)):
            choice = f"choose {', '.join(KV_ELEMENT_BYTES)}, or two of them like q8_0/q4_0"
            raise InvalidRequestError(f"kv_type: there is no KV type {self.kv_type!r:.40}; {choice}", "kv_type")


class EngineFit(MemoryNeed, frozen=True, kw_only=True):
    """What a model takes on one engine, and what is there.

    Attributes:
        required_bytes: In all, without the caches of ended answers.
        total_bytes: With them.
        fits: Without the model that drafts for it, which is left out where there is no room.
        available_bytes: What a load may take.
        largest_context: Tokens; null = it does not fit with any.
        sees: Whether it would be loaded with what it sees with.
        projector: File of that, where it is one of its own.
    """

    required_bytes: int
    total_bytes: int
    available_bytes: int
    fits: bool
    fits_with_draft: bool
    fits_with_kept_caches: bool
    largest_context: int | None
    parallel: int
    sees: bool
    projector: str | None


class ModelFit(msgspec.Struct, frozen=True, kw_only=True):
    """One model, perhaps `name+adapter`, on each engine that it has an artifact for."""

    model: str
    engines: tuple[EngineFit, ...]

    @property
    def fits(self) -> bool:
        """Whether it fits on any of them."""
        return any(engine.fits for engine in self.engines)


def artifacts_for(model: Model, adapter: str | None = None, engine: str | None = None) -> list[Artifact]:
    """Return the usable artifacts of a model, what memory depends on among their facts. Blocking.

    Args:
        engine: Only that for this one.

    Raises:
        AdapterNotFoundError: The model has no such adapter.
    """
    usable = [item for item in model.artifacts if engine in {None, item.engine} and item.status == "ok"]
    artifacts = [_with_memory_facts(item) for item in usable]
    if adapter is None:
        return artifacts
    adapters = find_adapters(model, adapter)
    return [
        replace(item, facts=facts_with(item.facts, adapters[item.engine]))
        for item in artifacts
        if item.engine in adapters
    ]


def fit_of(
    model: Model,
    artifacts: list[Artifact],
    wishes: FitWishes,
    *,
    config: Config,
    machine: Machine,
    budget: MemoryBudget,
    adapter: str | None = None,
    draft: Model | None = None,
) -> ModelFit:
    """Report on some artifacts of a model. Blocking.

    Args:
        artifacts: As `artifacts_for` gives them.
        draft: That is set to draft for it, if it is here.
    """
    load = load_settings_of(model.settings)
    specs = [planned_spec(item, config, load, machine=machine, budget=budget) for item in artifacts]
    return ModelFit(
        model=model.name if adapter is None else f"{model.name}+{adapter}",
        engines=tuple(
            _engine_fit(item, _wanted(spec, wishes), machine, budget, counted_side_px(config.images), draft)
            for item, spec in zip(artifacts, specs, strict=True)
        ),
    )


def _with_memory_facts(artifact: Artifact) -> Artifact:
    """Read the files again where an older mlxr left out what memory depends on; what cannot be read is estimated."""
    if artifact.facts.memory is not None:
        return artifact
    try:
        return replace(artifact, facts=read_facts(artifact))
    except ArtifactError:
        return artifact


def _wanted(spec: LoadSpec, wishes: FitWishes) -> LoadSpec:
    return replace(
        spec,
        context_length=wishes.context_length or spec.context_length,
        max_sequences=wishes.parallel or spec.max_sequences,
        kv_cells=None if wishes.context_length else spec.kv_cells,
        kv_type=wishes.kv_type or spec.kv_type,
    )


def _engine_fit(
    artifact: Artifact,
    spec: LoadSpec,
    machine: Machine,
    budget: MemoryBudget,
    image_side_px: int,
    draft: Model | None,
) -> EngineFit:
    alone = memory_need(artifact.facts, spec, machine, image_side_px=image_side_px)
    need = replace(alone, draft_bytes=_draft_bytes(spec, machine, draft))
    available = budget.available_for(artifact.engine)
    return EngineFit(
        **asdict(need),
        required_bytes=need.required_bytes,
        total_bytes=need.total_bytes,
        available_bytes=available,
        fits=alone.required_bytes <= available,
        fits_with_draft=need.required_bytes <= available,
        fits_with_kept_caches=need.total_bytes <= available,
        largest_context=largest_context(
            artifact.facts, spec, machine, free_bytes=available, image_side_px=image_side_px
        ),
        parallel=spec.max_sequences,
        sees=spec.vision is not None,
        projector=artifact.mmproj_path,
    )


def _draft_bytes(spec: LoadSpec, machine: Machine, draft: Model | None) -> int:
    """Return what the model takes that would be loaded to draft, 0 without one."""
    artifact = None if draft is None else draft.artifact_for(EngineKind.LLAMACPP)
    if spec.draft is None or draft is None or artifact is None:
        return 0
    spec = replace(spec, draft=draft_spec(draft_source(draft.name, draft), spec))
    return draft_bytes(_with_memory_facts(artifact).facts, spec, machine)
