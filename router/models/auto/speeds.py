"""What the benchmark's history says of an engine's speed with one model on this machine. Pure.

Only what can still be true counts: the same files, the same engine versions, the same machine, not too long ago. A rate
is the median over the newest samples of its kind, so that a renewed history replaces an old one at once. What was not
measured is None, never guessed; a prompt length without samples has the figure of the nearest length that has some.
"""

import statistics
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from registry.bench_record import BenchContestant, BenchLoad, BenchRecord, BenchSample
from registry.engines import EngineKind

BUCKET_LIMITS: Final = (128, 512, 2048, 8192)
"""Prompt lengths in tokens; a bucket holds those up to its limit, and one more those above the last."""
NUM_BUCKETS: Final = len(BUCKET_LIMITS) + 1
MAX_AGE_S: Final = 90 * 86_400.0
"""Runs older than this say nothing any more: systems are updated."""
ENOUGH_SAMPLES: Final = 5
"""Samples of one kind after which older runs are left out."""
MIN_PREFILL_TOKENS: Final = 16
"""Computed prompt tokens below which a rate would be that of one step's overhead."""
MIN_DECODE_TOKENS: Final = 8


class EngineState(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine would serve a model with now.

    Attributes:
        engine_versions: Library name to version; a run with others counts no more.
    """

    artifact_version: str
    engine_versions: Mapping[str, str]


class EngineSpeeds(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of one engine with one model; None = not measured.

    Attributes:
        prefill: Computed prompt tokens per second, for each bucket of prompt lengths.
        decode: Answer tokens per second of one sequence, for each bucket of prompt lengths.
        unload_s: From the decision to end it to the memory being back.
        bench_ids: Runs they come from, newest first.
        measured_at: When the newest of them began, seconds since 1970.
    """

    engine: EngineKind
    prefill: tuple[float | None, ...] = (None,) * NUM_BUCKETS
    decode: tuple[float | None, ...] = (None,) * NUM_BUCKETS
    load_s: float | None = None
    unload_s: float | None = None
    num_samples: int = 0
    bench_ids: tuple[str, ...] = ()
    measured_at: float = 0.0


def bucket_of(num_prompt_tokens: int) -> int:
    """Return the index of a prompt length's bucket."""
    return bisect_left(BUCKET_LIMITS, num_prompt_tokens)


def learn(
    records: Iterable[BenchRecord], states: Mapping[EngineKind, EngineState], *, machine_id: str, now: float
) -> dict[EngineKind, EngineSpeeds]:
    """Return what the history says of each engine; engines without any figure are left out.

    Args:
        records: Runs of one model, in any order.
        states: Per engine, what it would serve with now.
        now: Seconds since 1970.
    """
    usable = [
        record
        for record in records
        if record.machine.machine_id == machine_id
        and now - MAX_AGE_S <= record.created_at
        and not any(notice.is_void for notice in record.notices)
    ]
    newest_first = sorted(usable, key=lambda record: record.created_at, reverse=True)
    found = {engine: _Collected(engine, state) for engine, state in states.items()}
    for record in newest_first:
        for collected in found.values():
            collected.add(record)
    return {engine: collected.speeds() for engine, collected in found.items() if collected.bench_ids}


class _Collected:
    """The samples of one engine, newest runs first, until there are enough of each kind."""

    def __init__(self, engine: EngineKind, state: EngineState) -> None:
        self._engine = engine
        self._state = state
        self._prefill: list[list[float]] = [[] for _ in range(NUM_BUCKETS)]
        self._decode: list[list[float]] = [[] for _ in range(NUM_BUCKETS)]
        self._load_s: list[float] = []
        self._unload_s: list[float] = []
        self._num_samples = 0
        self.bench_ids: list[str] = []
        self._measured_at = 0.0

    def add(self, record: BenchRecord) -> None:
        """Take over what a run says of the engine."""
        mine = {index for index, contestant in enumerate(record.contestants) if self._is_mine(contestant)}
        prefill = [[] if len(known) >= ENOUGH_SAMPLES else known for known in self._prefill]
        decode = [[] if len(known) >= ENOUGH_SAMPLES else known for known in self._decode]
        num_used = sum(_add_rates(sample, prefill, decode) for sample in record.samples if sample.contestant in mine)
        num_loads = sum(self._add_load(load) for load in record.loads if load.contestant in mine)
        self._num_samples += num_used
        if num_used or num_loads:
            self.bench_ids.append(record.bench_id)
            self._measured_at = max(self._measured_at, record.created_at)

    def speeds(self) -> EngineSpeeds:
        """Return the medians."""
        return EngineSpeeds(
            engine=self._engine,
            prefill=_filled([_median(samples) for samples in self._prefill]),
            decode=_filled([_median(samples) for samples in self._decode]),
            load_s=_median(self._load_s),
            unload_s=_median(self._unload_s),
            num_samples=self._num_samples,
            bench_ids=tuple(self.bench_ids),
            measured_at=self._measured_at,
        )

    def _is_mine(self, contestant: BenchContestant) -> bool:
        return (
            contestant.engine == self._engine
            and contestant.url is None
            and not contestant.settings
            and contestant.artifact_version == self._state.artifact_version
            and all(
                contestant.engine_versions.get(name, version) == version
                for name, version in self._state.engine_versions.items()
            )
        )

    def _add_load(self, load: BenchLoad) -> bool:
        is_new = False
        for value_ms, samples in ((load.load_ms, self._load_s), (load.unload_ms, self._unload_s)):
            if value_ms is not None and len(samples) < ENOUGH_SAMPLES:
                samples.append(value_ms / 1000)
                is_new = True
        return is_new


def _add_rates(sample: BenchSample, prefill: list[list[float]], decode: list[list[float]]) -> bool:
    """Add what one request says of text; tell whether it said anything.

    Requests beside others say nothing of one alone. With a picture, prefill has the tower's time in it, and rows are no
    text: of such requests nothing is learned.
    """
    if sample.error is not None or sample.num_parallel != 1 or sample.num_prompt_tokens is None:
        return False
    if sample.image is not None:
        return False
    bucket = bucket_of(sample.num_prompt_tokens)
    is_used = False
    num_computed = sample.num_prompt_tokens - (sample.num_cached_tokens or 0)
    if sample.prefill_ms and num_computed >= MIN_PREFILL_TOKENS:
        prefill[bucket].append(num_computed * 1000 / sample.prefill_ms)
        is_used = True
    if sample.decode_ms and sample.num_output_tokens >= MIN_DECODE_TOKENS:
        decode[bucket].append((sample.num_output_tokens - 1) * 1000 / sample.decode_ms)
        is_used = True
    return is_used


def _median(samples: list[float]) -> float | None:
    return statistics.median(samples) if samples else None


def _filled(rates: list[float | None]) -> tuple[float | None, ...]:
    """Give every bucket the figure of the nearest one that has any, of two equally near ones that of the shorter."""
    known = [bucket for bucket, rate in enumerate(rates) if rate is not None]
    if not known:
        return tuple(rates)
    return tuple(rates[min(known, key=lambda other: abs(other - bucket))] for bucket in range(len(rates)))
