"""Writing adapters. Not here: looking at their files (`registry.adapters`) and reading rows (`adapter_rows.py`)."""

import msgspec

from registry.catalogue import Adapter, AdapterDraft, EngineName
from registry.errors import AdapterNotFoundError, ArtifactConflictError
from registry.names import check_adapter_name
from registry.store.merging import MergingWriter


class AdapterWriter(MergingWriter):
    """The writes that concern adapters."""

    def put_adapter(self, model_name: str, draft: AdapterDraft) -> Adapter:
        """Record an adapter of a model; one with the same name and path is replaced.

        Args:
            model_name: Its base, or an alias of it.

        Raises:
            InvalidModelNameError: Its name is none.
            ModelNotFoundError: There is no such base.
            ArtifactConflictError: The base has another adapter of that name and format.
        """
        check_adapter_name(draft.name)
        with self.write():
            model = self.get_model(model_name)
            for adapter in model.adapters_named(draft.name):
                if adapter.format is draft.format and adapter.path != draft.path:
                    raise ArtifactConflictError(
                        f"{adapter.reference!r} is already an adapter for {adapter.engine}: {adapter.path}. Choose "
                        f"another --name, or take that one off with `mlxr models adapter rm {adapter.reference}`."
                    )
            self.rows(
                "INSERT OR REPLACE INTO adapters (model_id, name, format, path, files, size_bytes, mtime_ns, scale, "
                "facts, added_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                self._model_id(model.name),
                draft.name,
                draft.format.value,
                draft.path,
                msgspec.json.encode(draft.files).decode(),
                draft.size_bytes,
                draft.mtime_ns,
                draft.scale,
                msgspec.json.encode(draft.facts).decode(),
                self.clock(),
            )
            found = self.get_model(model.name).adapters_named(draft.name)
            return next(adapter for adapter in found if adapter.format is draft.format)

    def remove_adapter(self, model_name: str, name: str, engine: EngineName | None = None) -> tuple[Adapter, ...]:
        """Forget an adapter; its files stay.

        Args:
            model_name: Its base, or an alias of it.
            engine: Only the one for this engine; None = for both.

        Raises:
            ModelNotFoundError: There is no such base.
            AdapterNotFoundError: It has no such adapter.
        """
        with self.write():
            model = self.get_model(model_name)
            found = tuple(item for item in model.adapters_named(name) if engine in {None, item.engine})
            if not found:
                raise AdapterNotFoundError(model.name, name, [adapter.name for adapter in model.adapters])
            for adapter in found:
                self.rows("DELETE FROM adapters WHERE id = ?", adapter.id)
        return found
