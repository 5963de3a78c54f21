"""Which model drafts for which: whether it can, and the settings that name it. Reads headers of files."""

from collections.abc import Iterable

from registry.catalogue import Artifact, Model
from registry.engines import EngineKind
from registry.errors import ArtifactError, InvalidSettingError
from registry.facts import ModelKind

DRAFT_KEY = "draft"
"""The setting that names a draft model."""


def check_draft(model: Model, draft: Model) -> None:
    """Refuse a model that cannot draft for another one.

    Raises:
        InvalidSettingError: With what is missing or differs.
    """
    from registry.gguf.vocabulary import (  # noqa: PLC0415 - who only lists models need not read files
        read_vocabulary,
        vocabulary_difference,
    )

    if model.name == draft.name:
        raise InvalidSettingError(f"{DRAFT_KEY}: {model.name} cannot draft for itself; name a smaller model.")
    ours, theirs = _gguf_of(model), _gguf_of(draft)
    if theirs is None or ours is None:
        lacking = model.name if ours is None else draft.name
        raise InvalidSettingError(f"{DRAFT_KEY}: {lacking} has no usable GGUF, and drafts are llamacpp's.")
    try:
        difference = vocabulary_difference(read_vocabulary(ours.path), read_vocabulary(theirs.path))
    except ArtifactError as exc:
        raise InvalidSettingError(f"{DRAFT_KEY}: {exc}.") from exc
    if difference is not None:
        raise InvalidSettingError(
            f"{DRAFT_KEY}: {draft.name} cannot draft for {model.name}, its vocabulary is another one: {difference}; "
            "choose a smaller model of the same family."
        )


def drafted_by(models: Iterable[Model], name: str) -> list[str]:
    """Return the names of the models for which one is set to draft."""
    return [model.name for model in models if model.settings.draft == name]


def _gguf_of(model: Model) -> Artifact | None:
    artifact = model.artifact_for(EngineKind.LLAMACPP)
    is_usable = artifact is not None and artifact.status == "ok" and artifact.facts.kind is ModelKind.MODEL
    return artifact if is_usable else None
