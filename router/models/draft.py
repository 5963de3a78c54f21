"""The model that drafts for another one, from the registry to what a worker is told. Pure."""

import msgspec

from backends.wire.load import DraftSpec, LoadSpec
from backends.wire.request import SpeculationMode
from registry.catalogue import Model
from registry.engines import EngineKind

_DRAFTING = frozenset({SpeculationMode.AUTO, SpeculationMode.DRAFT})


class DraftSource(msgspec.Struct, frozen=True, kw_only=True):
    """What drafts for a target.

    Attributes:
        artifact_id: None = there is none that could be loaded, and `why_not` says why.
        version: Another one when the file has changed, although the path is the same.
        context_length: The longest that it was made for; None = not known.
    """

    name: str
    artifact_id: int | None = None
    path: str = ""
    version: str = ""
    context_length: int | None = None
    why_not: str | None = None


def draft_source(name: str, model: Model | None, main: str = "") -> DraftSource:
    """Return what drafts, by the name that the setting has.

    Args:
        model: Of that name; None = there is none.
        main: Name of the model that it is to draft for; files that turned out the same have made one model of two.
    """
    if model is None:
        return DraftSource(name=name, why_not=f"there is no model '{name}'")
    if model.name == main:
        return DraftSource(name=name, why_not=f"'{name}' is '{main}' itself")
    artifact = model.artifact_for(EngineKind.LLAMACPP)
    if artifact is None or artifact.status != "ok":
        reason = "it has no GGUF" if artifact is None else artifact.reason or f"its GGUF is {artifact.status}"
        return DraftSource(name=name, why_not=f"'{name}' cannot be loaded: {reason}")
    return DraftSource(
        name=name,
        artifact_id=artifact.id,
        path=artifact.path,
        version=artifact.version,
        context_length=artifact.facts.context_length,
    )


def draft_spec(source: DraftSource, spec: LoadSpec, why_not: str | None = None) -> DraftSpec:
    """Return how a draft model is loaded beside a main one: a context as long as that one's, as far as it was made for.

    Args:
        spec: How the main one is loaded.
        why_not: Why it is not to be loaded now; None = nothing speaks against it.
    """
    if spec.speculation not in _DRAFTING:
        why_not = f"speculation is {spec.speculation}"
    context_length = min(spec.context_length, source.context_length or spec.context_length)
    most_cells = max(spec.context_length, spec.kv_cells or 0)
    return DraftSpec(
        name=source.name,
        model_path=source.path,
        context_length=context_length,
        kv_cells=min(most_cells, context_length * spec.max_sequences),
        why_not=source.why_not or why_not,
    )
