"""Opening the catalogue for a verb, and what is said of a model that came into it."""

import contextlib

from registry.catalogue import Model
from registry.errors import RegistryReadOnlyError
from registry.store import Registry
from router.cli.terminal.output import shown
from router.config.paths import Paths
from router.models.targets import Purpose, usable_artifacts


def open_registry(paths: Paths) -> Registry:
    """Open the catalogue for writing, making it and its folder when needed; close it.

    Raises:
        OSError: The folders cannot be made.
    """
    paths.ensure_folders()
    return Registry(paths.registry_db)


def open_registry_for_reading(paths: Paths) -> Registry:
    """Open the catalogue without changing anything if that is possible; close it.

    A new one is made when there is none, and one of an older mlxr is migrated first.

    Raises:
        OSError: The folders cannot be made.
    """
    if paths.registry_db.exists():
        with contextlib.suppress(RegistryReadOnlyError):
            return Registry(paths.registry_db, is_read_only=True)
    return open_registry(paths)


def readiness(model: Model) -> str:
    """Say what runs a model and how to try it, or why nothing does."""
    engines = sorted(usable_artifacts(model, Purpose.GENERATE))
    if engines:
        return f"{model.name}: runs on {' and '.join(engines)}. Try: mlxr run {model.name}"
    embedding = sorted(usable_artifacts(model, Purpose.EMBED))
    if embedding:
        return f"{model.name}: runs on {' and '.join(embedding)}, for embeddings (POST /v1/embeddings)."
    reasons = [f"{item.reason or item.status}" for item in model.artifacts if item.status != "ok"]
    why = f": {shown('; '.join(reasons))}" if reasons else ""
    return f"{model.name}: is there, but no engine runs it{why}. `mlxr models show {model.name}` has the details."
