"""Writing what is known of equal bytes: checksums of files, and further paths of an artifact."""

from collections.abc import Iterable

import msgspec

from registry.catalogue import ArtifactDraft, FileHash
from registry.checksums.checksums import combined_sha256
from registry.store.reading import CatalogueReader

_COPY_COLUMNS = "path, origin, files, mmproj_path, size_bytes, mtime_ns, is_owned, layout, root"


def claimed_sha256(draft: ArtifactDraft) -> str | None:
    """Give the checksum that the names of a draft's files say; None unless every file has one."""
    return combined_sha256(draft.hashes) if len(draft.hashes) == len(draft.files) else None


class CopyWriter(CatalogueReader):
    """The writes that concern equal bytes."""

    def put_hashes(self, hashes: Iterable[FileHash]) -> None:
        """Record checksums of files. What was computed is not replaced by what a name says of the same file."""
        with self.write():
            for item in hashes:
                self.rows(
                    "INSERT INTO file_hashes (path, size_bytes, mtime_ns, sha256, is_computed, hashed_at) "
                    "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (path) DO UPDATE SET size_bytes = excluded.size_bytes, "
                    "mtime_ns = excluded.mtime_ns, sha256 = excluded.sha256, is_computed = excluded.is_computed, "
                    "hashed_at = excluded.hashed_at WHERE excluded.is_computed OR NOT file_hashes.is_computed "
                    "OR (file_hashes.size_bytes, file_hashes.mtime_ns) <> (excluded.size_bytes, excluded.mtime_ns)",
                    item.path,
                    item.size_bytes,
                    item.mtime_ns,
                    item.sha256,
                    int(item.is_computed),
                    self.clock(),
                )

    def set_sha256(self, artifact_id: int, sha256: str) -> None:
        """Record the checksum of an artifact.

        Args:
            sha256: 64 hex digits; `checksums.combined_sha256` of its files.
        """
        with self.write():
            self.rows("UPDATE artifacts SET sha256 = ? WHERE id = ?", sha256, artifact_id)

    def set_speed(self, artifact_id: int, *, prefill_tokens_per_s: float, decode_tokens_per_s: float) -> None:
        """Record how fast an artifact was measured to be on this machine.

        Args:
            prefill_tokens_per_s: Prompt tokens per second.
            decode_tokens_per_s: Tokens per second of one sequence.
        """
        sql = "UPDATE artifacts SET prefill_tokens_per_s = ?, decode_tokens_per_s = ? WHERE id = ?"
        with self.write():
            self.rows(sql, prefill_tokens_per_s, decode_tokens_per_s, artifact_id)

    def put_copy(self, artifact_id: int, draft: ArtifactDraft) -> None:
        """Record another path of an artifact.

        Args:
            draft: What lies there; its facts and names do not count.
        """
        with self.write():
            self.rows("DELETE FROM skipped_files WHERE path = ?", draft.path)
            self.rows(
                f"REPLACE INTO copies (artifact_id, {_COPY_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",  # noqa: S608
                artifact_id,
                draft.path,
                draft.origin,
                msgspec.json.encode(draft.files).decode("utf-8"),
                draft.mmproj_path,
                draft.size_bytes,
                draft.mtime_ns,
                int(draft.is_owned),
                draft.layout,
                draft.root,
            )

    def forget_copies(self, paths: Iterable[str]) -> None:
        """Forget paths of artifacts where their bytes lie no more."""
        with self.write():
            for path in paths:
                self.rows("DELETE FROM copies WHERE path = ?", path)

    def promote_copy(self, path: str) -> int:
        """Make a copy the path that engines are given, in the place of one that is gone."""
        with self.write():
            (artifact_id,) = self.rows("SELECT artifact_id FROM copies WHERE path = ?", path)[0]
            # What the copy's origin stands for may have become an artifact of its own meanwhile.
            self.rows(
                "UPDATE copies SET origin = NULL WHERE path = ? AND origin IN (SELECT origin FROM artifacts)", path
            )
            self.rows(
                f"UPDATE artifacts SET ({_COPY_COLUMNS}) = (SELECT {_COPY_COLUMNS} FROM copies WHERE path = ?) "  # noqa: S608 - own names
                "WHERE id = ?",
                path,
                artifact_id,
            )
            self.rows("DELETE FROM copies WHERE path = ?", path)
            return int(artifact_id)

    # --- inside a transaction -------------------------------------------------------------------------------------

    def _holder_of_copy(self, draft: ArtifactDraft, model_name: str | None) -> int | None:
        """Give the artifact that a draft is a known copy of; a copy that became something else is forgotten."""
        rows = self.rows(
            "SELECT artifact_id, copies.size_bytes, copies.mtime_ns, artifacts.sha256, models.name FROM copies "
            "JOIN artifacts ON artifacts.id = artifact_id JOIN models ON models.id = model_id "
            "WHERE copies.path = ? AND removal IS NULL",
            draft.path,
        )
        for artifact_id, size_bytes, mtime_ns, sha256, name in rows:
            is_same = (size_bytes, mtime_ns) == (draft.size_bytes, draft.mtime_ns)
            is_same = is_same or (sha256 is not None and sha256 == claimed_sha256(draft))
            if is_same and model_name in {None, name}:
                self.put_copy(artifact_id, draft)
                return int(artifact_id)
        self.forget_copies([draft.path])
        return None

    def _find_same_bytes(self, draft: ArtifactDraft) -> int | None:
        sha256 = claimed_sha256(draft)
        rows = self.rows(
            "SELECT artifacts.id FROM artifacts JOIN models ON models.id = model_id "
            "WHERE sha256 = ? AND size_bytes = ? AND format = ? AND removal IS NULL "
            "AND status IN ('ok', 'unsupported') AND NOT is_apart ORDER BY 1",
            sha256,
            draft.size_bytes,
            draft.format,
        )
        return rows[0][0] if rows else None
