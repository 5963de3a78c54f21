"""Which of a model's artifacts see, and what to say where none does. Pure."""

from collections.abc import Callable, Iterable, Mapping

from registry.catalogue import Artifact, Model
from registry.engines import EngineKind
from router.errors import ModelCannotSeeError


def seeing(artifacts: Mapping[EngineKind, Artifact]) -> dict[EngineKind, Artifact]:
    """Return the artifacts whose engines can show them pictures."""
    return {engine: artifact for engine, artifact in artifacts.items() if artifact.text_only_reason is None}


def artifacts_that_see(
    model: Model,
    artifacts: Mapping[EngineKind, Artifact],
    wanted: EngineKind | None,
    *,
    param: str,
    another: Callable[[], str | None],
) -> dict[EngineKind, Artifact]:
    """Return the artifacts that can serve a request with pictures.

    Args:
        artifacts: The usable ones.
        wanted: The engine that is set; None for `auto`.
        param: The request's field that has the first picture.
        another: Names a model here that sees.

    Raises:
        ModelCannotSeeError: None sees, or not the one of the engine that is set.
    """
    those = seeing(artifacts)
    if those and (wanted is None or wanted in those or wanted not in artifacts):
        return those
    if those:
        assert wanted is not None
        way_out = f"ask '{model.name}@{next(iter(those))}', or leave the engine to mlxr"
        raise ModelCannotSeeError(f"{model.name}@{wanted}", _reasons([artifacts[wanted]]), way_out, param)
    name = another()
    way_out = (
        f"ask '{name}', or name it in images.model of the config for all such requests"
        if name is not None
        else "no model here does: `mlxr pull` gets one, with its projector"
    )
    raise ModelCannotSeeError(model.name, _reasons(artifacts.values()), way_out, param)


def _reasons(artifacts: Iterable[Artifact]) -> str:
    return "; ".join(f"{artifact.text_only_reason} ({artifact.engine})" for artifact in artifacts)
