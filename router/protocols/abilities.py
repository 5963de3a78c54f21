"""What clients ask of a model before they use it, whatever the protocol: what it can do, and how much it takes."""

from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

from registry.catalogue import Artifact, Model
from registry.errors import RegistryError
from registry.facts import ModelFacts, ModelKind
from router.config.upstreams import UpstreamField
from router.errors import RouterError
from router.models.directory import ModelDirectory
from router.models.load_settings import config_for, load_settings_of
from router.models.load_spec import UNPLANNED_CONTEXT
from router.models.model_request import ModelRequest
from router.models.offers import Offer
from router.models.targets import Purpose
from router.protocols.choice import resident_workers
from router.protocols.serving import RequestService

TEXT: Final = "text"
IMAGE: Final = "image"
VISION: Final = "vision"
"""Kinds of content that models take here, and what those that take pictures can."""


class Abilities(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to say of one model.

    Attributes:
        artifact: That would serve it now; None = none can be used.
        context_length: In force, tokens: of the load that serves it, or else of the next one; None = unknown.
        trained_length: Of the context it was made for, tokens; None = unknown.
        loaded_length: Of the load that serves it, tokens; None = it is not loaded.
        can: As Ollama names it: completion, vision, tools, thinking, embedding.
        upstreams: The names of those that have it as well, or alone.
    """

    artifact: Artifact | None
    context_length: int | None
    trained_length: int | None
    loaded_length: int | None
    can: tuple[str, ...]
    upstreams: tuple[str, ...] = ()

    @property
    def inputs(self) -> list[Literal["text", "image"]]:
        """What it takes."""
        return [TEXT, IMAGE] if VISION in self.can else [TEXT]


def abilities_of(serving: RequestService, model: Model) -> Abilities:
    """Return what can be said of a model now."""
    artifact = shown_artifact(serving.models, model)
    offers = serving.models.offers.of(model.name)
    if artifact is None and offers:
        return _abilities_there(offers)
    trained = model.context_length if artifact is None else artifact.facts.context_length
    loaded = max(_loaded_lengths(serving, model.name), default=None)
    return Abilities(
        artifact=artifact,
        context_length=_next_length(serving, model, trained) if loaded is None else loaded,
        trained_length=trained,
        loaded_length=loaded,
        can=()
        if artifact is None
        else tuple(capabilities_of(model, artifact.facts, can_see=serving.models.can_see(model))),
        upstreams=tuple(offer.upstream for offer in offers),
    )


def _abilities_there(offers: Sequence[Offer]) -> Abilities:
    """Return what can be said of a model that only upstreams have: what those let expect that have it."""
    honoured = frozenset().union(*(offer.honours for offer in offers))
    lengths = [offer.context_length for offer in offers if offer.context_length is not None]
    can = {
        "completion": True,
        VISION: UpstreamField.IMAGES in honoured,
        "tools": UpstreamField.TOOLS in honoured,
        "thinking": UpstreamField.REASONING_EFFORT in honoured,
    }
    return Abilities(
        artifact=None,
        context_length=min(lengths, default=None),
        trained_length=max(lengths, default=None),
        loaded_length=None,
        can=tuple(name for name, is_there in can.items() if is_there),
        upstreams=tuple(offer.upstream for offer in offers),
    )


def shown_artifact(models: ModelDirectory, model: Model) -> Artifact | None:
    """Return the artifact that would serve a model now, or else any that is of use; None = none is."""
    try:
        target = models.resolve(ModelRequest(model.name, None, Purpose.DESCRIBE)).target
        preferred = None if target.is_remote else target.local.artifact_id
    except (RouterError, RegistryError):
        preferred = None
    usable = [artifact for artifact in model.artifacts if artifact.status == "ok"]
    return next((artifact for artifact in usable if artifact.id == preferred), usable[0] if usable else None)


def capabilities_of(model: Model, facts: ModelFacts, *, can_see: bool = False, can_infill: bool = False) -> list[str]:
    """Return what clients ask before they use a thing.

    Args:
        model: Its settings may have a template of the user's own.
        can_see: Whether it is shown pictures.
        can_infill: Whether it has tokens for a suffix.
    """
    if facts.kind is ModelKind.EMBEDDING:
        return ["rerank" if facts.pooling_type == "rank" else "embedding"]
    template = facts.chat_template
    # Tools are explained in words to a model whose template has no place for them.
    has_chat = template is not None or model.settings.template is not None
    can = {
        "completion": True,
        VISION: can_see,
        "tools": has_chat,
        "insert": can_infill,
        "thinking": template is not None and template.has_thinking,
    }
    return [name for name, is_there in can.items() if is_there]


def _loaded_lengths(serving: RequestService, name: str) -> Iterable[int]:
    for worker in resident_workers(serving):
        is_it = worker.target is not None and worker.target.model == name
        if is_it and worker.client is not None and worker.client.loaded is not None:
            yield worker.client.loaded.context_length


def _next_length(serving: RequestService, model: Model, trained: int | None) -> int:
    try:
        target = serving.models.resolve(ModelRequest(model.name, None, Purpose.DESCRIBE)).target
        planned = serving.contexts.of(target)
    except (RouterError, RegistryError):
        planned = config_for(serving.config, load_settings_of(model.settings)).generation.context_length
    planned = planned or UNPLANNED_CONTEXT
    return planned if trained is None else min(planned, trained)
