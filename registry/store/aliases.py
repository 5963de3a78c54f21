"""Other names of models: those that users give, and those that other tools' stores have for them."""

from collections.abc import Collection, Iterable, Mapping

from registry.catalogue import Model
from registry.errors import ModelExistsError, ModelNotFoundError
from registry.names import check_model_name
from registry.store.models import ModelPart


class Aliases(ModelPart):
    """The aliases of the catalogue. Names of stores (`found`) come and go with scans; the user's stand above them."""

    def set(self, alias: str, name: str) -> Model:
        """Give a model another name; an alias that exists is moved.

        Raises:
            ModelExistsError: `alias` is the name of a model.
        """
        check_model_name(alias)
        with self._write():
            model = self._models.get(name)
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
