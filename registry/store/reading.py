"""Rows of the catalogue as Structs, inside a `read` or `write` of the caller's."""

import functools
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final, TypeVar, get_type_hints

import msgspec

from registry.catalogue import ENGINE_OF_FORMAT, Adapter, Artifact, Model, ModelSummary
from registry.engines import EngineKind
from registry.facts import ArtifactFormat
from registry.settings import NO_SETTINGS, TAGS_KEY, decode_settings
from registry.store.database import CatalogueDatabase
from registry.vision import VisionFacts, why_text_only

_T = TypeVar("_T", bound=msgspec.Struct)
_JSON_COLUMNS: Final = ("files", "facts")


class _TowerOfFacts(msgspec.Struct, frozen=True):
    vision: VisionFacts | None = None


_decode_tower: Final = msgspec.json.Decoder(_TowerOfFacts).decode

decode_paths: Final = msgspec.json.Decoder(tuple[str, ...]).decode
"""Reads a column `files`."""


def as_struct(kind: type[_T], row: dict[str, Any]) -> _T:
    """Make a Struct of a row, whose columns have the names of its fields; others are left out.

    Args:
        row: Its JSON is decoded in place.

    Raises:
        msgspec.DecodeError: The row is damaged.
    """
    for name, decode in _decoders(kind):
        if name in row:
            row[name] = decode(row[name])
    return msgspec.convert(row, kind)


@functools.cache
def _decoders(kind: type) -> list[tuple[str, Callable[[Any], Any]]]:
    """Give what makes values of columns that SQLite has no type for: JSON and bool."""
    types = get_type_hints(kind)
    decoders = [(name, msgspec.json.Decoder(types[name]).decode) for name in _JSON_COLUMNS if name in types]
    return [*decoders, *((name, bool) for name, type_ in types.items() if type_ is bool)]


def read_models(database: CatalogueDatabase, where: str, *values: object) -> tuple[Model, ...]:
    """Give the models that have an artifact, by name.

    Args:
        where: An SQL condition on `models`; own text, never a user's.
    """
    rows = _model_rows(database, where, *values)
    if not rows:
        return ()
    # One model: only its own rows. Several: all rows, which is quicker than a list of ids.
    only = f"model_id = {rows[0]['id']:d}" if len(rows) == 1 else "1"
    with database.decoding():
        stored: defaultdict[int, dict[str, str]] = defaultdict(dict)
        for model_id, key, value in database.rows(f"SELECT model_id, key, value FROM settings WHERE {only}"):  # noqa: S608 - own text
            stored[model_id][key] = value
        settings = defaultdict(lambda: NO_SETTINGS, {row: decode_settings(texts) for row, texts in stored.items()})
        adapters: defaultdict[int, list[Adapter]] = defaultdict(list)
        for row in database.records(
            "SELECT adapters.*, models.name AS model_name FROM adapters JOIN models ON models.id = model_id "  # noqa: S608 - own text
            f"WHERE {only} ORDER BY adapters.name, format"
        ):
            adapters[row["model_id"]].append(as_struct(Adapter, row))
        artifacts = _read_artifacts(database, only)
        aliases = _read_aliases(database, only)
        return _put_together(Model, rows, artifacts=artifacts, aliases=aliases, settings=settings, adapters=adapters)


def read_summaries(database: CatalogueDatabase) -> tuple[ModelSummary, ...]:
    """Give the models that have an artifact, by name, without the facts of their files."""
    with database.decoding():
        artifacts: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in database.records(
            "SELECT model_id, format, path, size_bytes, status, reason, is_owned, architecture, quantization, "
            "parameter_count, context_length, "
            # Of most models no facts have to be read for that.
            "CASE WHEN mmproj_path IS NOT NULL OR (format = 'mlx' AND instr(facts, '\"vision\":{') > 0) THEN facts END "
            "AS facts FROM artifacts WHERE removal IS NULL ORDER BY format"
        ):
            row["is_owned"] = bool(row["is_owned"])
            facts = row.pop("facts")
            row["sees"] = facts is not None and _sees(row["format"], facts)
            artifacts[row["model_id"]].append(row)
        adapters: defaultdict[int, list[tuple[str, EngineKind]]] = defaultdict(list)
        for model_id, name, kind in database.rows("SELECT model_id, name, format FROM adapters ORDER BY name, format"):
            adapters[model_id].append((name, ENGINE_OF_FORMAT[ArtifactFormat(kind)]))
        tags: defaultdict[int, list[str]] = defaultdict(list)
        for model_id, value in database.rows("SELECT model_id, value FROM settings WHERE key = ?", TAGS_KEY):
            tags[model_id] = msgspec.json.decode(value, type=list[str])
        rows, aliases = _model_rows(database, "1"), _read_aliases(database, "1")
        return _put_together(ModelSummary, rows, artifacts=artifacts, aliases=aliases, adapters=adapters, tags=tags)


def read_artifact(database: CatalogueDatabase, artifact_id: int) -> Artifact:
    """Give the artifact of a row, which is there and not being removed."""
    ((artifact,),) = _read_artifacts(database, "artifacts.id = ?", artifact_id).values()
    return artifact


def _sees(kind: str, facts: str) -> bool:
    return why_text_only(_decode_tower(facts).vision, ENGINE_OF_FORMAT[ArtifactFormat(kind)]) is None


def _model_rows(database: CatalogueDatabase, where: str, *values: object) -> list[dict[str, Any]]:
    sql = f"SELECT id, name, engine, created_at, last_used_at FROM models WHERE {where} ORDER BY name"  # noqa: S608 - own text
    return list(database.records(sql, *values))


def _put_together(kind: type[_T], rows: list[dict[str, Any]], **parts: defaultdict[int, Any]) -> tuple[_T, ...]:
    """Make the models of rows, as far as they have artifacts; each of the parts is by the model's row.

    The rows are completed in place.
    """
    models = [row for row in rows if row["id"] in parts["artifacts"]]
    for name, part in parts.items():
        for row in models:
            row[name] = part[row["id"]]
    return msgspec.convert(models, tuple[kind, ...])  # type: ignore[valid-type]


def _read_artifacts(database: CatalogueDatabase, where: str, *values: object) -> defaultdict[int, list[Artifact]]:
    """Give artifacts by their model's row, sorted by format."""
    sql = (
        "SELECT model_id, artifacts.id, name AS model_name, format, path, files, mmproj_path, size_bytes, mtime_ns, "  # noqa: S608 - own text
        "sha256, status, reason, is_owned, facts, layout, root FROM artifacts JOIN models ON models.id = model_id "
        f"WHERE removal IS NULL AND {where} ORDER BY name, format"
    )
    rows = list(database.records(sql, *values))
    copies: defaultdict[int, list[str]] = defaultdict(list)
    only = f"artifact_id = {rows[0]['id']:d}" if len(rows) == 1 else "1"
    for artifact_id, path in database.rows(f"SELECT artifact_id, path FROM copies WHERE {only} ORDER BY path"):  # noqa: S608 - own text
        copies[artifact_id].append(path)
    artifacts: defaultdict[int, list[Artifact]] = defaultdict(list)
    with database.decoding():
        for row in rows:
            artifacts[row["model_id"]].append(as_struct(Artifact, row | {"copies": copies[row["id"]]}))
    return artifacts


def _read_aliases(database: CatalogueDatabase, where: str) -> defaultdict[int, list[str]]:
    aliases: defaultdict[int, list[str]] = defaultdict(list)
    for model_id, alias in database.rows(f"SELECT model_id, alias FROM aliases WHERE {where} ORDER BY alias"):  # noqa: S608 - own text
        aliases[model_id].append(alias)
    return aliases
