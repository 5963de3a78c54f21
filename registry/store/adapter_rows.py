"""Rows of adapters as Structs, for the reader of models. Not here: writing them (`adapters.py`)."""

from collections import defaultdict
from typing import Final

import msgspec

from registry.adapters.facts import AdapterFacts
from registry.catalogue import ENGINE_OF_FORMAT, Adapter, EngineName
from registry.facts import ArtifactFormat
from registry.store.database import CatalogueDatabase

_FACTS: Final = msgspec.json.Decoder(AdapterFacts)
_PATHS: Final = msgspec.json.Decoder(tuple[str, ...])


def read_adapters(session: CatalogueDatabase, where: str) -> dict[int, list[Adapter]]:
    """Give the adapters of models, inside a `read` of the session.

    Args:
        where: An SQL condition on `model_id`; own text, never a user's.

    Returns:
        Row of the model -> its adapters, by name and format.

    Raises:
        msgspec.DecodeError: A row is damaged; and what SQLite raises. Both are translated by the caller.
    """
    adapters: defaultdict[int, list[Adapter]] = defaultdict(list)
    for model_id, *row in session.rows(
        "SELECT model_id, adapters.id, models.name, adapters.name, format, path, files, size_bytes, mtime_ns, scale, "  # noqa: S608 - own text
        f"facts FROM adapters JOIN models ON models.id = model_id WHERE {where} ORDER BY adapters.name, format"
    ):
        adapters[model_id].append(
            Adapter(
                id=row[0],
                model_name=row[1],
                name=row[2],
                format=ArtifactFormat(row[3]),
                path=row[4],
                files=_PATHS.decode(row[5]),
                size_bytes=row[6],
                mtime_ns=row[7],
                scale=row[8],
                facts=_FACTS.decode(row[9]),
            )
        )
    return adapters


def adapter_labels(session: CatalogueDatabase) -> dict[int, list[tuple[str, EngineName]]]:
    """Give name and engine of every adapter, inside a `read` of the session.

    Returns:
        Row of the model -> names and engines, sorted.

    Raises:
        ValueError: A row is damaged; and what SQLite raises. Both are translated by the caller.
    """
    labels: defaultdict[int, list[tuple[str, EngineName]]] = defaultdict(list)
    for model_id, name, kind in session.rows("SELECT model_id, name, format FROM adapters ORDER BY name, format"):
        labels[model_id].append((name, ENGINE_OF_FORMAT[ArtifactFormat(kind)]))
    return labels
