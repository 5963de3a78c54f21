"""Models in the catalogue: finding them, what users set on them and call them, which artifacts are one, adapters."""

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import msgspec

from registry.catalogue import Adapter, AdapterDraft, Model, ModelSummary
from registry.engines import EngineKind
from registry.errors import (
    AdapterNotFoundError,
    ArtifactConflictError,
    InvalidSettingError,
    ModelExistsError,
    ModelNotFoundError,
)
from registry.facts import ArtifactFormat
from registry.names import check_adapter_name, check_model_name, check_new_name, with_suffix
from registry.settings import ENGINE_KEY, check_settings
from registry.store.database import CatalogueDatabase, Part
from registry.store.drafting import DRAFT_KEY, check_draft
from registry.store.reading import read_models, read_summaries

DEFAULT_TAG: Final = "latest"


class Models(Part):
    """The models of the catalogue; `name` is a name or an alias without an engine.

    A method that is given the name of no model raises a ModelNotFoundError, with names that look like it.
    """

    def list(self) -> tuple[Model, ...]:
        """List all models by name, those whose artifacts are all missing too, those being removed not."""
        with self._read():
            return read_models(self._database, "1")

    def summaries(self) -> tuple[ModelSummary, ...]:
        """List the same models without the facts of their files: the quick list."""
        with self._read():
            return read_summaries(self._database)

    def get(self, name: str) -> Model:
        """Give the model of a name."""
        with self._read():
            model = self.find(name)
            if model is not None:
                return model
            names = [row[0] for row in self._rows("SELECT name FROM models UNION SELECT alias FROM aliases")]
        raise ModelNotFoundError(name, difflib.get_close_matches(name, names, n=3, cutoff=0.5))

    def find(self, name: str) -> Model | None:
        """Give the model of a name, or None."""
        model = self.find_exactly(name)
        if model is None and ":" not in name:
            # As Ollama has it: a name without a tag means the tag `latest`.
            model = self.find_exactly(f"{name}:{DEFAULT_TAG}")
        return model

    def find_exactly(self, name: str) -> Model | None:
        """Give the model of a name as it is written, or None."""
        with self._read():
            # A name and an alias are never the same text; Aliases.set and Artifacts.add see to it.
            models = read_models(
                self._database, "name = ? OR id = (SELECT model_id FROM aliases WHERE alias = ?)", name, name
            )
        return models[0] if models else None

    def change_settings(self, name: str, changes: Mapping[str, Any | None]) -> Model:
        """Set settings of a model or take them away, all or none.

        Args:
            changes: Key -> value, None takes a setting away. The keys are `settings.SETTING_KEYS`.

        Raises:
            InvalidSettingError: As from `check_settings`, or the model cannot see as it is to, or another one cannot
                draft for it.
        """
        checked = check_settings(changes)
        if checked.get(DRAFT_KEY) is not None:
            checked[DRAFT_KEY] = self._checked_draft(name, checked[DRAFT_KEY])
        with self._write():
            model = self.get(name)
            if checked.get("vision") == "on":
                _check_sees(model)
            model_id = self.row_of(model.name)
            for key, value in checked.items():
                if key == ENGINE_KEY:
                    self._rows("UPDATE models SET engine = ? WHERE id = ?", value, model_id)
                elif value is None:
                    self._rows("DELETE FROM settings WHERE model_id = ? AND key = ?", model_id, key)
                else:
                    self._put("settings", model_id=model_id, key=key, value=msgspec.json.encode(value).decode())
            return self.get(name)

    def _checked_draft(self, name: str, draft_name: str) -> str:
        """Return the own name of a model that is to draft for another one; refuse one that cannot."""
        model = self.get(name)
        try:
            draft = self.get(draft_name)
        except ModelNotFoundError as exc:
            raise InvalidSettingError(f"{DRAFT_KEY}: {exc}") from exc
        check_draft(model, draft)
        return draft.name

    def touch_last_used(self, name: str) -> None:
        """Note that a model was used now. An unknown name is ignored: the model may have been removed meanwhile."""
        self._rows("UPDATE models SET last_used_at = ? WHERE name = ?", self._now(), name)

    def rename(self, name: str, new_name: str) -> Model:
        """Give a model another name; the old one is free then.

        Raises:
            ModelExistsError: `new_name` is taken.
        """
        check_new_name(new_name)
        with self._write():
            model = self.get(name)
            if new_name != model.name and self._is_taken(new_name):
                raise ModelExistsError(f"The name {new_name!r} is taken.")
            self._rows("UPDATE models SET name = ? WHERE name = ?", new_name, model.name)
            self._rows("UPDATE benches SET model = ? WHERE model = ?", new_name, model.name)
            self._rename_draft(model.name, new_name)
            return self.get(new_name)

    def link(self, source: str, target: str) -> Model:
        """Make all artifacts of one model artifacts of another; the first model is gone then.

        Known artifacts keep their model in every scan, so this lasts. Two of one format are an ArtifactConflictError.
        """
        with self._write():
            model, into = self.get(source), self.get(target)
            if model.name != into.name:
                for artifact in model.artifacts:
                    check_format_is_free(into, artifact.format)
                    self.move_artifact(artifact.id, self.row_of(into.name))
                self._rename_draft(model.name, into.name)
            return self.get(into.name)

    def unlink(self, name: str, artifact_format: ArtifactFormat) -> Model:
        """Make one artifact of a model a model of its own; every later scan leaves it so.

        Returns:
            The new model, named after the old one and the format. The same model when it has no other artifact.

        Raises:
            ModelNotFoundError: Also when the model has no such artifact.
        """
        with self._write():
            model = self.get(name)
            artifact = next((item for item in model.artifacts if item.format is artifact_format), None)
            if artifact is None:
                raise ModelNotFoundError(f"{model.name} ({artifact_format.value})")
            if len(model.artifacts) == 1:
                return model
            new_name = base = with_suffix(model.name, artifact_format.value)
            number = 1
            while self._is_taken(new_name):
                number += 1
                new_name = with_suffix(base, str(number))
            self.move_artifact(artifact.id, self.create(new_name))
            return self.get(new_name)

    def keep_apart(self, name: str) -> None:
        """Keep a model that was made under a name of its own apart from others with the same bytes.

        An alias or an unknown name changes nothing.
        """
        self._rows("UPDATE models SET is_apart = 1 WHERE name = ?", name)

    def is_apart(self, name: str) -> bool:
        """Tell whether equal bytes do not make a model one with others."""
        return bool(self._rows("SELECT 1 FROM models WHERE name = ? AND is_apart", name))

    # --- rows, for the other parts, inside a transaction ----------------------------------------------------------

    def row_of(self, name: str) -> int:
        """Give the row of a model; `name` is its own name."""
        model_id: int = self._rows("SELECT id FROM models WHERE name = ?", name)[0][0]
        return model_id

    def has_row(self, name: str) -> bool:
        """Tell whether a model has this name as its own, also one that is being removed."""
        return bool(self._rows("SELECT 1 FROM models WHERE name = ?", name))

    def create(self, name: str) -> int:
        """Make a model without artifacts; return its row."""
        return self._add("models", name=check_model_name(name), created_at=self._now())

    def move_artifact(self, artifact_id: int, model_id: int) -> None:
        """Give an artifact to another model; the one that has none left is gone then."""
        (old_id,) = self._rows("SELECT model_id FROM artifacts WHERE id = ?", artifact_id)[0]
        self._rows("UPDATE artifacts SET model_id = ? WHERE id = ?", model_id, artifact_id)
        # They were made for this artifact; one whose name is taken there goes with the old model.
        self._rows(
            "UPDATE OR IGNORE adapters SET model_id = ? WHERE model_id = ? "
            "AND format = (SELECT format FROM artifacts WHERE id = ?)",
            model_id,
            old_id,
            artifact_id,
        )
        self.drop_if_empty(old_id)

    def drop_if_empty(self, model_id: int) -> None:
        """Take a model out that has no artifact left, not even one that is being removed."""
        self._rows(
            "DELETE FROM models WHERE id = ? AND NOT EXISTS (SELECT 1 FROM artifacts WHERE model_id = models.id)",
            model_id,
        )

    def _rename_draft(self, name: str, new_name: str) -> None:
        """Have the models for which one drafts name it as it is called now."""
        old, new = (msgspec.json.encode(each).decode() for each in (name, new_name))
        self._rows("UPDATE settings SET value = ? WHERE key = ? AND value = ?", new, DRAFT_KEY, old)

    def _is_taken(self, name: str) -> bool:
        sql = "SELECT 1 FROM models WHERE name = ? UNION SELECT 1 FROM aliases WHERE alias = ?"
        return bool(self._rows(sql, name, name))


class ModelPart(Part):
    """A part that looks models up, as most do."""

    def __init__(self, database: CatalogueDatabase, models: Models) -> None:
        super().__init__(database)
        self._models = models


class Aliases(ModelPart):
    """The aliases of the catalogue. Names of stores (`found`) come and go with scans; the user's stand above them."""

    def set(self, alias: str, name: str) -> Model:
        """Give a model another name; an alias that exists is moved.

        Raises:
            ModelExistsError: `alias` is the name of a model.
        """
        with self._write():
            model = self._models.get(name)
            if self._models.find_exactly(alias) is None:
                check_new_name(alias)
            if self._models.has_row(alias):
                raise ModelExistsError(f"{alias!r} is the name of a model, so it cannot be an alias.")
            self._put("aliases", alias=alias, model_id=self._models.row_of(model.name), is_found=0)
            return self._models.get(name)

    def remove(self, alias: str) -> None:
        """Take an alias away; one that is none is a ModelNotFoundError."""
        if not self._rows("DELETE FROM aliases WHERE alias = ? RETURNING alias", alias):
            raise ModelNotFoundError(alias)

    def is_found(self, alias: str) -> bool:
        """Tell whether an alias is another tool's name for a model, which the next scan would bring back."""
        return bool(self._rows("SELECT 1 FROM aliases WHERE alias = ? AND is_found", alias))

    def forget_found(self, names: Iterable[str]) -> None:
        """Take names of stores away from the models that have them as aliases, so that others may get them."""
        with self._write():
            for name in names:
                self._rows("DELETE FROM aliases WHERE alias = ? AND is_found", name)

    def set_found(self, names: Mapping[str, Collection[str]]) -> None:
        """Make the names that stores have for models aliases, and take away those that they no longer have.

        Args:
            names: Path of an artifact or of a copy -> the names that its store has for it; all of them.
        """
        with self._write():
            wanted: dict[str, int] = {}
            for path, found in names.items():
                rows = self._rows(
                    "SELECT model_id FROM artifacts WHERE removal IS NULL AND (path = ? OR id = "
                    "(SELECT artifact_id FROM copies WHERE path = ?))",
                    path,
                    path,
                )
                wanted |= {name: row[0] for row in rows for name in found}
            known = dict(self._rows("SELECT alias, model_id FROM aliases WHERE is_found"))
            self.forget_found(name for name in known if wanted.get(name) != known[name])
            for name, model_id in wanted.items():
                if known.get(name) != model_id:
                    self._rows(
                        "INSERT OR IGNORE INTO aliases (alias, model_id, is_found) SELECT ?, ?, 1 "
                        "WHERE NOT EXISTS (SELECT 1 FROM models WHERE name = ?)",
                        name,
                        model_id,
                        name,
                    )


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


def check_format_is_free(model: Model, kind: ArtifactFormat, *, but_for: int | None = None) -> None:
    """Refuse a second artifact of a format by an ArtifactConflictError.

    Args:
        but_for: The row of an artifact that does not count.
    """
    for artifact in model.artifacts:
        if artifact.format is kind and artifact.id != but_for:
            raise ArtifactConflictError(
                f"{model.name!r} already has a {kind} artifact: {artifact.path}. "
                "Choose another name, or take that one off with `mlxr models unlink`."
            )


def _check_sees(model: Model) -> None:
    """Refuse what would refuse every request, also those without a picture."""
    reasons = {str(artifact.engine): artifact.text_only_reason for artifact in model.artifacts}
    if None not in reasons.values():
        told = "; ".join(f"{engine}: {reason}" for engine, reason in reasons.items())
        raise InvalidSettingError(f"vision: {model.name} cannot see ({told}); leave it at auto")
