"""Removals in the catalogue, in the two steps that survive a crash. Not here: deleting files (`removal.py`)."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from registry.catalogue import Deletion, Place, SkippedFile
from registry.facts import ArtifactFormat
from registry.store.artifacts import ArtifactWriter

_DELETIONS: Final = msgspec.json.Decoder(tuple[Deletion, ...])
_PLACE_COLUMNS: Final = ("files", "mmproj_path", "size_bytes", "is_owned", "layout", "root")


class RemovalWriter(ArtifactWriter):
    """The writes that concern removals."""

    def places(self, artifact_ids: Iterable[int] | None = None) -> tuple[tuple[int, Place], ...]:
        """List the paths where artifacts lie.

        Args:
            artifact_ids: Whose; None = of all that are not being removed.

        Returns:
            Row and place, of each artifact the path that engines are given first.
        """
        own = ", ".join(f"artifacts.{name}" for name in _PLACE_COLUMNS)
        copied = ", ".join(f"copies.{name}" for name in _PLACE_COLUMNS)
        sql = (
            f"SELECT artifacts.id, 0 AS is_copy, format, artifacts.path, {own} FROM artifacts WHERE removal IS NULL "  # noqa: S608 - own names
            f"UNION ALL SELECT artifact_id, 1, format, copies.path, {copied} FROM copies "
            "JOIN artifacts ON artifacts.id = artifact_id WHERE removal IS NULL ORDER BY 1, 2, 4"
        )
        wanted = None if artifact_ids is None else set(artifact_ids)
        with self.read():
            rows = [row for row in self.rows(sql) if wanted is None or row[0] in wanted]
        return tuple(
            (
                row[0],
                Place(
                    format=ArtifactFormat(row[2]),
                    path=row[3],
                    files=self.decode_paths(row[4]),
                    mmproj_path=row[5],
                    size_bytes=row[6],
                    is_owned=bool(row[7]),
                    layout=row[8],
                    root=row[9],
                ),
            )
            for row in rows
        )

    def begin_removal(self, artifact_id: int, deletions: Iterable[Deletion]) -> None:
        """Hide an artifact and note which files go with it. The first step of a removal.

        Args:
            deletions: The files, in the order in which to delete them; none = it is only unregistered.
        """
        files = tuple(deletions)
        with self.write():
            self.rows(
                "UPDATE artifacts SET removal = ?, removal_files = ? WHERE id = ?",
                "delete" if files else "unregister",
                msgspec.json.encode(files).decode("utf-8"),
                artifact_id,
            )

    def pending_removals(self) -> tuple[tuple[int, tuple[Deletion, ...]], ...]:
        """List the removals that were begun and not finished, as a crash in between leaves them.

        Returns:
            For each artifact its row and the files to delete, in order.
        """
        with self.read(), self.decoding():
            rows = self.rows(
                "SELECT id, removal, removal_files, files, path, format FROM artifacts WHERE removal IS NOT NULL"
            )
            return tuple(
                (row[0], _DELETIONS.decode(row[2]) if row[2] is not None else self._begun_long_ago(row)) for row in rows
            )

    def _begun_long_ago(self, row: tuple[object, ...]) -> tuple[Deletion, ...]:
        """Give the files of a removal that an mlxr began which did not note them: the artifact's own."""
        _, removal, _, files, path, kind = row
        if removal != "delete":
            return ()
        folder = str(path) if kind == "mlx" else str(Path(str(path)).parent)
        own = [*self.decode_paths(str(files)), *([folder] if kind == "mlx" else [])]
        return tuple(Deletion(item, "plain", folder) for item in own)

    def finish_removal(self, artifact_id: int) -> None:
        """Take an artifact out, and its model when that was the last one. The last step of a removal.

        A path that stays on disk is remembered as ignored, so that the next scan does not bring it back.
        """
        with self.write(), self.decoding():
            places = self.rows("SELECT path, size_bytes, mtime_ns FROM copies WHERE artifact_id = ?", artifact_id)
            rows = self.rows(
                "DELETE FROM artifacts WHERE id = ? "
                "RETURNING model_id, removal, removal_files, path, size_bytes, mtime_ns",
                artifact_id,
            )
            for model_id, removal, removal_files, *place in rows:
                self._drop_if_empty(model_id)
                gone = {item.path for item in _DELETIONS.decode(removal_files or "[]")}
                if removal == "delete" and removal_files is None:
                    gone.add(place[0])
                for path, size_bytes, mtime_ns in (place, *places):
                    if path not in gone:
                        self._ignore(path, size_bytes, mtime_ns)

    def _ignore(self, path: str, size_bytes: int, mtime_ns: int) -> None:
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
