"""Taking adapters out of the catalogue: the rows, and the files only where that is asked for.

The row goes first: whatever happens then, files that are left are files that nothing names, as before the adapter was
registered.
"""

from contextlib import suppress
from pathlib import Path

from registry.catalogue import Adapter
from registry.engines import EngineKind
from registry.errors import ArtifactError
from registry.facts import ArtifactFormat
from registry.files import as_artifact_error
from registry.store import Registry


def remove_adapter(
    registry: Registry, base: str, name: str, *, engine: EngineKind | None = None, is_deleting_files: bool = False
) -> tuple[Adapter, ...]:
    """Forget an adapter of a model.

    Args:
        engine: Only the one for this engine; None = for both.
        is_deleting_files: Also delete its files. One that is registered for another model too stays.

    Raises:
        AdapterNotFoundError: The model has no such adapter.
        ArtifactError: A file cannot be deleted; the adapter is forgotten all the same.
    """
    forgotten = registry.adapters.remove(base, name, engine)
    if is_deleting_files:
        needed = {adapter.path for model in registry.models.list() for adapter in model.adapters}
        for adapter in forgotten:
            if adapter.path not in needed:
                _delete(adapter)
    return forgotten


def _delete(adapter: Adapter) -> None:
    for file in map(Path, adapter.files):
        try:
            file.unlink(missing_ok=True)  # a link goes, never what it leads to
        except OSError as exc:
            reason = f"the file cannot be deleted: {exc.strerror or exc}"
            raise ArtifactError(as_artifact_error(exc, file).code, reason, path=file) from exc
    if adapter.format is ArtifactFormat.MLX:
        with suppress(OSError):  # a folder with something else in it stays
            Path(adapter.path).rmdir()
