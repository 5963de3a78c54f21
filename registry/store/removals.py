"""Removals in the catalogue, in the two steps that survive a crash. Not here: deleting files (`registry.removing`)."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from registry.catalogue import Deletion, SkippedFile
from registry.store.database import CatalogueDatabase
from registry.store.files import Files
from registry.store.models import ModelPart, Models
from registry.store.reading import decode_paths

_DELETIONS: Final = msgspec.json.Decoder(tuple[Deletion, ...])


class Removals(ModelPart):
    """The removals that were begun and not finished."""

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
