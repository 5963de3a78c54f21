"""Files, batches and their lines in SQLite; for the thread that opened the file.

A line ends once: what is written of its end is never overwritten, and results files are made of nothing else. A line
that ran when the gateway died has not ended, and runs again.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar, Final, TypeVar

import msgspec

from backends.wire.messages import Usage
from router.jobs.batches.base import Batch, EndedLine, Line, LineEnd, LineResult, StoredFile, Tally
from router.stores.base import Store

_T = TypeVar("_T")
_LINE_COLUMNS: Final = "number, custom_id, offset, num_bytes, depends_on, is_ok"


class BatchStore(Store):
    """The batches of one data folder."""

    MIGRATIONS: ClassVar = Path(__file__).parent / "migrations"

    def put_file(self, file: StoredFile) -> None:
        """Note a file whose bytes are in their place."""
        with self.write():
            self.put_row(
                "files",
                id=file.file_id,
                purpose=file.purpose,
                num_bytes=file.num_bytes,
                created_at=file.created_at,
                body=msgspec.json.encode(file),
            )

    def file(self, file_id: str) -> StoredFile | None:
        """Return a file, or None."""
        return next(iter(self._bodies(StoredFile, "SELECT body FROM files WHERE id = ?", file_id)), None)

    def files(self) -> list[StoredFile]:
        """Return all files, the newest first."""
        return self._bodies(StoredFile, "SELECT body FROM files ORDER BY created_at DESC, rowid DESC")

    def delete_file(self, file_id: str) -> bool:
        """Forget a file; tell whether there was one."""
        with self.write():
            return bool(self._connection.execute("DELETE FROM files WHERE id = ?", (file_id,)).rowcount)

    def put_batch(self, batch: Batch) -> None:
        """Keep a batch as it is now."""
        with self.write():
            self._connection.execute(
                "INSERT INTO batches (id, status, created_at, body) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (id) DO UPDATE SET status = excluded.status, body = excluded.body",
                (batch.batch_id, batch.status.value, batch.created_at, msgspec.json.encode(batch)),
            )

    def batch(self, batch_id: str) -> Batch | None:
        """Return a batch, or None."""
        return next(iter(self._bodies(Batch, "SELECT body FROM batches WHERE id = ?", batch_id)), None)

    def batches(self) -> list[Batch]:
        """Return all batches, the newest first."""
        return self._bodies(Batch, "SELECT body FROM batches ORDER BY created_at DESC, rowid DESC")

    def delete_batch(self, batch_id: str) -> None:
        """Forget a batch and its lines."""
        with self.write():
            self._connection.execute("DELETE FROM batches WHERE id = ?", (batch_id,))

    def begin_batch(self, batch: Batch, lines: Iterable[Line]) -> None:
        """Keep a batch whose lines were read, with them; all or nothing."""
        with self.write():
            self._connection.execute("DELETE FROM lines WHERE batch_id = ?", (batch.batch_id,))
            self._connection.executemany(
                "INSERT INTO lines (batch_id, number, custom_id, offset, num_bytes, depends_on) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (
                    (
                        batch.batch_id,
                        line.number,
                        line.custom_id,
                        line.offset,
                        line.num_bytes,
                        msgspec.json.encode(line.depends_on).decode(),
                    )
                    for line in lines
                ),
            )
            self.put_batch(batch)

    def lines(self, batch_id: str) -> list[Line]:
        """Return a batch's lines in their order."""
        rows = self.rows(f"SELECT {_LINE_COLUMNS} FROM lines WHERE batch_id = ? ORDER BY number", batch_id)  # noqa: S608 - constants
        return [
            Line(
                number=number,
                custom_id=custom_id,
                offset=offset,
                num_bytes=num_bytes,
                depends_on=msgspec.json.decode(depends_on, type=tuple[int, ...]),
                is_ok=None if is_ok is None else bool(is_ok),
            )
            for number, custom_id, offset, num_bytes, depends_on, is_ok in rows
        ]

    def end_lines(self, batch_id: str, ends: Iterable[LineEnd]) -> int:
        """Note how lines ended; return how many had not ended before, which alone are changed."""
        num_ended = 0
        with self.write():
            last = self.rows("SELECT coalesce(max(ended), 0) FROM lines WHERE batch_id = ?", batch_id)[0][0]
            for end in ends:
                num_ended += self._connection.execute(
                    "UPDATE lines SET ended = ?, is_ok = ?, input_tokens = ?, output_tokens = ?, cached_tokens = ?, "
                    "reasoning_tokens = ?, duration_s = ?, output = ?, result = ? "
                    "WHERE batch_id = ? AND number = ? AND ended IS NULL",
                    (
                        last + num_ended + 1,
                        end.is_ok,
                        end.usage.num_prompt_tokens,
                        end.usage.num_output_tokens,
                        end.usage.num_cached_tokens,
                        end.usage.num_reasoning_tokens,
                        end.duration_s,
                        end.output,
                        end.result,
                        batch_id,
                        end.number,
                    ),
                ).rowcount
        return num_ended

    def outputs(self, batch_id: str, numbers: Iterable[int]) -> dict[str, str]:
        """Return the texts of lines that were answered, by their custom ids."""
        found: dict[str, str] = {}
        for number in numbers:
            rows = self.rows(
                "SELECT custom_id, output FROM lines WHERE batch_id = ? AND number = ? AND is_ok", batch_id, number
            )
            found.update(rows)
        return found

    def results(self, batch_id: str, *, is_ok: bool) -> Iterator[bytes]:
        """Yield the results of lines that ended one way, in the order of the input."""
        with self._translated():
            yield from (
                row[0]
                for row in self._connection.execute(
                    "SELECT result FROM lines WHERE batch_id = ? AND is_ok = ? ORDER BY number", (batch_id, is_ok)
                )
            )

    def ended_after(self, batch_id: str, place: int, limit: int) -> list[EndedLine]:
        """Return the lines that have ended behind a place, in the order of their ends."""
        rows = self.rows(
            "SELECT ended, number, custom_id, is_ok, duration_s, result FROM lines "
            "WHERE batch_id = ? AND ended > ? ORDER BY ended LIMIT ?",
            batch_id,
            place,
            limit,
        )
        return [
            EndedLine(
                place=ended,
                line=number,
                custom_id=custom_id,
                is_ok=bool(is_ok),
                duration_s=round(duration_s, 3),
                result=msgspec.json.decode(result, type=LineResult),
            )
            for ended, number, custom_id, is_ok, duration_s, result in rows
        ]

    def tally(self, batch_id: str) -> Tally:
        """Return what has become of a batch's lines, in sum."""
        row = self.rows(
            "SELECT count(*), coalesce(sum(is_ok), 0), coalesce(sum(NOT is_ok), 0), coalesce(sum(duration_s), 0.0), "
            "coalesce(sum(input_tokens), 0), coalesce(sum(cached_tokens), 0), coalesce(sum(output_tokens), 0), "
            "coalesce(sum(reasoning_tokens), 0) FROM lines WHERE batch_id = ?",
            batch_id,
        )[0]
        return Tally(num_total=row[0], num_ok=row[1], num_failed=row[2], work_s=row[3], usage=Usage(*row[4:]))

    def unfinished(self) -> list[Batch]:
        """Return the batches that something is still to happen to, the oldest first."""
        return [batch for batch in reversed(self.batches()) if not batch.status.is_final]

    def _bodies(self, type_: type[_T], sql: str, *values: object) -> list[_T]:
        return [msgspec.json.decode(row[0], type=type_) for row in self.rows(sql, *values)]
