"""What is remembered of files, whatever artifact they are part of: checksums, and those that are no artifact."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from registry.catalogue import FileHash, KnownFile, SkippedFile, combined_sha256
from registry.store.database import Part
from registry.store.reading import as_struct


class VerifiedFile(NamedTuple):
    """A file that had certain bytes when they were read; whoever uses it compares size and time.

    Attributes:
        path: Absolute.
    """

    path: str
    size_bytes: int
    mtime_ns: int


class Files(Part):
    """The files that the catalogue remembers."""

    def known(self) -> dict[str, KnownFile]:
        """Give what a scan compares with: path -> what is known of it, with its size and time.

        Artifacts that are being removed count as ignored.
        """
        with self._read(), self._database.decoding():
            skipped = self._records(
                "SELECT path, NULL AS artifact_id, size_bytes, mtime_ns, kind AS status, code, reason "
                "FROM skipped_files"
            )
            found = self._records(
                "SELECT copies.path, artifact_id, copies.mmproj_path, NULL AS mmproj_version, copies.size_bytes, "
                "copies.mtime_ns, copies.origin, CASE WHEN removal IS NULL THEN status ELSE 'ignored' END AS status, "
                "copies.files, 1 AS is_copy, 0 AS is_outdated "
                "FROM copies JOIN artifacts ON artifacts.id = artifact_id UNION ALL SELECT path, id, mmproj_path, "
                "CASE WHEN json_valid(facts) THEN json_extract(facts, '$.vision.version') END, "
                "size_bytes, mtime_ns, origin, "
                "CASE WHEN removal IS NULL THEN status ELSE 'ignored' END, files, 0, "
                "status IN ('ok', 'unsupported') AND instr(facts, '\"vision\":') = 0 FROM artifacts"
            )
            return {row["path"]: as_struct(KnownFile, row) for row in (*skipped, *found)}

    def skip(self, skipped: SkippedFile) -> None:
        """Remember a file that is no artifact, in the place of what was known of it."""
        self._put("skipped_files", seen_at=self._now(), **msgspec.structs.asdict(skipped))

    def forget_skipped(self, paths: Iterable[str]) -> None:
        """Forget files that are no artifacts, because they are gone or are wanted again."""
        with self._write():
            for path in paths:
                self._rows("DELETE FROM skipped_files WHERE path = ?", path)

    def failures(self) -> tuple[SkippedFile, ...]:
        """List the model files that could not be read at the last scan, by path.

        Artifacts that broke later are not among them: they keep their model and have the status `bad`.
        """
        rows = self._records("SELECT * FROM skipped_files WHERE kind = 'bad' ORDER BY path")
        return tuple(as_struct(SkippedFile, row) for row in rows)

    def put_hashes(self, hashes: Iterable[FileHash]) -> None:
        """Record checksums. What was computed is not replaced by what a name says of the same file."""
        with self._write():
            for item in hashes:
                self._rows(
                    "INSERT INTO file_hashes (path, size_bytes, mtime_ns, sha256, is_computed, hashed_at) "
                    "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (path) DO UPDATE SET size_bytes = excluded.size_bytes, "
                    "mtime_ns = excluded.mtime_ns, sha256 = excluded.sha256, is_computed = excluded.is_computed, "
                    "hashed_at = excluded.hashed_at WHERE excluded.is_computed OR NOT file_hashes.is_computed "
                    "OR (file_hashes.size_bytes, file_hashes.mtime_ns) <> (excluded.size_bytes, excluded.mtime_ns)",
                    *msgspec.structs.astuple(item),
                    self._now(),
                )

    def hashes(self, paths: Iterable[str]) -> dict[str, FileHash]:
        """Give the checksums that are known: path -> checksum, with the size and time that the file had then."""
        with self._read():
            rows = [row for path in paths for row in self._records("SELECT * FROM file_hashes WHERE path = ?", path)]
        return {row["path"]: as_struct(FileHash, row) for row in rows}

    def sha256_of(self, files: Sequence[str]) -> str | None:
        """Give the `combined_sha256` of an artifact's files; None unless each has a checksum."""
        known = self.hashes(files)
        return combined_sha256(known.values()) if all(file in known for file in files) else None

    def put_verified(self, blob: str, file: VerifiedFile) -> None:
        """Remember a file that was verified on arrival, or is in a moment.

        Args:
            blob: Kind and value of the hash of its bytes, `sha256-…` or `sha1-…` (git's).
        """
        self._put("pulled_files", blob=blob, **file._asdict())

    def forget_verified(self, path: str) -> None:
        """Forget that a file was verified on arrival: it is gone, or is another one now."""
        self._rows("DELETE FROM pulled_files WHERE path = ?", path)

    def verified(self, blob: str) -> tuple[VerifiedFile, ...]:
        """List the files that had these bytes on arrival."""
        sql = "SELECT path, size_bytes, mtime_ns FROM pulled_files WHERE blob = ? ORDER BY path"
        return tuple(VerifiedFile(*row) for row in self._rows(sql, blob))

    def blob_at(self, path: str) -> str | None:
        """Give kind and value of the hash that a file had on arrival."""
        rows = self._rows("SELECT blob FROM pulled_files WHERE path = ?", path)
        return rows[0][0] if rows else None

    def with_sha256(self, sha256: str) -> tuple[VerifiedFile, ...]:
        """List the files that had these bytes, on arrival or when they were hashed since."""
        rows = self._rows(
            "SELECT path, size_bytes, mtime_ns FROM pulled_files WHERE blob = ? UNION ALL "
            "SELECT path, size_bytes, mtime_ns FROM file_hashes WHERE sha256 = ? AND is_computed",
            f"sha256-{sha256}",
            sha256,
        )
        return tuple(VerifiedFile(*row) for row in rows)
