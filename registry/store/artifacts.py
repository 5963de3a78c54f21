"""Writing artifacts and skipped files: what scans, pulls and removals do to the catalogue."""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from registry.catalogue import Artifact, ArtifactDraft, Model, SkippedFile
from registry.errors import ArtifactConflictError, ModelExistsError
from registry.facts import ModelFacts
from registry.names import check_model_name
from registry.scan.linking import can_join, candidate_names
from registry.store.copies import CopyWriter, claimed_sha256

_MAX_SQL_INTEGER: Final = (1 << 63) - 1

Change = Literal["added", "updated", "unchanged", "copied"]


class ArtifactWriter(CopyWriter):
    """The writes that concern artifacts."""

    def add_artifact(self, draft: ArtifactDraft, *, model_name: str | None = None) -> tuple[Artifact, Change]:
        """Record an artifact, new or known.

        An artifact that is known, by its path or its origin or because a missing one with the same facts turned up
        elsewhere, keeps its model. One whose bytes are known to be those of another artifact becomes a copy of it, if
        no name is given. Any other joins or founds a model by the rule of `linking.py`.

        Args:
            model_name: The model it must belong to, made when absent.

        Returns:
            The artifact, and what changed. `copied`: the draft is another path of it.

        Raises:
            ArtifactConflictError: The named model already has another artifact of this format.
            ModelExistsError: The name is an alias of another model.
            InvalidModelNameError: `model_name` is no name.
        """
        with self.write():
            self.rows("DELETE FROM skipped_files WHERE path = ?", draft.path)
            self.put_hashes(draft.hashes)
            holder = self._holder_of_copy(draft, model_name)
            if holder is not None:
                return self._artifact(holder), "unchanged"
            known = self._find_known(draft)
            if known is None:
                same = self._find_same_bytes(draft) if model_name is None else None
                if same is not None:
                    self.put_copy(same, draft)
                    return self._artifact(same), "copied"
                model_id = self._choose_model(draft) if model_name is None else self._claim(model_name, draft, None)
                return self._artifact(self._insert(draft, model_id)), "added"
            self._free_path(draft.path, known)
            before = self._artifact(known)
            if model_name is not None and model_name != before.model_name:
                self._move(known, self._claim(model_name, draft, known))
            self._update(known, draft)
            after = self._artifact(known)
            return after, "unchanged" if after == before else "updated"

    def mark_artifact(self, artifact_id: int, status: Literal["bad", "missing"], reason: str) -> None:
        """Say that an artifact cannot be used now. A later scan that finds it whole again undoes this."""
        with self.write():
            self.rows("UPDATE artifacts SET status = ?, reason = ? WHERE id = ?", status, reason, artifact_id)

    def set_fingerprint(self, artifact_id: int, *, size_bytes: int, mtime_ns: int) -> None:
        """Record how big and new an artifact's files are, so that a broken one is not parsed again until it changes.

        Args:
            mtime_ns: Newest over its files.
        """
        sql = "UPDATE artifacts SET size_bytes = ?, mtime_ns = ? WHERE id = ?"
        with self.write():
            self.rows(sql, size_bytes, mtime_ns, artifact_id)

    def skip_file(self, skipped: SkippedFile) -> None:
        """Remember a file that is no artifact, in the place of what was known of it."""
        values = (*(getattr(skipped, name) for name in SkippedFile.__struct_fields__), self.clock())
        with self.write():
            self.rows(
                "INSERT OR REPLACE INTO skipped_files (path, size_bytes, mtime_ns, kind, code, reason, seen_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                *values,
            )

    def forget_skipped(self, paths: Iterable[str]) -> None:
        """Forget skipped files, because they are gone or are wanted again."""
        with self.write():
            for path in paths:
                self.rows("DELETE FROM skipped_files WHERE path = ?", path)

    # --- inside a transaction -------------------------------------------------------------------------------------

    def _find_known(self, draft: ArtifactDraft) -> int | None:
        # The origin first: a tag of a store, or a repository, may have moved on to other bytes.
        rows = self.rows("SELECT id FROM artifacts WHERE origin = ?", draft.origin) if draft.origin is not None else []
        if not rows:
            rows = self.rows("SELECT id FROM artifacts WHERE path = ?", draft.path)
        if not rows:
            rows = self.rows(
                "SELECT id FROM artifacts WHERE status = 'missing' AND format = ? AND size_bytes = ? AND facts = ?",
                draft.format,
                draft.size_bytes,
                _json(draft.facts),
            )
        return rows[0][0] if rows else None

    def _free_path(self, path: str, artifact_id: int) -> None:
        """Take a path from another artifact that had it: two tags of a store have changed places."""
        rows = self.rows("SELECT id FROM artifacts WHERE path = ? AND id <> ?", path, artifact_id)
        for (other_id,) in rows:
            (old_path,) = self.rows("SELECT path FROM artifacts WHERE id = ?", artifact_id)[0]
            self.rows("UPDATE artifacts SET path = ? WHERE id = ?", f"{path}#{other_id}", other_id)
            self.rows("UPDATE artifacts SET path = ? WHERE id = ?", path, artifact_id)
            self.rows("UPDATE artifacts SET path = ? WHERE id = ?", old_path, other_id)
            self.mark_artifact(other_id, "missing", "its name stands for other files now")

    def _choose_model(self, draft: ArtifactDraft) -> int:
        for name in candidate_names(draft, self.find_exactly(draft.name)):
            model = self.find_exactly(name)
            if model is None and not self.rows("SELECT 1 FROM models WHERE name = ?", name):
                return self._create_model(name)
            # Only the plain name is joined: a name with a suffix stands for one artifact that had to stand apart.
            if model is not None and model.name == name == draft.name and can_join(model, draft):
                return self._model_id(name)
        raise AssertionError  # candidate_names never ends

    def _claim(self, name: str, draft: ArtifactDraft, artifact_id: int | None) -> int:
        """Give the row of the model that the user named, made when absent."""
        check_model_name(name)
        model = self.find_exactly(name)
        if model is None:
            rows = self.rows("SELECT id FROM models WHERE name = ?", name)
            return rows[0][0] if rows else self._create_model(name)
        if model.name != name:
            raise ModelExistsError(f"{name!r} is an alias of {model.name!r}. Choose another name or remove the alias.")
        self._check_format_free(model, draft.format, artifact_id)
        return self._model_id(name)

    def _check_format_free(self, model: Model, kind: str, artifact_id: int | None) -> None:
        for artifact in model.artifacts:
            if artifact.format == kind and artifact.id != artifact_id:
                raise ArtifactConflictError(
                    f"{model.name!r} already has a {kind} artifact: {artifact.path}. "
                    "Choose another name, or take that one off with `mlxr models unlink`."
                )

    def _create_model(self, name: str) -> int:
        model_id: int = self.rows(
            "INSERT INTO models (name, created_at) VALUES (?, ?) RETURNING id", check_model_name(name), self.clock()
        )[0][0]
        return model_id

    def _model_id(self, name: str) -> int:
        model_id: int = self.rows("SELECT id FROM models WHERE name = ?", name)[0][0]
        return model_id

    def _move(self, artifact_id: int, model_id: int) -> None:
        (old_id,) = self.rows("SELECT model_id FROM artifacts WHERE id = ?", artifact_id)[0]
        self.rows("UPDATE artifacts SET model_id = ? WHERE id = ?", model_id, artifact_id)
        # They were made for this artifact; one whose name is taken there goes with the old model.
        self.rows(
            "UPDATE OR IGNORE adapters SET model_id = ? WHERE model_id = ? "
            "AND format = (SELECT format FROM artifacts WHERE id = ?)",
            model_id,
            old_id,
            artifact_id,
        )
        self._drop_if_empty(old_id)

    def _drop_if_empty(self, model_id: int) -> None:
        self.rows(
            "DELETE FROM models WHERE id = ? AND NOT EXISTS (SELECT 1 FROM artifacts WHERE model_id = models.id)",
            model_id,
        )

    def _insert(self, draft: ArtifactDraft, model_id: int) -> int:
        columns = _columns(draft) | {"model_id": model_id, "added_at": self.clock(), "sha256": claimed_sha256(draft)}
        marks = ", ".join("?" * len(columns))
        sql = f"INSERT INTO artifacts ({', '.join(columns)}) VALUES ({marks}) RETURNING id"  # noqa: S608 - own names
        artifact_id: int = self.rows(sql, *columns.values())[0][0]
        return artifact_id

    def _update(self, artifact_id: int, draft: ArtifactDraft) -> None:
        columns = _columns(draft) | {"removal": None}
        # A checksum is of the bytes that were there; other bytes have another one.
        changes = ", ".join(f"{name} = ?" for name in columns)
        self.rows(
            "UPDATE artifacts SET sha256 = CASE WHEN path = ? AND size_bytes = ? AND mtime_ns = ? THEN sha256 END, "  # noqa: S608
            f"{changes} WHERE id = ?",
            draft.path,
            draft.size_bytes,
            draft.mtime_ns,
            *columns.values(),
            artifact_id,
        )
        sha256 = claimed_sha256(draft)
        if sha256 is not None:
            self.set_sha256(artifact_id, sha256)


def _columns(draft: ArtifactDraft) -> dict[str, object]:
    facts = draft.facts
    return {
        "format": draft.format.value,
        "path": draft.path,
        "origin": draft.origin,
        "files": _json(draft.files),
        "mmproj_path": draft.mmproj_path,
        "size_bytes": draft.size_bytes,
        "mtime_ns": draft.mtime_ns,
        "status": "ok" if facts.loadable else "unsupported",
        "reason": "; ".join(facts.reasons) or None,
        "is_owned": int(draft.is_owned),
        "layout": draft.layout,
        "root": draft.root,
        "architecture": facts.architecture,
        "parameter_count": _sql_integer(facts.parameter_count),
        "quantization": facts.quantization.label if facts.quantization is not None else None,
        "context_length": _sql_integer(facts.context_length),
        "facts": _json(facts),
    }


def _json(value: ModelFacts | tuple[str, ...]) -> str:
    return msgspec.json.encode(value).decode("utf-8")


def _sql_integer(value: int | None) -> int | None:
    """Leave out what SQLite's 64-bit integers cannot hold; the facts keep it."""
    return value if value is not None and -_MAX_SQL_INTEGER <= value <= _MAX_SQL_INTEGER else None
