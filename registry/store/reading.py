"""What can be asked of the catalogue. Nothing here writes."""

import difflib
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from registry.catalogue import Artifact, ArtifactSummary, FileHash, KnownFile, Model, ModelSummary, SkippedFile
from registry.errors import ModelNotFoundError
from registry.facts import ArtifactFormat, ModelFacts
from registry.settings import NO_SETTINGS, decode_settings
from registry.store.adapter_rows import adapter_labels, read_adapters
from registry.store.database import CatalogueDatabase

_FACTS: Final = msgspec.json.Decoder(ModelFacts)
DEFAULT_TAG: Final = "latest"

_FORMATS: Final = {kind.value: kind for kind in ArtifactFormat}
_PATHS: Final = msgspec.json.Decoder(tuple[str, ...])


class CatalogueReader(CatalogueDatabase):
    """The questions."""

    def list_models(self) -> tuple[Model, ...]:
        """List all models, by name.

        Returns:
            The models; those whose artifacts are all missing are among them, those being removed are not.
        """
        with self.read():
            return self._models("1")

    def list_summaries(self) -> tuple[ModelSummary, ...]:
        """List all models, by name, without the facts of their files: the quick list.

        Returns:
            The models of `list_models`.
        """
        with self.read(), self.decoding():
            artifacts: defaultdict[int, list[ArtifactSummary]] = defaultdict(list)
            for model_id, *row in self.rows(
                "SELECT model_id, format, path, size_bytes, status, reason, is_owned, architecture, quantization, "
                "parameter_count, context_length, prefill_tokens_per_s, decode_tokens_per_s FROM artifacts "
                "WHERE removal IS NULL ORDER BY format"
            ):
                artifacts[model_id].append(_summary(row))
            aliases: defaultdict[int, list[str]] = defaultdict(list)
            for model_id, alias in self.rows("SELECT model_id, alias FROM aliases ORDER BY alias"):
                aliases[model_id].append(alias)
            adapters = adapter_labels(self)
            return tuple(
                ModelSummary(
                    name=name,
                    artifacts=tuple(artifacts[model_id]),
                    engine=engine,
                    aliases=tuple(aliases.get(model_id, ())),
                    created_at=created_at,
                    last_used_at=last_used_at,
                    adapters=tuple(adapters.get(model_id, ())),
                )
                for model_id, name, engine, created_at, last_used_at in self.rows(
                    "SELECT id, name, engine, created_at, last_used_at FROM models ORDER BY name"
                )
                if model_id in artifacts
            )

    def get_model(self, name: str) -> Model:
        """Give the model of a name or alias.

        Args:
            name: Without an engine.

        Raises:
            ModelNotFoundError: There is none; the error has names that look like it.
        """
        with self.read():
            model = self.find_model(name)
            if model is not None:
                return model
            names = [row[0] for row in self.rows("SELECT name FROM models UNION SELECT alias FROM aliases")]
        raise ModelNotFoundError(name, difflib.get_close_matches(name, names, n=3, cutoff=0.5))

    def find_artifact(self, path: Path | str) -> Artifact | None:
        """Give the artifact that has this path.

        Args:
            path: As stored: absolute.

        Returns:
            The artifact, or None.
        """
        with self.read():
            rows = self.rows("SELECT id FROM artifacts WHERE path = ? AND removal IS NULL", str(path))
            return self._artifact(rows[0][0]) if rows else None

    def list_failures(self) -> tuple[SkippedFile, ...]:
        """List the model files that could not be read at the last scan, by path.

        Returns:
            Broken files, with their reasons. Artifacts that broke later keep their model and have status `bad`.
        """
        return self.list_skipped("bad")

    def list_skipped(self, kind: Literal["bad", "not_a_model", "ignored"]) -> tuple[SkippedFile, ...]:
        """List the files of one kind that are no artifacts, by path."""
        columns = SkippedFile.__struct_fields__
        with self.read():
            rows = self.rows(f"SELECT {', '.join(columns)} FROM skipped_files WHERE kind = ? ORDER BY path", kind)  # noqa: S608 - own names
        return tuple(SkippedFile(**dict(zip(columns, row, strict=True))) for row in rows)

    def known_files(self) -> dict[str, KnownFile]:
        """Give what a scan compares with: every path that is known, with its fingerprint.

        Returns:
            Path -> what is known of it. Artifacts that are being removed count as ignored.
        """
        with self.read(), self.decoding():
            known = {
                row[0]: KnownFile(
                    artifact_id=None, size_bytes=row[1], mtime_ns=row[2], status=row[3], code=row[4], reason=row[5]
                )
                for row in self.rows("SELECT path, size_bytes, mtime_ns, kind, code, reason FROM skipped_files")
            }
            for path, *values, status, files, is_copy in self.rows(
                "SELECT copies.path, artifact_id, copies.mmproj_path, copies.size_bytes, copies.mtime_ns, "
                "copies.origin, CASE WHEN removal IS NULL THEN status ELSE 'ignored' END, copies.files, 1 "
                "FROM copies JOIN artifacts ON artifacts.id = artifact_id UNION ALL "
                "SELECT path, id, mmproj_path, size_bytes, mtime_ns, origin, "
                "CASE WHEN removal IS NULL THEN status ELSE 'ignored' END, files, 0 FROM artifacts"
            ):
                known[path] = KnownFile(
                    artifact_id=values[0],
                    mmproj_path=values[1],
                    size_bytes=values[2],
                    mtime_ns=values[3],
                    origin=values[4],
                    is_copy=bool(is_copy),
                    status=status,
                    files=_PATHS.decode(files),
                )
        return known

    def file_hashes(self, paths: Iterable[str]) -> dict[str, FileHash]:
        """Give the checksums that are known of files, as the files were then.

        Returns:
            Path -> checksum, for those that have one. Compare size and time with the file's before relying on it.
        """
        sql = "SELECT path, size_bytes, mtime_ns, sha256, is_computed FROM file_hashes WHERE path = ?"
        with self.read():
            rows = [row for path in paths for row in self.rows(sql, path)]
        return {
            row[0]: FileHash(path=row[0], size_bytes=row[1], mtime_ns=row[2], sha256=row[3], is_computed=bool(row[4]))
            for row in rows
        }

    def hashable_artifacts(self) -> tuple[tuple[int, int, tuple[str, ...]], ...]:
        """List the artifacts whose files are there.

        Returns:
            Row, size in bytes, and files.
        """
        with self.read():
            rows = self.rows(
                "SELECT id, size_bytes, files FROM artifacts "
                "WHERE removal IS NULL AND status IN ('ok', 'unsupported') ORDER BY id"
            )
        return tuple((row[0], row[1], self.decode_paths(row[2])) for row in rows)

    def find_model(self, name: str) -> Model | None:
        """Give the model of a name or alias, or None.

        Args:
            name: Without an engine.

        Returns:
            The model, if there is one with at least one artifact.
        """
        model = self.find_exactly(name)
        if model is None and ":" not in name:
            # As Ollama has it: a name without a tag means the tag `latest`.
            model = self.find_exactly(f"{name}:{DEFAULT_TAG}")
        return model

    def find_exactly(self, name: str) -> Model | None:
        """Give the model of a name or alias as it is written, or None.

        Args:
            name: Without an engine.

        Returns:
            The model, if there is one with at least one artifact.
        """
        with self.read():
            # A name and an alias are never the same text; set_alias and add_artifact see to it.
            models = self._models("name = ? OR id = (SELECT model_id FROM aliases WHERE alias = ?)", name, name)
        return models[0] if models else None

    def _models(self, where: str, *values: object) -> tuple[Model, ...]:
        rows = self.rows(
            f"SELECT id, name, engine, created_at, last_used_at FROM models WHERE {where} ORDER BY name",  # noqa: S608 - own text
            *values,
        )
        if not rows:
            return ()
        # One model: only its own rows. Several: all rows, which is quicker than a list of ids.
        only = f"model_id = {rows[0][0]:d}" if len(rows) == 1 else "1"
        with self.decoding():
            artifacts: defaultdict[int, list[Artifact]] = defaultdict(list)
            for model_id, artifact in self._artifacts(only):
                artifacts[model_id].append(artifact)
            aliases: defaultdict[int, list[str]] = defaultdict(list)
            for model_id, alias in self.rows(f"SELECT model_id, alias FROM aliases WHERE {only} ORDER BY alias"):  # noqa: S608
                aliases[model_id].append(alias)
            settings: defaultdict[int, dict[str, str]] = defaultdict(dict)
            for model_id, key, value in self.rows(f"SELECT model_id, key, value FROM settings WHERE {only}"):  # noqa: S608
                settings[model_id][key] = value
            adapters = read_adapters(self, only)
            return tuple(
                Model(
                    name=name,
                    artifacts=tuple(artifacts[model_id]),
                    engine=engine,
                    aliases=tuple(aliases[model_id]),
                    settings=decode_settings(settings[model_id]) if model_id in settings else NO_SETTINGS,
                    created_at=created_at,
                    last_used_at=last_used_at,
                    adapters=tuple(adapters.get(model_id, ())),
                )
                for model_id, name, engine, created_at, last_used_at in rows
                if artifacts[model_id]
            )

    def _artifacts(self, where: str, *values: object) -> list[tuple[int, Artifact]]:
        rows = self.rows(
            "SELECT model_id, artifacts.id, name, format, path, files, mmproj_path, size_bytes, mtime_ns, "  # noqa: S608
            "sha256, status, reason, is_owned, facts, layout, root, prefill_tokens_per_s, decode_tokens_per_s "
            "FROM artifacts JOIN models ON models.id = model_id "
            f"WHERE removal IS NULL AND {where} ORDER BY name, format",
            *values,
        )
        copies: defaultdict[int, list[str]] = defaultdict(list)
        only = f"artifact_id = {rows[0][1]:d}" if len(rows) == 1 else "1"
        for artifact_id, path in self.rows(f"SELECT artifact_id, path FROM copies WHERE {only} ORDER BY path"):  # noqa: S608
            copies[artifact_id].append(path)
        with self.decoding():
            return [
                (
                    row[0],
                    Artifact(
                        id=row[1],
                        model_name=row[2],
                        format=_FORMATS[row[3]],
                        path=row[4],
                        files=_PATHS.decode(row[5]),
                        mmproj_path=row[6],
                        size_bytes=row[7],
                        mtime_ns=row[8],
                        sha256=row[9],
                        status=row[10],
                        reason=row[11],
                        is_owned=bool(row[12]),
                        facts=_FACTS.decode(row[13]),
                        copies=tuple(copies.get(row[1], ())),
                        layout=row[14],
                        root=row[15],
                        prefill_tokens_per_s=row[16],
                        decode_tokens_per_s=row[17],
                    ),
                )
                for row in rows
            ]

    def _artifact(self, artifact_id: int) -> Artifact:
        return self._artifacts("artifacts.id = ?", artifact_id)[0][1]

    def decode_paths(self, text: str) -> tuple[str, ...]:
        """Decode a stored list of paths.

        Args:
            text: The JSON in the column `files`.

        Raises:
            RegistryCorruptError: It is no such list.
        """
        with self.decoding():
            return _PATHS.decode(text)


def _summary(row: list[Any]) -> ArtifactSummary:
    return ArtifactSummary(
        format=_FORMATS[row[0]],
        path=row[1],
        size_bytes=row[2],
        status=row[3],
        reason=row[4],
        is_owned=bool(row[5]),
        architecture=row[6],
        quantization=row[7],
        parameter_count=row[8],
        context_length=row[9],
        prefill_tokens_per_s=row[10],
        decode_tokens_per_s=row[11],
    )
