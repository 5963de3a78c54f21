"""Making one artifact of two that have the same bytes, and keeping the names that other tools have for models."""

from collections.abc import Collection, Iterable, Mapping

from registry.catalogue import Artifact, Model
from registry.settings import NO_SETTINGS
from registry.store.removals import RemovalWriter


class MergingWriter(RemovalWriter):
    """The writes that bring models together."""

    def merge_equal(self, artifact_id: int) -> tuple[str, ...]:
        """Make one artifact of all that have the checksum of this one.

        The artifact that is known longest keeps its model; mlxr's own files become its first path. The model that loses
        its artifact becomes a name of the other: its aliases, settings and artifact of the other format go along.
        Two models that the user has set things on stay apart, and so do two that both have another artifact.
        """
        with self.write():
            ids = [
                row[0]
                for row in self.rows(
                    "SELECT other.id FROM artifacts AS this JOIN artifacts AS other ON other.sha256 = this.sha256 "
                    "AND other.size_bytes = this.size_bytes AND other.format = this.format "
                    "WHERE this.id = ? AND other.removal IS NULL AND other.status IN ('ok', 'unsupported') AND NOT "
                    "EXISTS (SELECT 1 FROM models WHERE is_apart AND id IN (this.model_id, other.model_id)) "
                    "ORDER BY other.id",
                    artifact_id,
                )
            ]
            merged = [self._merge(ids[0], other_id) for other_id in ids[1:]]
            paths = [path for path in merged if path is not None]
            return tuple(self._own_path_first(ids[0], paths) if paths else ())

    def forget_found_names(self, names: Iterable[str]) -> None:
        """Take names of stores away from the models that have them as aliases, so that others may get them."""
        with self.write():
            for name in names:
                self.rows("DELETE FROM aliases WHERE alias = ? AND is_found", name)

    def set_found_names(self, names: Mapping[str, Collection[str]]) -> None:
        """Make the names that stores have for models aliases, and take away those that they no longer have.

        Names that the user gave, to this or to another model, stand above these.

        Args:
            names: Path of an artifact or of a copy -> the names that its store has for it; all of them.
        """
        with self.write():
            wanted: dict[str, int] = {}
            for path, found in names.items():
                rows = self.rows(
                    "SELECT model_id FROM artifacts WHERE removal IS NULL AND (path = ? OR id = "
                    "(SELECT artifact_id FROM copies WHERE path = ?))",
                    path,
                    path,
                )
                wanted |= {name: row[0] for row in rows for name in found}
            known = dict(self.rows("SELECT alias, model_id FROM aliases WHERE is_found"))
            for name in known.keys() - {name for name in known if wanted.get(name) == known[name]}:
                self.rows("DELETE FROM aliases WHERE alias = ?", name)
            for name, model_id in wanted.items():
                if known.get(name) != model_id:
                    self.rows(
                        "INSERT OR IGNORE INTO aliases (alias, model_id, is_found) SELECT ?, ?, 1 "
                        "WHERE NOT EXISTS (SELECT 1 FROM models WHERE name = ?)",
                        name,
                        model_id,
                        name,
                    )

    # --- inside a transaction -------------------------------------------------------------------------------------

    def _merge(self, kept_id: int, other_id: int) -> str | None:
        """Make the second artifact a copy of the first; None when their models must stay apart."""
        other = self._artifact(other_id)
        into, gone = self.get_model(self._artifact(kept_id).model_name), self.get_model(other.model_name)
        into_id, gone_id = self._model_id(into.name), self._model_id(gone.name)
        # One that is being removed stays with its model until it is gone.
        has_hidden = len(self.rows("SELECT 1 FROM artifacts WHERE model_id = ?", gone_id)) > len(gone.artifacts)
        if into_id != gone_id and (has_hidden or not _can_merge(into, gone, other)):
            return None
        self.rows("UPDATE copies SET artifact_id = ? WHERE artifact_id = ?", kept_id, other_id)
        self.rows(
            "INSERT OR REPLACE INTO copies SELECT path, ?, origin, files, mmproj_path, size_bytes, mtime_ns, is_owned, "
            "layout, root FROM artifacts WHERE id = ?",
            kept_id,
            other_id,
        )
        self.rows("DELETE FROM artifacts WHERE id = ?", other_id)
        if into_id != gone_id:
            self._absorb(into_id, gone_id, gone.name, is_found=other.layout == "ollama")
        return other.path

    def _own_path_first(self, artifact_id: int, copies: list[str]) -> list[str]:
        """Give engines mlxr's own file if there is one, which nobody else deletes; return the copies then."""
        ((path, is_owned),) = self.rows("SELECT path, is_owned FROM artifacts WHERE id = ?", artifact_id)
        own = self.rows("SELECT path FROM copies WHERE artifact_id = ? AND is_owned ORDER BY path", artifact_id)
        if is_owned or not own:
            return copies
        self.rows(
            "INSERT OR REPLACE INTO copies SELECT path, id, origin, files, mmproj_path, size_bytes, mtime_ns, "
            "is_owned, layout, root FROM artifacts WHERE id = ?",
            artifact_id,
        )
        self.rows("UPDATE artifacts SET origin = NULL WHERE id = ?", artifact_id)
        self.promote_copy(own[0][0])
        return [*(copy for copy in copies if copy != own[0][0]), path]

    def _absorb(self, into_id: int, gone_id: int, gone_name: str, *, is_found: bool) -> None:
        """Move everything that a model still has to another one; its name becomes an alias."""
        for table in ("aliases", "settings", "artifacts", "adapters"):
            self.rows(f"UPDATE {table} SET model_id = ? WHERE model_id = ?", into_id, gone_id)  # noqa: S608 - own names
        self.rows(
            "UPDATE models SET engine = COALESCE(engine, (SELECT engine FROM models WHERE id = ?)), last_used_at = "
            "(SELECT MAX(last_used_at) FROM models WHERE id IN (?, ?)) WHERE id = ?",
            gone_id,
            into_id,
            gone_id,
            into_id,
        )
        self.rows(
            "UPDATE benches SET model = (SELECT name FROM models WHERE id = ?) WHERE model = ?", into_id, gone_name
        )
        self.rows("DELETE FROM models WHERE id = ?", gone_id)
        self.rows(
            "INSERT OR REPLACE INTO aliases (alias, model_id, is_found) VALUES (?, ?, ?)",
            gone_name,
            into_id,
            int(is_found),
        )


def _can_merge(into: Model, gone: Model, artifact: Artifact) -> bool:
    """Tell whether a model may become a name of another: nothing that the user set, and no artifact, may get lost."""
    have_both_settings = all(model.settings != NO_SETTINGS or model.engine is not None for model in (into, gone))
    formats = {item.format for item in into.artifacts}
    others = [item for item in gone.artifacts if item.id != artifact.id]
    adapters = {(item.name, item.format) for item in into.adapters}
    have_same_adapters = any((item.name, item.format) in adapters for item in gone.adapters)
    return not (have_both_settings or have_same_adapters) and all(item.format not in formats for item in others)
