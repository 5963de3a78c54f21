"""Adapters in the catalogue; they are read with their models. Not here: their files (`registry.adapters`)."""

import msgspec

from registry.catalogue import Adapter, AdapterDraft
from registry.engines import EngineKind
from registry.errors import AdapterNotFoundError, ArtifactConflictError
from registry.names import check_adapter_name
from registry.store.database import CatalogueDatabase
from registry.store.models import Models


class Adapters:
    """The adapters of the catalogue; `model_name` is their base, or an alias of it.

    A method that is given the name of no model raises a ModelNotFoundError.
    """

    def __init__(self, database: CatalogueDatabase, models: Models) -> None:
        self._database = database
        self._models = models

    def put(self, model_name: str, draft: AdapterDraft) -> Adapter:
        """Record an adapter of a model; one with the same name and path is replaced.

        Raises:
            InvalidModelNameError: Its name is none.
            ArtifactConflictError: The base has another adapter of that name and format.
        """
        check_adapter_name(draft.name)
        with self._database.write():
            model = self._models.get(model_name)
            for adapter in model.adapters_named(draft.name):
                if adapter.format is draft.format and adapter.path != draft.path:
                    raise ArtifactConflictError(
                        f"{adapter.reference!r} is already an adapter for {adapter.engine}: {adapter.path}. Choose "
                        f"another --name, or take that one off with `mlxr models adapter rm {adapter.reference}`."
                    )
            self._database.rows(
                "INSERT OR REPLACE INTO adapters (model_id, name, format, path, files, size_bytes, mtime_ns, scale, "
                "facts, added_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                self._models.row_of(model.name),
                draft.name,
                draft.format.value,
                draft.path,
                msgspec.json.encode(draft.files).decode(),
                draft.size_bytes,
                draft.mtime_ns,
                draft.scale,
                msgspec.json.encode(draft.facts).decode(),
                self._database.clock(),
            )
            found = self._models.get(model.name).adapters_named(draft.name)
            return next(adapter for adapter in found if adapter.format is draft.format)

    def remove(self, model_name: str, name: str, engine: EngineKind | None = None) -> tuple[Adapter, ...]:
        """Forget an adapter; its files stay.

        Args:
            engine: Only the one for this engine; None = for both.

        Raises:
            AdapterNotFoundError: It has no such adapter.
        """
        with self._database.write():
            model = self._models.get(model_name)
            found = tuple(item for item in model.adapters_named(name) if engine in {None, item.engine})
            if not found:
                raise AdapterNotFoundError(model.name, name, [adapter.name for adapter in model.adapters])
            for adapter in found:
                self._database.rows("DELETE FROM adapters WHERE id = ?", adapter.id)
        return found
