"""Rows of models, artifacts and adapters as Structs, inside a `read` or `write` of the caller's."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from registry.catalogue import (
    ENGINE_OF_FORMAT,
    Adapter,
    Artifact,
    ArtifactSummary,
    Model,
    ModelSummary,
)
from registry.engines import EngineKind, EngineSetting
from registry.facts import AdapterFacts, ArtifactFormat, ModelFacts
from registry.settings import NO_SETTINGS, decode_settings
from registry.store.database import CatalogueDatabase

_FACTS: Final = msgspec.json.Decoder(ModelFacts)
_ADAPTER_FACTS: Final = msgspec.json.Decoder(AdapterFacts)
_FORMATS: Final = {kind.value: kind for kind in ArtifactFormat}

decode_paths: Final = msgspec.json.Decoder(tuple[str, ...]).decode
"""Reads a column `files`."""


def read_models(database: CatalogueDatabase, where: str, *values: object) -> tuple[Model, ...]:
    """Give the models that have an artifact, by name.

    Args:
        where: An SQL condition on `models`; own text, never a user's.
    """
    rows = database.rows(
        f"SELECT id, name, engine, created_at, last_used_at FROM models WHERE {where} ORDER BY name",  # noqa: S608 - own text
        *values,
    )
    if not rows:
        return ()
    # One model: only its own rows. Several: all rows, which is quicker than a list of ids.
    only = f"model_id = {rows[0][0]:d}" if len(rows) == 1 else "1"
    with database.decoding():
        artifacts = _read_artifacts(database, only)
        aliases = _read_aliases(database, only)
        settings: defaultdict[int, dict[str, str]] = defaultdict(dict)
        for model_id, key, value in database.rows(f"SELECT model_id, key, value FROM settings WHERE {only}"):  # noqa: S608 - own text
            settings[model_id][key] = value
        adapters = _read_adapters(database, only)
        return tuple(
            Model(
                name=name,
                artifacts=tuple(artifacts[model_id]),
                engine=None if engine is None else EngineSetting(engine),
                aliases=tuple(aliases.get(model_id, ())),
                settings=decode_settings(settings[model_id]) if model_id in settings else NO_SETTINGS,
                created_at=created_at,
                last_used_at=last_used_at,
                adapters=tuple(adapters.get(model_id, ())),
            )
            for model_id, name, engine, created_at, last_used_at in rows
            if model_id in artifacts
        )


def read_summaries(database: CatalogueDatabase) -> tuple[ModelSummary, ...]:
    """Give the models that have an artifact, by name, without the facts of their files."""
    with database.decoding():
        artifacts: defaultdict[int, list[ArtifactSummary]] = defaultdict(list)
        for model_id, kind, *values, is_owned, architecture, quantization, parameter_count, context in database.rows(
            "SELECT model_id, format, path, size_bytes, status, reason, is_owned, architecture, quantization, "
            "parameter_count, context_length FROM artifacts WHERE removal IS NULL ORDER BY format"
        ):
            artifacts[model_id].append(
                ArtifactSummary(
                    format=_FORMATS[kind],
                    path=values[0],
                    size_bytes=values[1],
                    status=values[2],
                    reason=values[3],
                    is_owned=bool(is_owned),
                    architecture=architecture,
                    quantization=quantization,
                    parameter_count=parameter_count,
                    context_length=context,
                )
            )
        aliases = _read_aliases(database, "1")
        adapters = _adapter_labels(database)
        return tuple(
            ModelSummary(
                name=name,
                artifacts=tuple(artifacts[model_id]),
                engine=None if engine is None else EngineSetting(engine),
                aliases=tuple(aliases.get(model_id, ())),
                created_at=created_at,
                last_used_at=last_used_at,
                adapters=tuple(adapters.get(model_id, ())),
            )
            for model_id, name, engine, created_at, last_used_at in database.rows(
                "SELECT id, name, engine, created_at, last_used_at FROM models ORDER BY name"
            )
            if model_id in artifacts
        )


def read_artifact(database: CatalogueDatabase, artifact_id: int) -> Artifact:
    """Give the artifact of a row, which is there and not being removed."""
    ((artifact,),) = _read_artifacts(database, "artifacts.id = ?", artifact_id).values()
    return artifact


def _read_artifacts(database: CatalogueDatabase, where: str, *values: object) -> Mapping[int, list[Artifact]]:
    """Give artifacts by their model's row, sorted by format."""
    rows = database.rows(
        "SELECT model_id, artifacts.id, name, format, path, files, mmproj_path, size_bytes, mtime_ns, sha256, status, "  # noqa: S608 - own text
        "reason, is_owned, facts, layout, root FROM artifacts JOIN models ON models.id = model_id "
        f"WHERE removal IS NULL AND {where} ORDER BY name, format",
        *values,
    )
    copies: defaultdict[int, list[str]] = defaultdict(list)
    only = f"artifact_id = {rows[0][1]:d}" if len(rows) == 1 else "1"
    for artifact_id, path in database.rows(f"SELECT artifact_id, path FROM copies WHERE {only} ORDER BY path"):  # noqa: S608 - own text
        copies[artifact_id].append(path)
    artifacts: defaultdict[int, list[Artifact]] = defaultdict(list)
    with database.decoding():
        for row in rows:
            artifacts[row[0]].append(_artifact(row, tuple(copies.get(row[1], ()))))
    return artifacts


def _artifact(row: tuple[Any, ...], copies: tuple[str, ...]) -> Artifact:
    return Artifact(
        id=row[1],
        model_name=row[2],
        format=_FORMATS[row[3]],
        path=row[4],
        files=decode_paths(row[5]),
        mmproj_path=row[6],
        size_bytes=row[7],
        mtime_ns=row[8],
        sha256=row[9],
        status=row[10],
        reason=row[11],
        is_owned=bool(row[12]),
        facts=_FACTS.decode(row[13]),
        copies=copies,
        layout=row[14],
        root=row[15],
    )


def _read_aliases(database: CatalogueDatabase, where: str) -> Mapping[int, list[str]]:
    aliases: defaultdict[int, list[str]] = defaultdict(list)
    for model_id, alias in database.rows(f"SELECT model_id, alias FROM aliases WHERE {where} ORDER BY alias"):  # noqa: S608 - own text
        aliases[model_id].append(alias)
    return aliases


def _read_adapters(database: CatalogueDatabase, where: str) -> Mapping[int, list[Adapter]]:
    adapters: defaultdict[int, list[Adapter]] = defaultdict(list)
    for model_id, *row in database.rows(
        "SELECT model_id, adapters.id, models.name, adapters.name, format, path, files, size_bytes, mtime_ns, scale, "  # noqa: S608 - own text
        f"facts FROM adapters JOIN models ON models.id = model_id WHERE {where} ORDER BY adapters.name, format"
    ):
        adapters[model_id].append(
            Adapter(
                id=row[0],
                model_name=row[1],
                name=row[2],
                format=_FORMATS[row[3]],
                path=row[4],
                files=decode_paths(row[5]),
                size_bytes=row[6],
                mtime_ns=row[7],
                scale=row[8],
                facts=_ADAPTER_FACTS.decode(row[9]),
            )
        )
    return adapters


def _adapter_labels(database: CatalogueDatabase) -> Mapping[int, list[tuple[str, EngineKind]]]:
    """Give name and engine of every adapter by its model's row, sorted."""
    labels: defaultdict[int, list[tuple[str, EngineKind]]] = defaultdict(list)
    for model_id, name, kind in database.rows("SELECT model_id, name, format FROM adapters ORDER BY name, format"):
        labels[model_id].append((name, ENGINE_OF_FORMAT[_FORMATS[kind]]))
    return labels
