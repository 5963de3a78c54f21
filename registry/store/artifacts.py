"""Writing artifacts and skipped files: what scans, pulls and removals do to the catalogue."""

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from registry.catalogue import Artifact, ArtifactDraft, Model, SkippedFile
from registry.errors import ArtifactConflictError, ModelExistsError
from registry.facts import ModelFacts
from registry.linking import can_join, candidate_names
from registry.names import check_model_name
from registry.store.reading import CatalogueReader

_MAX_SQL_INTEGER: Final = (1 << 63) - 1

Change = Literal["added", "updated", "unchanged"]
Removal = Literal["unregister", "delete"]


class ArtifactWriter(CatalogueReader):
    """The writes that concern artifacts."""

    def add_artifact(self, draft: ArtifactDraft, *, model_name: str | None = None) -> tuple[Artifact, Change]:
        """Record an artifact, new or known.

        An artifact that is known, by its path or its origin or because a missing one with the same facts turned up
        elsewhere, keeps its model. A new one joins or founds a model by the rule of `linking.py`, if no name is given.

        Args:
            draft: What was found.
            model_name: The model it must belong to, made when absent.

        Returns:
            The artifact, and what changed.

        Raises:
            ArtifactConflictError: The named model already has another artifact of this format.
            ModelExistsError: The name is an alias of another model.
            InvalidModelNameError: `model_name` is no name.
            DatabaseError: Or a subclass.
        """
        with self.write():
            self.rows("DELETE FROM skipped_files WHERE path = ?", draft.path)
            known = self._find_known(draft)
            if known is None:
                model_id = self._choose_model(draft) if model_name is None else self._claim(model_name, draft, None)
                return self._artifact(self._insert(draft, model_id)), "added"
            before = self._artifact(known)
            if model_name is not None and model_name != before.model_name:
                self._move(known, self._claim(model_name, draft, known))
            self._update(known, draft)
            after = self._artifact(known)
            return after, "unchanged" if after == before else "updated"

    def mark_artifact(self, artifact_id: int, status: Literal["bad", "missing"], reason: str) -> None:
        """Say that an artifact cannot be used now. A later scan that finds it whole again undoes this.

        Args:
            artifact_id: Its row.
            status: What is the matter.
            reason: The sentence for the user.

        Raises:
            DatabaseError: Or a subclass.
        """
        with self.write():
            self.rows("UPDATE artifacts SET status = ?, reason = ? WHERE id = ?", status, reason, artifact_id)

    def set_fingerprint(self, artifact_id: int, *, size_bytes: int, mtime_ns: int) -> None:
        """Record how big and new an artifact's files are, so that a broken one is not parsed again until it changes.

        Args:
            artifact_id: Its row.
            size_bytes: Sum over its files.
            mtime_ns: Newest over its files.

        Raises:
            DatabaseError: Or a subclass.
        """
        sql = "UPDATE artifacts SET size_bytes = ?, mtime_ns = ? WHERE id = ?"
        with self.write():
            self.rows(sql, size_bytes, mtime_ns, artifact_id)

    def set_sha256(self, artifact_id: int, sha256: str) -> None:
        """Record the checksum of a single-file artifact.

        Args:
            artifact_id: Its row.
            sha256: 64 hex digits.

        Raises:
            DatabaseError: Or a subclass.
        """
        with self.write():
            self.rows("UPDATE artifacts SET sha256 = ? WHERE id = ?", sha256, artifact_id)

    def skip_file(self, skipped: SkippedFile) -> None:
        """Remember a file that is no artifact, in the place of what was known of it.

        Args:
            skipped: The file and the reason.

        Raises:
            DatabaseError: Or a subclass.
        """
        values = (*(getattr(skipped, name) for name in SkippedFile.__struct_fields__), self._clock())
        with self.write():
            self.rows(
                "INSERT OR REPLACE INTO skipped_files (path, size_bytes, mtime_ns, kind, code, reason, seen_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                *values,
            )

    def forget_skipped(self, paths: Iterable[str]) -> None:
        """Forget skipped files, because they are gone or are wanted again.

        Args:
            paths: Their paths.

        Raises:
            DatabaseError: Or a subclass.
        """
        with self.write():
            for path in paths:
                self.rows("DELETE FROM skipped_files WHERE path = ?", path)

    # --- removal, in the two steps that survive a crash -----------------------------------------------------------

    def begin_removal(self, artifact_ids: Iterable[int], removal: Removal) -> None:
        """Hide artifacts and note what is to be done with their files. The first step of a removal.

        Args:
            artifact_ids: Their rows.
            removal: `delete` the files, or only `unregister` them.

        Raises:
            DatabaseError: Or a subclass.
        """
        with self.write():
            for artifact_id in artifact_ids:
                self.rows("UPDATE artifacts SET removal = ? WHERE id = ?", removal, artifact_id)

    def pending_removals(self) -> tuple[tuple[int, Removal, tuple[str, ...]], ...]:
        """List the removals that were begun and not finished, as a crash in between leaves them.

        Returns:
            For each artifact its row, what to do with the files, and the files that no other artifact uses.

        Raises:
            DatabaseError: Or a subclass.
        """
        with self.read():
            rows = self.rows("SELECT id, removal, path, files, mmproj_path, format FROM artifacts")
        used: set[str] = set()
        for _, removal, _, files, mmproj, _ in rows:
            if removal is None:
                used.update(self.decode_paths(files), {mmproj} if mmproj else ())
        pending = []
        for artifact_id, removal, path, files, mmproj, kind in rows:
            if removal is not None:
                # A folder is named last, so that it is empty when its turn comes.
                own = [*self.decode_paths(files), *([mmproj] if mmproj else []), *([path] if kind == "mlx" else [])]
                pending.append((artifact_id, removal, tuple(item for item in own if item not in used)))
        return tuple(pending)

    def finish_removal(self, artifact_id: int) -> None:
        """Take an artifact out, and its model when that was the last one. The last step of a removal.

        A file that stays on disk is remembered as ignored, so that the next scan does not bring it back.

        Args:
            artifact_id: Its row.

        Raises:
            DatabaseError: Or a subclass.
        """
        with self.write():
            rows = self.rows(
                "DELETE FROM artifacts WHERE id = ? RETURNING model_id, removal, path, size_bytes, mtime_ns",
                artifact_id,
            )
            for model_id, removal, path, size_bytes, mtime_ns in rows:
                self._drop_if_empty(model_id)
                if removal == "unregister":
                    self.skip_file(
                        SkippedFile(
                            path=path,
                            size_bytes=size_bytes,
                            mtime_ns=mtime_ns,
                            kind="ignored",
                            code="unregistered",
                            reason="it was removed from the catalogue; `mlxr models add` brings it back",
                        )
                    )

    # --- inside a transaction -------------------------------------------------------------------------------------

    def _find_known(self, draft: ArtifactDraft) -> int | None:
        rows = self.rows("SELECT id FROM artifacts WHERE path = ?", draft.path)
        if not rows and draft.origin is not None:
            rows = self.rows("SELECT id FROM artifacts WHERE origin = ?", draft.origin)
        if not rows:
            rows = self.rows(
                "SELECT id FROM artifacts WHERE status = 'missing' AND format = ? AND size_bytes = ? AND facts = ?",
                draft.format,
                draft.size_bytes,
                _json(draft.facts),
            )
        return rows[0][0] if rows else None

    def _choose_model(self, draft: ArtifactDraft) -> int:
        for name in candidate_names(draft, self.find_model(draft.name)):
            model = self.find_model(name)
            if model is None and not self.rows("SELECT 1 FROM models WHERE name = ?", name):
                return self._create_model(name)
            # Only the plain name is joined: a name with a suffix stands for one artifact that had to stand apart.
            if model is not None and model.name == name == draft.name and can_join(model, draft):
                return self._model_id(name)
        raise AssertionError  # candidate_names never ends

    def _claim(self, name: str, draft: ArtifactDraft, artifact_id: int | None) -> int:
        """Give the row of the model that the user named, made when absent."""
        check_model_name(name)
        model = self.find_model(name)
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
            "INSERT INTO models (name, created_at) VALUES (?, ?) RETURNING id", check_model_name(name), self._clock()
        )[0][0]
        return model_id

    def _model_id(self, name: str) -> int:
        model_id: int = self.rows("SELECT id FROM models WHERE name = ?", name)[0][0]
        return model_id

    def _move(self, artifact_id: int, model_id: int) -> None:
        (old_id,) = self.rows("SELECT model_id FROM artifacts WHERE id = ?", artifact_id)[0]
        self.rows("UPDATE artifacts SET model_id = ? WHERE id = ?", model_id, artifact_id)
        self._drop_if_empty(old_id)

    def _drop_if_empty(self, model_id: int) -> None:
        self.rows(
            "DELETE FROM models WHERE id = ? AND NOT EXISTS (SELECT 1 FROM artifacts WHERE model_id = models.id)",
            model_id,
        )

    def _insert(self, draft: ArtifactDraft, model_id: int) -> int:
        columns = _columns(draft) | {"model_id": model_id, "added_at": self._clock()}
        marks = ", ".join("?" * len(columns))
        sql = f"INSERT INTO artifacts ({', '.join(columns)}) VALUES ({marks}) RETURNING id"  # noqa: S608 - own names
        artifact_id: int = self.rows(sql, *columns.values())[0][0]
        return artifact_id

    def _update(self, artifact_id: int, draft: ArtifactDraft) -> None:
        columns = _columns(draft) | {"removal": None}
        # A checksum is of the bytes that were there; other bytes have another one.
        changes = ", ".join(f"{name} = ?" for name in columns)
        self.rows(
            f"UPDATE artifacts SET sha256 = CASE WHEN size_bytes = ? AND mtime_ns = ? THEN sha256 END, {changes} "  # noqa: S608
            "WHERE id = ?",
            draft.size_bytes,
            draft.mtime_ns,
            *columns.values(),
            artifact_id,
        )


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
