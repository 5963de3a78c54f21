"""The benchmark's runs: kept as they were measured, listed by a light head, bounded per model. Not here: measuring."""

import zlib
from typing import Final

import msgspec

from registry.bench_record import BenchRecord
from registry.errors import BenchNotFoundError, RegistryCorruptError
from registry.store.database import Part

MAX_RUNS: Final = 200
"""Runs kept of one model and source; the oldest go."""

MAX_BYTES: Final = 32_000_000
"""Of all runs of one model and source, compressed; the oldest go. A run of six scenarios takes some 20 kB."""

_RECORDS: Final = msgspec.json.Decoder(BenchRecord)


class BenchHead(msgspec.Struct, frozen=True, kw_only=True):
    """What a list shows of a run.

    Attributes:
        model: Registry name of the first contestant's model.
        created_at: Seconds since 1970, when it began.
        source: `bench` or `shadow`.
        is_complete: False = it was stopped, or ran out of time.
        is_void: Whether a notice says that the comparison means nothing.
        engines: Of the contestants; None = a server by URL.
        num_failed: Those of them without an answer.
    """

    bench_id: str
    model: str
    created_at: float
    duration_s: float
    version: str
    machine_id: str
    source: str = "bench"
    repeats: int = 0
    is_complete: bool = True
    is_void: bool = False
    labels: tuple[str, ...] = ()
    engines: tuple[str | None, ...] = ()
    scenarios: tuple[str, ...] = ()
    num_samples: int = 0
    num_failed: int = 0


_HEADS: Final = msgspec.json.Decoder(BenchHead)


class Benches(Part):
    """The runs of the benchmark; they outlive their model.

    `bench_id` is a run's name, or a beginning that only it has; a method that is given another one raises a
    BenchNotFoundError. Where `owner` is asked for, only the runs of that key are looked at.
    """

    def add(self, record: BenchRecord, *, owner: str | None = None) -> BenchHead:
        """Keep a run; the oldest of its model and source go when there are too many. One of the same id is replaced.

        Args:
            owner: Id of the key that it belongs to; None = the server's owner.
        """
        head = _head_of(record)
        with self._write():
            self._put(
                "benches",
                bench_id=record.bench_id,
                model=record.model,
                created_at=record.created_at,
                source=record.source,
                head=msgspec.json.encode(head).decode(),
                record=zlib.compress(msgspec.json.encode(record)),
                owner=owner,
            )
            self._drop_oldest(record.model, record.source)
        return head

    def get(self, bench_id: str, *, owner: str | None = None) -> BenchRecord:
        """Give one run with all its samples, under its model's name of now. What a newer mlxr added is left out."""
        with self._read():
            full_id = self._full_id(bench_id, owner)
            ((model, packed),) = self._rows("SELECT model, record FROM benches WHERE bench_id = ?", full_id)
        try:
            return msgspec.structs.replace(_RECORDS.decode(zlib.decompress(packed)), model=model)
        except (zlib.error, msgspec.DecodeError) as exc:
            advice = f"`mlxr bench delete {full_id}` takes it away"
            raise RegistryCorruptError(
                f"The run {full_id} in the catalogue {self._database.path} cannot be read; {advice}."
            ) from exc

    def list(
        self, model: str | None = None, *, source: str | None = None, limit: int = 50, owner: str | None = None
    ) -> tuple[BenchHead, ...]:
        """List runs, newest first, without their samples.

        Args:
            model: Its name, not an alias; also of a model that is gone. None = of all.
            source: `bench` or `shadow`; None = both.
        """
        rows = self._rows(
            "SELECT model, head FROM benches WHERE (?1 IS NULL OR model = ?1) AND (?2 IS NULL OR source = ?2) "
            "AND (?4 IS NULL OR owner = ?4) ORDER BY created_at DESC, bench_id LIMIT ?3",
            model,
            source,
            limit,
            owner,
        )
        return tuple(msgspec.structs.replace(_HEADS.decode(head), model=name) for name, head in rows)

    def delete(self, bench_id: str) -> str:
        """Forget a run; return its whole name."""
        with self._write():
            full_id = self._full_id(bench_id)
            self._rows("DELETE FROM benches WHERE bench_id = ?", full_id)
        return full_id

    def delete_all(self, model: str) -> int:
        """Forget all runs of a model, also of one that is gone; return how many."""
        return len(self._rows("DELETE FROM benches WHERE model = ? RETURNING bench_id", model))

    # --- inside a transaction -------------------------------------------------------------------------------------

    def _full_id(self, beginning: str, owner: str | None = None) -> str:
        """Find the only run whose name is this, or begins so."""
        rows = self._rows(
            "SELECT bench_id FROM benches WHERE substr(bench_id, 1, length(?1)) = ?1 AND (?2 IS NULL OR owner = ?2) "
            "ORDER BY bench_id <> ?1 LIMIT 2",
            beginning,
            owner,
        )
        if not beginning or not rows:
            raise BenchNotFoundError(f"There is no run {beginning!r}; `mlxr bench history` lists them.")
        if rows[0][0] != beginning and len(rows) > 1:
            raise BenchNotFoundError(f"Several runs begin with {beginning!r}, e.g. {rows[0][0]} and {rows[1][0]}.")
        full_id: str = rows[0][0]
        return full_id

    def _drop_oldest(self, model: str, source: str) -> None:
        """Keep the newest within the limits; the one that was just written stays whatever its size."""
        self._rows(
            "DELETE FROM benches WHERE bench_id IN (SELECT bench_id FROM (SELECT bench_id, "
            "ROW_NUMBER() OVER newest AS place, SUM(LENGTH(record)) OVER newest AS total FROM benches "
            "WHERE model = ? AND source = ? WINDOW newest AS (ORDER BY created_at DESC, bench_id)) "
            "WHERE place > ? OR (place > 1 AND total > ?))",
            model,
            source,
            MAX_RUNS,
            MAX_BYTES,
        )


def _head_of(record: BenchRecord) -> BenchHead:
    return BenchHead(
        bench_id=record.bench_id,
        model=record.model,
        created_at=record.created_at,
        duration_s=record.duration_s,
        version=record.version,
        machine_id=record.machine.machine_id,
        source=record.source,
        repeats=record.repeats,
        is_complete=record.is_complete,
        is_void=any(notice.is_void for notice in record.notices),
        labels=tuple(contestant.label for contestant in record.contestants),
        engines=tuple(contestant.engine for contestant in record.contestants),
        scenarios=tuple(scenario.name for scenario in record.scenarios if scenario.skipped is None),
        num_samples=len(record.samples),
        num_failed=sum(sample.error is not None for sample in record.samples),
    )
