"""The Registry: what users set on models, on top of reading and of artifacts."""

from collections.abc import Mapping
from typing import Any

import msgspec

from registry.catalogue import EngineSetting, Model
from registry.errors import ModelExistsError, ModelNotFoundError
from registry.facts import ArtifactFormat
from registry.names import check_model_name, with_suffix
from registry.settings import ENGINE_KEY, check_settings
from registry.store.adapters import AdapterWriter
from registry.store.benches import BenchWriter


class Registry(AdapterWriter, BenchWriter):
    """The catalogue: models, artifacts, aliases, settings, runs of the benchmark.

    Open it with `Registry.open`, and close it.
    """

    def set_engine(self, name: str, engine: EngineSetting | None) -> Model:
        """Set a model's own engine setting.

        Args:
            engine: `auto`, `mlx`, `llamacpp`, or None to follow the global setting again.

        Raises:
            ModelNotFoundError: There is no such model.
            InvalidSettingError: There is no such engine.
        """
        return self.change_settings(name, {ENGINE_KEY: engine})

    def change_settings(self, name: str, changes: Mapping[str, Any | None]) -> Model:
        """Set settings of a model or take them away, all or none.

        Args:
            changes: Key -> value, None takes a setting away. The keys are `settings.SETTING_KEYS`.

        Raises:
            ModelNotFoundError: There is no such model.
            InvalidSettingError: A key is unknown, or a value is of another type or out of its range.
        """
        checked = check_settings(changes)
        with self.write():
            model = self.get_model(name)
            model_id = self._model_id(model.name)
            for key, value in checked.items():
                if key == ENGINE_KEY:
                    self.rows("UPDATE models SET engine = ? WHERE id = ?", value, model_id)
                elif value is None:
                    self.rows("DELETE FROM settings WHERE model_id = ? AND key = ?", model_id, key)
                else:
                    text = msgspec.json.encode(value).decode("utf-8")
                    self.rows(
                        "INSERT OR REPLACE INTO settings (model_id, key, value) VALUES (?, ?, ?)", model_id, key, text
                    )
            return self.get_model(name)

    def set_alias(self, alias: str, name: str) -> Model:
        """Give a model another name; an alias that exists is moved.

        Raises:
            InvalidModelNameError: `alias` is no name.
            ModelExistsError: `alias` is the name of a model.
            ModelNotFoundError: There is no model `name`.
        """
        check_model_name(alias)
        with self.write():
            model = self.get_model(name)
            if self.rows("SELECT 1 FROM models WHERE name = ?", alias):
                raise ModelExistsError(f"{alias!r} is the name of a model, so it cannot be an alias.")
            self.rows(
                "INSERT OR REPLACE INTO aliases (alias, model_id, is_found) VALUES (?, ?, 0)",
                alias,
                self._model_id(model.name),
            )
            return self.get_model(name)

    def remove_alias(self, alias: str) -> None:
        """Take an alias away.

        Raises:
            ModelNotFoundError: There is no such alias.
        """
        with self.write():
            if not self.rows("DELETE FROM aliases WHERE alias = ? RETURNING alias", alias):
                raise ModelNotFoundError(alias)

    def touch_last_used(self, name: str) -> None:
        """Note that a model was used now. An unknown name is ignored: the model may have been removed meanwhile."""
        with self.write():
            self.rows("UPDATE models SET last_used_at = ? WHERE name = ?", self.clock(), name)

    def link(self, source: str, target: str) -> Model:
        """Make all artifacts of one model artifacts of another; the first model is gone then.

        Known artifacts keep their model in every scan, so this lasts.

        Args:
            source: The model that is given up, or an alias of it.
            target: The model that stays, or an alias of it.

        Raises:
            ModelNotFoundError: There is no such model.
            ArtifactConflictError: Both have an artifact of one format.
        """
        with self.write():
            model, into = self.get_model(source), self.get_model(target)
            if model.name != into.name:
                for artifact in model.artifacts:
                    self._check_format_free(into, artifact.format, None)
                    self._move(artifact.id, self._model_id(into.name))
            return self.get_model(into.name)

    def unlink(self, name: str, artifact_format: ArtifactFormat) -> Model:
        """Make one artifact of a model a model of its own; every later scan leaves it so.

        Returns:
            The new model, named after the old one and the format. The same model when it has no other artifact.

        Raises:
            ModelNotFoundError: There is no such model, or it has no such artifact.
        """
        with self.write():
            model = self.get_model(name)
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
            self._move(artifact.id, self._create_model(new_name))
            return self.get_model(new_name)

    def rename_model(self, name: str, new_name: str) -> Model:
        """Give a model another name; the old one is free then.

        Raises:
            InvalidModelNameError: `new_name` is no name.
            ModelNotFoundError: There is no such model.
            ModelExistsError: `new_name` is taken.
        """
        check_model_name(new_name)
        with self.write():
            model = self.get_model(name)
            if new_name != model.name and self._is_taken(new_name):
                raise ModelExistsError(f"The name {new_name!r} is taken.")
            self.rows("UPDATE models SET name = ? WHERE name = ?", new_name, model.name)
            self.rows("UPDATE benches SET model = ? WHERE model = ?", new_name, model.name)
            return self.get_model(new_name)

    def _is_taken(self, name: str) -> bool:
        sql = "SELECT 1 FROM models WHERE name = ? UNION SELECT 1 FROM aliases WHERE alias = ?"
        return bool(self.rows(sql, name, name))
