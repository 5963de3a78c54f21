"""Which of a model's artifacts see and with what, and what to say where none does. Pure."""

import importlib.util
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from backends.wire.load import VisionSpec
from registry.catalogue import Artifact, Model
from registry.engines import EngineKind
from registry.settings import VisionMode
from registry.vision import VisionFacts
from router.errors import InvalidRequestError, ModelCannotSeeError, ModelLoadFailedError

NOTHING_LACKS: Final[Mapping[EngineKind, str]] = {}


class PictureNeed(msgspec.Struct, frozen=True):
    """What a request with a picture brings to the choice of what serves it.

    Attributes:
        param: Its field that has the first picture.
        another: Names a model here that sees, for the refusal.
        cannot_see: Engines that lack here what they need for pictures, with what it is.
    """

    param: str
    another: Callable[[], str | None] = lambda: None
    cannot_see: Mapping[EngineKind, str] = NOTHING_LACKS


class VisionSource(msgspec.Struct, frozen=True, kw_only=True):
    """What an artifact that sees does it with.

    Attributes:
        family: Row of `registry.vision.VISION_FAMILIES`.
        projector_path: The GGUF projector; None = the tower is in the model's folder.
        text_width: Of the language model's hidden states; 0 = unknown.
        version: Another one when the files that make rows are others.
    """

    family: str
    facts: VisionFacts
    projector_path: str | None
    text_width: int
    version: str


def vision_source(artifact: Artifact) -> VisionSource | None:
    """Return what an artifact sees with on its engine; None = it is a text model there."""
    vision = artifact.vision
    if vision is None or artifact.text_only_reason is not None:
        return None
    family = vision.family_on(artifact.engine)
    assert family is not None, "nothing speaks against it"
    return VisionSource(
        family=family,
        facts=vision,
        projector_path=artifact.mmproj_path,
        text_width=artifact.facts.embedding_length or 0,
        version=vision.version or artifact.version,
    )


def vision_spec(source: VisionSource | None, mode: VisionMode | None) -> VisionSpec | None:
    """Return what a worker is told to see with; None = nothing.

    Args:
        mode: The setting in force; None = `auto`.
    """
    if source is None or mode == "off":
        return None
    return VisionSpec(
        family=source.family,
        projector_path=source.projector_path,
        projector_metadata={
            key: list(value) if isinstance(value, tuple) else value for key, value in source.facts.metadata
        },
        text_width=source.text_width,
        has_class_token=source.facts.has_class_token,
        fingerprint=source.version,
        is_preloaded=mode == "on",
    )


def engines_that_cannot_see() -> dict[EngineKind, str]:
    """Return the engines that lack here what they need for pictures, with what it is; no library is imported."""
    if importlib.util.find_spec("mlx_vlm") is not None:
        return {}
    return {EngineKind.MLX: "mlx-vlm is not installed, `scripts/setup` brings it"}


def seeing(
    artifacts: Mapping[EngineKind, Artifact], cannot_see: Mapping[EngineKind, str] = NOTHING_LACKS
) -> dict[EngineKind, Artifact]:
    """Return the artifacts whose engines can show them pictures.

    Args:
        cannot_see: Engines that lack here what they need for it.
    """
    return {
        engine: artifact
        for engine, artifact in artifacts.items()
        if artifact.text_only_reason is None and engine not in cannot_see
    }


def artifacts_that_see(
    model: Model,
    artifacts: Mapping[EngineKind, Artifact],
    wanted: EngineKind | None,
    need: PictureNeed,
    mode: VisionMode | None,
) -> dict[EngineKind, Artifact]:
    """Return the artifacts that can serve a request with pictures.

    Args:
        artifacts: The usable ones.
        wanted: The engine that is set; None for `auto`.
        mode: The setting in force.

    Raises:
        ModelCannotSeeError: None sees, or not the one of the engine that is set.
    """
    those = seeing(artifacts, need.cannot_see)
    if those and mode == "off":
        way_out = f"`mlxr models set {model.name} vision=auto`, or vision=auto in the header X-Mlxr-Load"
        raise ModelCannotSeeError(model.name, "it is to be loaded with vision: off", way_out, need.param)
    if those and (wanted is None or wanted in those or wanted not in artifacts):
        return those
    if those:
        assert wanted is not None
        way_out = f"ask '{model.name}@{next(iter(those))}', or leave the engine to mlxr"
        raise ModelCannotSeeError(f"{model.name}@{wanted}", _reasons([artifacts[wanted]], need), way_out, need.param)
    name = need.another()
    way_out = (
        f"ask '{name}', or name it in images.model of the config for all such requests"
        if name is not None
        else "no model here does: `mlxr models pull` gets one, with its projector"
    )
    raise ModelCannotSeeError(model.name, _reasons(artifacts.values(), need), way_out, need.param)


def check_vision(name: str, artifact: Artifact, mode: VisionMode | None, requested: VisionMode | None) -> None:
    """Refuse to load a model with a tower that it has not, or that its engine cannot use.

    Args:
        mode: The setting in force.
        requested: The request's own.

    Raises:
        InvalidRequestError: The request wants it so.
        ModelLoadFailedError: The model is set so.
    """
    reason = artifact.text_only_reason
    if mode != "on" or reason is None:
        return
    if requested == "on":
        raise InvalidRequestError(f"vision: '{name}' cannot see on {artifact.engine}: {reason}; leave it out", "vision")
    raise ModelLoadFailedError(
        f"the model '{name}' is set to vision on, but cannot see on {artifact.engine}: {reason}; "
        f"take the setting away: mlxr models set {name} vision="
    )


def _reasons(artifacts: Iterable[Artifact], need: PictureNeed) -> str:
    return "; ".join(
        f"{artifact.text_only_reason or need.cannot_see[artifact.engine]} ({artifact.engine})" for artifact in artifacts
    )
