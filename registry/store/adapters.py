"""Adapters in the catalogue; they are read with their models. Not here: their files (`registry.adapters`)."""

import msgspec

from registry.catalogue import Adapter, AdapterDraft
from registry.engines import EngineKind
from registry.errors import AdapterNotFoundError, ArtifactConflictError
from registry.names import check_adapter_name
from registry.store.models import ModelPart


class Adapters(ModelPart):
    """The adapters of the catalogue; `model_name` is their base, or an alias of it.

    A method that is given the name of no model raises a ModelNotFoundError.
    """

    def put(self, model_name: str, draft: AdapterDraft) -> Adapter:
        """Record an adapter of a model; one with the same name and path is replaced.

        Raises:
            ArtifactConflictError: The base has another adapter of that name and format.
        """
        check_adapter_name(draft.name)
        with self._write():
            model = self._models.get(model_name)
            for adapter in model.adapters_named(draft.name):
                if adapter.format is draft.format and adapter.path != draft.path:
                    raise ArtifactConflictError(
                        f"{adapter.reference!r} is already an adapter for {adapter.engine}: {adapter.path}. Choose "
                        f"another --name, or take that one off with `mlxr models adapter rm {adapter.reference}`."
                    )
            values = msgspec.structs.asdict(draft)
            values |= {name: msgspec.json.encode(values[name]).decode() for name in ("files", "facts")}
            self._put("adapters", model_id=self._models.row_of(model.name), added_at=self._now(), **values)
            found = self._models.get(model.name).adapters_named(draft.name)
            return next(adapter for adapter in found if adapter.format is draft.format)

    def remove(self, model_name: str, name: str, engine: EngineKind | None = None) -> tuple[Adapter, ...]:
        """Forget an adapter; its files stay. One that is none is an AdapterNotFoundError.

        Args:
            engine: Only the one for this engine; None = for both.
        """
        with self._write():
            model = self._models.get(model_name)
            found = tuple(item for item in model.adapters_named(name) if engine in {None, item.engine})
            if not found:
                raise AdapterNotFoundError(model.name, name, [adapter.name for adapter in model.adapters])
            for adapter in found:
                self._rows("DELETE FROM adapters WHERE id = ?", adapter.id)
        return found
