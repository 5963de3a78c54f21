"""Artifacts in the catalogue: what scans and pulls find, which model it belongs to, and how it is taken out again.

The rule for a newly found artifact: it joins the model of its derived name when that model has no artifact of its
format yet and is the same base model. Otherwise it gets a model of its own, under the first free of these names:
`name`, `org/name`, `name-<quantization>`, `name-2`, `name-3` and so on. The user's own links stand above this; a known
artifact keeps its model. Not here: deleting files (`registry.removing`).
"""

import itertools
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec

from registry.catalogue import Artifact, ArtifactDraft, Deletion, Model, Place, SkippedFile
from registry.errors import ArtifactConflictError, ModelExistsError
from registry.facts import ModelFacts
from registry.names import check_new_name, with_suffix
from registry.settings import NO_SETTINGS
from registry.store.copies import PLACE_COLUMNS, Copies, place_row
from registry.store.database import CatalogueDatabase
from registry.store.files import Files
from registry.store.models import ModelPart, Models, check_format_is_free
from registry.store.reading import as_struct, decode_paths, read_artifact

PARAMETER_TOLERANCE: Final = 0.02
"""Converters drop or add small tensors (rotary frequencies, biases); another size of a family differs far more."""

_MAX_SQL_INTEGER: Final = (1 << 63) - 1
_DELETIONS: Final = msgspec.json.Decoder(tuple[Deletion, ...])

Change = Literal["added", "updated", "unchanged", "copied"]


class Artifacts(ModelPart):
    """The artifacts of the catalogue."""

    def __init__(self, database: CatalogueDatabase, models: Models, files: Files, copies: Copies) -> None:
        super().__init__(database, models)
        self._files = files
        self._copies = copies

    def add(self, draft: ArtifactDraft, *, model_name: str | None = None) -> tuple[Artifact, Change]:
        """Record an artifact, new or known.

        An artifact that is known, by its path or its origin or because a missing one with the same facts turned up
        elsewhere, keeps its model. One whose bytes are known to be those of another artifact becomes a copy of it, if
        no name is given.

        Args:
            model_name: The model it must belong to, made when absent.

        Returns:
            The artifact, and what changed. `copied`: the draft is another path of it.

        Raises:
            ArtifactConflictError: The named model already has another artifact of this format.
            ModelExistsError: The name is an alias of another model.
            InvalidModelNameError: `model_name` is no name.
        """
        with self._write():
            self._files.forget_skipped([draft.path])
            self._files.put_hashes(draft.hashes)
            holder = self._copies.artifact_of(draft, model_name)
            if holder is not None:
                return read_artifact(self._database, holder), "unchanged"
            known = self._find_known(draft)
            if known is None:
                same = self._copies.artifact_with_bytes_of(draft) if model_name is None else None
                if same is not None:
                    self._copies.put(same, draft)
                    return read_artifact(self._database, same), "copied"
                model_id = self._choose_model(draft) if model_name is None else self._claim(model_name, draft, None)
                now, sha256 = self._now(), draft.claimed_sha256
                added = self._add("artifacts", model_id=model_id, added_at=now, sha256=sha256, **_columns(draft))
                return read_artifact(self._database, added), "added"
            self._free_path(draft.path, known)
            before = read_artifact(self._database, known)
            if model_name is not None and model_name != before.model_name:
                self._models.move_artifact(known, self._claim(model_name, draft, known))
            self._update(known, draft)
            after = read_artifact(self._database, known)
            return after, "unchanged" if after == before else "updated"

    def find(self, path: Path | str) -> Artifact | None:
        """Give the artifact that has this path, as stored: absolute."""
        with self._read():
            rows = self._rows("SELECT id FROM artifacts WHERE path = ? AND removal IS NULL", str(path))
            return read_artifact(self._database, rows[0][0]) if rows else None

    def mark(self, artifact_id: int, status: Literal["bad", "missing"], reason: str) -> None:
        """Say that an artifact cannot be used now. A later scan that finds it whole again undoes this."""
        self._rows("UPDATE artifacts SET status = ?, reason = ? WHERE id = ?", status, reason, artifact_id)

    def mark_broken(self, artifact_id: int, reason: str, *, size_bytes: int, mtime_ns: int) -> None:
        """Mark an artifact bad with the size and time of its files, so that it is not parsed again until they change.

        Args:
            mtime_ns: Newest over its files.
        """
        sql = "UPDATE artifacts SET status = 'bad', reason = ?, size_bytes = ?, mtime_ns = ? WHERE id = ?"
        self._rows(sql, reason, size_bytes, mtime_ns, artifact_id)

    def relocate(self, artifact_id: int, place: Place, mtime_ns: int) -> None:
        """Record that an artifact's files, the same bytes, lie elsewhere now; what is known of that path is forgotten.

        Raises:
            ArtifactConflictError: Another model, on which something is set, has that path.
        """
        with self._write():
            self._files.forget_skipped([place.path])
            self._copies.forget([place.path])
            for row in self._rows("SELECT id FROM artifacts WHERE path = ? AND id <> ?", place.path, artifact_id):
                self._forget_found_again(row[0])
            values = _columns_of(place) | {"origin": None, "mtime_ns": mtime_ns}
            changes = ", ".join(f"{name} = ?" for name in values)
            self._rows(f"UPDATE artifacts SET {changes} WHERE id = ?", *values.values(), artifact_id)  # noqa: S608 - own names

    def _forget_found_again(self, artifact_id: int) -> None:
        """Forget an artifact that a scan made of files which were on their way."""
        other = read_artifact(self._database, artifact_id)
        model = self._models.get(other.model_name)
        if model.settings != NO_SETTINGS or model.engine is not None or model.adapters:
            raise ArtifactConflictError(
                f"{other.path} is of {model.name!r}, on which something is set; `mlxr models rm {model.name}` first."
            )
        model_id = self._models.row_of(model.name)
        self._rows("DELETE FROM artifacts WHERE id = ?", artifact_id)
        self._models.drop_if_empty(model_id)

    def set_sha256(self, artifact_id: int, sha256: str) -> None:
        """Record the checksum of an artifact, the `combined_sha256` of its files."""
        self._rows("UPDATE artifacts SET sha256 = ? WHERE id = ?", sha256, artifact_id)

    def hashable(self) -> tuple[tuple[int, int, tuple[str, ...]], ...]:
        """List row, size in bytes and files of the artifacts whose files are there."""
        with self._database.decoding():
            return tuple(
                (artifact_id, size_bytes, decode_paths(files))
                for artifact_id, size_bytes, files in self._rows(
                    "SELECT id, size_bytes, files FROM artifacts "
                    "WHERE removal IS NULL AND status IN ('ok', 'unsupported') ORDER BY id"
                )
            )

    def places(self) -> tuple[tuple[int, Place], ...]:
        """List row and paths of all artifacts, of each the path that engines are given first."""
        own = ", ".join(f"artifacts.{name}" for name in PLACE_COLUMNS)
        copied = ", ".join(f"copies.{name}" for name in PLACE_COLUMNS)
        sql = (
            f"SELECT artifacts.id, 0 AS is_copy, format, {own} FROM artifacts WHERE removal IS NULL "  # noqa: S608 - own names
            f"UNION ALL SELECT artifact_id, 1, format, {copied} FROM copies "
            "JOIN artifacts ON artifacts.id = artifact_id WHERE removal IS NULL ORDER BY 1, 2, 4"
        )
        with self._database.decoding():
            return tuple((row["id"], as_struct(Place, row)) for row in self._records(sql))

    # --- inside a transaction -------------------------------------------------------------------------------------

    def _find_known(self, draft: ArtifactDraft) -> int | None:
        # The origin first: a tag of a store, or a repository, may have moved on to other bytes.
        rows = self._rows("SELECT id FROM artifacts WHERE origin = ?", draft.origin)  # NULL equals nothing
        if not rows:
            rows = self._rows("SELECT id FROM artifacts WHERE path = ?", draft.path)
        if not rows:
            rows = self._rows(
                "SELECT id FROM artifacts WHERE status = 'missing' AND format = ? AND size_bytes = ? AND facts = ?",
                draft.format,
                draft.size_bytes,
                msgspec.json.encode(draft.facts).decode(),
            )
        return rows[0][0] if rows else None

    def _free_path(self, path: str, artifact_id: int) -> None:
        """Take a path from another artifact that had it: two tags of a store have changed places."""
        rows = self._rows("SELECT id FROM artifacts WHERE path = ? AND id <> ?", path, artifact_id)
        for (other_id,) in rows:
            (old_path,) = self._rows("SELECT path FROM artifacts WHERE id = ?", artifact_id)[0]
            for changed_id, new_path in ((other_id, f"{path}#{other_id}"), (artifact_id, path), (other_id, old_path)):
                self._rows("UPDATE artifacts SET path = ? WHERE id = ?", new_path, changed_id)
            self.mark(other_id, "missing", "its name stands for other files now")

    def _choose_model(self, draft: ArtifactDraft) -> int:
        for name in _candidate_names(draft, self._models.find_exactly(draft.name)):
            model = self._models.find_exactly(name)
            if model is None and not self._models.has_row(name):
                return self._models.create(name)
            # Only the plain name is joined: a name with a suffix stands for one artifact that had to stand apart.
            if model is not None and model.name == name == draft.name and _can_join(model, draft):
                return self._models.row_of(name)
        raise AssertionError  # _candidate_names never ends

    def _claim(self, name: str, draft: ArtifactDraft, artifact_id: int | None) -> int:
        """Give the row of the model that the user named, made when absent."""
        model = self._models.find_exactly(name)
        if model is None:
            check_new_name(name)
            return self._models.row_of(name) if self._models.has_row(name) else self._models.create(name)
        if model.name != name:
            raise ModelExistsError(f"{name!r} is an alias of {model.name!r}. Choose another name or remove the alias.")
        check_format_is_free(model, draft.format, but_for=artifact_id)
        return self._models.row_of(name)

    def _update(self, artifact_id: int, draft: ArtifactDraft) -> None:
        columns = _columns(draft) | {"removal": None}
        # A checksum is of the bytes that were there; other bytes have another one.
        changes = ", ".join(f"{name} = ?" for name in columns)
        self._rows(
            "UPDATE artifacts SET sha256 = CASE WHEN path = ? AND size_bytes = ? AND mtime_ns = ? THEN sha256 END, "  # noqa: S608 - own names
            f"{changes} WHERE id = ?",
            draft.path,
            draft.size_bytes,
            draft.mtime_ns,
            *columns.values(),
            artifact_id,
        )
        if draft.claimed_sha256 is not None:
            self.set_sha256(artifact_id, draft.claimed_sha256)


def _columns(draft: ArtifactDraft) -> dict[str, object]:
    facts = draft.facts
    return place_row(draft) | {
        "format": draft.format,
        "status": "ok" if facts.loadable else "unsupported",
        "reason": "; ".join(facts.reasons) or None,
        "architecture": facts.architecture,
        "parameter_count": _sql_integer(facts.parameter_count),
        "quantization": facts.quantization.label if facts.quantization is not None else None,
        "context_length": _sql_integer(facts.context_length),
        "facts": msgspec.json.encode(facts).decode(),
    }


def _columns_of(place: Place) -> dict[str, object]:
    """Give the columns of a place that it has itself."""
    return msgspec.structs.asdict(place) | {"files": msgspec.json.encode(place.files).decode()}


def _sql_integer(value: int | None) -> int | None:
    """Leave out what SQLite's 64-bit integers cannot hold; the facts keep it."""
    return value if value is not None and -_MAX_SQL_INTEGER <= value <= _MAX_SQL_INTEGER else None


def _candidate_names(draft: ArtifactDraft, model: Model | None) -> Iterator[str]:
    """List the names to try for an artifact, best first, without end; `model` has the plain name, if any has."""
    yield draft.name
    label = draft.facts.quantization.label if draft.facts.quantization is not None else draft.format.value
    if draft.organization is not None and model is not None and not _is_same_base(model, draft.facts):
        yield f"{draft.organization}/{draft.name}"
    yield with_suffix(draft.name, label)
    for number in itertools.count(2):
        yield with_suffix(draft.name, str(number))


def _can_join(model: Model, draft: ArtifactDraft) -> bool:
    has_format = any(artifact.format is draft.format for artifact in model.artifacts)
    return not has_format and _is_same_base(model, draft.facts)


def _is_same_base(model: Model, facts: ModelFacts) -> bool:
    """Tell whether facts describe the same base model as a model's artifacts.

    Compared are layers, width and parameters, not architecture names, which the two formats spell differently. The
    parameters may differ by one embedding matrix more: a format may store a tied output matrix a second time.
    """
    return all(_are_same_base(artifact.facts, facts) for artifact in model.artifacts)


def _are_same_base(one: ModelFacts, other: ModelFacts) -> bool:
    if one.kv is None or other.kv is None:
        return False
    if one.kv.num_layers != other.kv.num_layers or one.embedding_length != other.embedding_length:
        return False
    difference = abs(one.parameter_count - other.parameter_count)
    tolerance = PARAMETER_TOLERANCE * max(one.parameter_count, other.parameter_count)
    tied = (one.vocabulary_size or 0) * (one.embedding_length or 0)
    return difference <= tolerance or abs(difference - tied) <= tolerance


class Removals(ModelPart):
    """The removals that were begun and not finished: each has two steps, so that it survives a crash."""

    def __init__(self, database: CatalogueDatabase, models: Models, files: Files) -> None:
        super().__init__(database, models)
        self._files = files

    def begin(self, artifact_id: int, deletions: Iterable[Deletion]) -> None:
        """Hide an artifact and note which files go with it. The first step of a removal.

        Args:
            deletions: The files, in the order in which to delete them; none = it is only unregistered.
        """
        files = tuple(deletions)
        self._rows(
            "UPDATE artifacts SET removal = ?, removal_files = ? WHERE id = ?",
            "delete" if files else "unregister",
            msgspec.json.encode(files).decode("utf-8"),
            artifact_id,
        )

    def begin_for_place(self, artifact_id: int, place: Place, deletions: Iterable[Deletion]) -> None:
        """Begin the removal of the files in a place that an artifact has left: as an artifact of no visible model.

        Args:
            place: Of no artifact any more.
            deletions: As of `begin`.
        """
        with self._write():
            model_id = self._models.create(f"left-{artifact_id}-{secrets.token_hex(4)}")
            (row,) = self._records("SELECT * FROM artifacts WHERE id = ?", artifact_id)
            values = row | _columns_of(place) | {"id": None, "model_id": model_id}
            self.begin(self._add("artifacts", **values), deletions)

    def pending(self) -> tuple[tuple[int, tuple[Deletion, ...]], ...]:
        """List row of the artifact and files to delete, in order, of what a crash left between the two steps."""
        with self._database.decoding():
            return tuple(
                (artifact_id, _begun_long_ago(*artifact) if deletions is None else _DELETIONS.decode(deletions))
                for artifact_id, deletions, *artifact in self._rows(
                    "SELECT id, removal_files, removal, files, path, format FROM artifacts WHERE removal IS NOT NULL"
                )
            )

    def finish(self, artifact_id: int) -> None:
        """Take an artifact out, and its model when that was the last one. The last step of a removal.

        A path that stays on disk is remembered as ignored, so that the next scan does not bring it back.
        """
        with self._write(), self._database.decoding():
            copies = self._rows("SELECT path, size_bytes, mtime_ns FROM copies WHERE artifact_id = ?", artifact_id)
            rows = self._rows(
                "DELETE FROM artifacts WHERE id = ? "
                "RETURNING model_id, removal, removal_files, path, size_bytes, mtime_ns",
                artifact_id,
            )
            for model_id, removal, removal_files, *place in rows:
                self._models.drop_if_empty(model_id)
                gone = {item.path for item in _DELETIONS.decode(removal_files or "[]")}
                if removal == "delete" and removal_files is None:
                    gone.add(place[0])
                for path, size_bytes, mtime_ns in (place, *copies):
                    if path not in gone:
                        self._files.skip(_ignored(path, size_bytes, mtime_ns))


def _begun_long_ago(removal: str, files: str, path: str, kind: str) -> tuple[Deletion, ...]:
    """Give the files of a removal that an mlxr began which did not note them: the artifact's own."""
    if removal != "delete":
        return ()
    folder = path if kind == "mlx" else str(Path(path).parent)
    own = [*decode_paths(files), *([folder] if kind == "mlx" else [])]
    return tuple(Deletion(item, "plain", folder) for item in own)


def _ignored(path: str, size_bytes: int, mtime_ns: int) -> SkippedFile:
    return SkippedFile(
        path=path,
        size_bytes=size_bytes,
        mtime_ns=mtime_ns,
        kind="ignored",
        code="unregistered",
        reason="it was removed from the catalogue; `mlxr models add` brings it back",
    )
