"""Equal bytes in several places: the further paths of an artifact, and artifacts that become one."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from registry.catalogue import Artifact, ArtifactDraft, Model
from registry.settings import NO_SETTINGS
from registry.store.models import ModelPart
from registry.store.reading import read_artifact

_OF_FILES: Final = ("path", "origin", "files", "mmproj_path", "size_bytes", "mtime_ns")
PLACE_COLUMNS: Final = (*_OF_FILES, "is_owned", "layout", "root")
"""What the tables of artifacts and of copies both have."""

_COLUMNS: Final = ", ".join(PLACE_COLUMNS)


class Copies(ModelPart):
    """The paths where the bytes of an artifact lie, beside the one that engines are given."""

    def put(self, artifact_id: int, draft: ArtifactDraft) -> None:
        """Record another path of an artifact; facts and names of the draft do not count."""
        with self._write():
            self._rows("DELETE FROM skipped_files WHERE path = ?", draft.path)
            self._put("copies", artifact_id=artifact_id, **place_row(draft))

    def forget(self, paths: Iterable[str]) -> None:
        """Forget paths of artifacts where their bytes lie no more."""
        with self._write():
            for path in paths:
                self._rows("DELETE FROM copies WHERE path = ?", path)

    def promote(self, path: str) -> None:
        """Make a copy the path that engines are given, in the place of one that is gone."""
        with self._write():
            (artifact_id,) = self._rows("SELECT artifact_id FROM copies WHERE path = ?", path)[0]
            # What the copy's origin stands for may have become an artifact of its own meanwhile.
            self._rows(
                "UPDATE copies SET origin = NULL WHERE path = ? AND origin IN (SELECT origin FROM artifacts)", path
            )
            self._rows(
                f"UPDATE artifacts SET ({_COLUMNS}) = (SELECT {_COLUMNS} FROM copies WHERE path = ?) WHERE id = ?",  # noqa: S608 - own names
                path,
                artifact_id,
            )
            self.forget([path])

    def merge_equal(self, artifact_id: int) -> tuple[str, ...]:
        """Make one artifact of all that have the checksum of this one; return the paths that are copies now.

        The artifact that is known longest keeps its model; mlxr's own files become its first path. The model that loses
        its artifact becomes a name of the other: its aliases, settings and artifact of the other format go along.
        Two models that the user has set things on stay apart, and so do two that both have another artifact.
        """
        with self._write():
            ids = [
                row[0]
                for row in self._rows(
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

    # --- for Artifacts, inside a transaction ----------------------------------------------------------------------

    def artifact_of(self, draft: ArtifactDraft, model_name: str | None) -> int | None:
        """Give the artifact that a draft is a known copy of; a copy that became something else is forgotten."""
        rows = self._rows(
            "SELECT artifact_id, copies.size_bytes, copies.mtime_ns, artifacts.sha256, models.name FROM copies "
            "JOIN artifacts ON artifacts.id = artifact_id JOIN models ON models.id = model_id "
            "WHERE copies.path = ? AND removal IS NULL",
            draft.path,
        )
        for artifact_id, size_bytes, mtime_ns, sha256, name in rows:
            is_same = (size_bytes, mtime_ns) == (draft.size_bytes, draft.mtime_ns)
            is_same = is_same or (sha256 is not None and sha256 == draft.claimed_sha256)
            if is_same and model_name in {None, name}:
                self.put(artifact_id, draft)
                return int(artifact_id)
        self.forget([draft.path])
        return None

    def artifact_with_bytes_of(self, draft: ArtifactDraft) -> int | None:
        """Give an artifact that has the bytes which the names of a draft's files say."""
        rows = self._rows(
            "SELECT artifacts.id FROM artifacts JOIN models ON models.id = model_id "
            "WHERE sha256 = ? AND size_bytes = ? AND format = ? AND removal IS NULL "
            "AND status IN ('ok', 'unsupported') AND NOT is_apart ORDER BY 1",
            draft.claimed_sha256,
            draft.size_bytes,
            draft.format,
        )
        return rows[0][0] if rows else None

    # --- merging ----------------------------------------------------------------------------------------------------

    def _merge(self, kept_id: int, other_id: int) -> str | None:
        """Make the second artifact a copy of the first; None when their models must stay apart."""
        other = read_artifact(self._database, other_id)
        into = self._models.get(read_artifact(self._database, kept_id).model_name)
        gone = self._models.get(other.model_name)
        into_id, gone_id = self._models.row_of(into.name), self._models.row_of(gone.name)
        # One that is being removed stays with its model until it is gone.
        num_artifacts = len(self._rows("SELECT 1 FROM artifacts WHERE model_id = ?", gone_id))
        has_hidden = num_artifacts > len(gone.artifacts)
        if into_id != gone_id and (has_hidden or not _can_merge(into, gone, other)):
            return None
        self._rows("UPDATE copies SET artifact_id = ? WHERE artifact_id = ?", kept_id, other_id)
        self._copy_row(other_id, kept_id)
        self._rows("DELETE FROM artifacts WHERE id = ?", other_id)
        if into_id != gone_id:
            self._absorb(into_id, gone_id, gone.name, is_found=other.layout == "ollama")
        return other.path

    def _copy_row(self, artifact_id: int, copied_id: int) -> None:
        """Make the path of one artifact a copy of another, or of itself."""
        self._rows(
            f"INSERT OR REPLACE INTO copies (artifact_id, {_COLUMNS}) SELECT ?, {_COLUMNS} FROM artifacts WHERE id = ?",  # noqa: S608 - own names
            copied_id,
            artifact_id,
        )

    def _own_path_first(self, artifact_id: int, copies: list[str]) -> list[str]:
        """Give engines mlxr's own file if there is one, which nobody else deletes; return the copies then."""
        ((path, is_owned),) = self._rows("SELECT path, is_owned FROM artifacts WHERE id = ?", artifact_id)
        own = self._rows("SELECT path FROM copies WHERE artifact_id = ? AND is_owned ORDER BY path", artifact_id)
        if is_owned or not own:
            return copies
        self._copy_row(artifact_id, artifact_id)
        self._rows("UPDATE artifacts SET origin = NULL WHERE id = ?", artifact_id)
        self.promote(own[0][0])
        return [*(copy for copy in copies if copy != own[0][0]), path]

    def _absorb(self, into_id: int, gone_id: int, gone_name: str, *, is_found: bool) -> None:
        """Move everything that a model still has to another one; its name becomes an alias."""
        for table in ("aliases", "settings", "artifacts", "adapters"):
            self._rows(f"UPDATE {table} SET model_id = ? WHERE model_id = ?", into_id, gone_id)  # noqa: S608 - own names
        self._rows(
            "UPDATE models SET engine = COALESCE(engine, (SELECT engine FROM models WHERE id = ?)), last_used_at = "
            "(SELECT MAX(last_used_at) FROM models WHERE id IN (?, ?)) WHERE id = ?",
            gone_id,
            into_id,
            gone_id,
            into_id,
        )
        self._rows(
            "UPDATE benches SET model = (SELECT name FROM models WHERE id = ?) WHERE model = ?", into_id, gone_name
        )
        self._rows("DELETE FROM models WHERE id = ?", gone_id)
        self._put("aliases", alias=gone_name, model_id=into_id, is_found=is_found)


def place_row(draft: ArtifactDraft) -> dict[str, Any]:
    """Give the PLACE_COLUMNS of a draft."""
    return {name: getattr(draft, name) for name in PLACE_COLUMNS} | {"files": msgspec.json.encode(draft.files).decode()}


def _can_merge(into: Model, gone: Model, artifact: Artifact) -> bool:
    """Tell whether a model may become a name of another: nothing that the user set, and no artifact, may get lost."""
    have_both_settings = all(model.settings != NO_SETTINGS or model.engine is not None for model in (into, gone))
    formats = {item.format for item in into.artifacts}
    others = [item for item in gone.artifacts if item.id != artifact.id]
    adapters = {(item.name, item.format) for item in into.adapters}
    have_same_adapters = any((item.name, item.format) in adapters for item in gone.adapters)
    return not (have_both_settings or have_same_adapters) and all(item.format not in formats for item in others)
