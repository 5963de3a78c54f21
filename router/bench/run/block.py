"""One contestant's block: it is loaded, warmed, measured for some rounds, and in its first block its answers are tried.

Not here: who is next (`runner`).
"""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Final

import httpx
import msgspec

from backends.machine.current import current_platform
from registry.bench_record import BenchContestant, BenchSample
from router.bench.events import BenchProgress, BenchSampled, BenchStep
from router.bench.machine.energy import EnergyMeter
from router.bench.machine.server_facts import (
    foreign_context_length,
    foreign_pids,
    foreign_sees,
    num_requests,
    tokens_of,
    workers_of,
)
from router.bench.machine.watch import Stretch, StretchWatch
from router.bench.plan.look import why_foreign_not_seen
from router.bench.plan.options import BenchOptions
from router.bench.plan.scenarios import Scenario, why_skipped
from router.bench.plan.schedule import first_block_s
from router.bench.plan.texts import generator, prose
from router.bench.run.measurements import Measurements
from router.bench.run.measurer import Measurer
from router.bench.run.quality import QualityReading, qualities_of, read_quality
from router.bench.run.residence import Residence

USUAL_CHARS_PER_TOKEN: Final = 4.6
"""Of the prose here, for servers that do not tokenize."""

QUALITY_SHARE: Final = 0.15
"""Of the time box, for trying answers."""

_SAMPLE_CHARS: Final = 8000
_LONGER: Final = 4.5
"""A prompt of four times the length takes a bit more than four times as long: attention grows."""


@dataclasses.dataclass(slots=True, kw_only=True)
class RunState:
    """What the blocks of one run share; owned by the run's task.

    Attributes:
        described: The contestants, as far as they are known.
        started_at: When the run began, monotonic.
        skipped: Scenarios that are not run, and why.
        chars_per_token: Of the prose here, with the first contestant's tokenizer; None = not measured yet.
        share: Of the run that was told to be done.
    """

    options: BenchOptions
    http: httpx.AsyncClient
    measurements: Measurements
    residence: Residence
    meter: EnergyMeter | None
    on_event: Callable[[BenchProgress], None]
    described: list[BenchContestant]
    started_at: float = dataclasses.field(default_factory=time.monotonic)
    skipped: dict[str, str] = dataclasses.field(default_factory=dict)
    stretches: list[Stretch] = dataclasses.field(default_factory=list)
    readings: dict[int, QualityReading] = dataclasses.field(default_factory=dict)
    chars_per_token: float | None = None
    share: float = 0.0

    @property
    def box_s(self) -> float:
        """The time box."""
        return self.options.minutes * 60

    @property
    def elapsed_s(self) -> float:
        """Since the run began."""
        return time.monotonic() - self.started_at

    def tell(self, what: str) -> None:
        """Say what comes next."""
        self.share = max(self.share, min(0.99, self.elapsed_s / self.box_s))
        self.on_event(BenchStep(what=what, share=round(self.share, 4)))

    def chars_of(self, num_tokens: int) -> int:
        """Return how many characters of prose have about so many tokens."""
        return round(num_tokens * (self.chars_per_token or USUAL_CHARS_PER_TOKEN))

    def change(self, index: int, **changes: object) -> None:
        """Write down what is now known of a contestant."""
        self.described[index] = msgspec.structs.replace(self.described[index], **changes)

    def skip(self, scenario: str, reason: str) -> None:
        """Leave a scenario out, for all contestants."""
        self.skipped[scenario] = reason
        self.measurements.drop(scenario)


async def run_block(
    run: RunState, measurer: Measurer, scenarios: Sequence[Scenario], rounds: range, cycle: int
) -> str | None:
    """Measure one contestant for some rounds.

    Args:
        scenarios: What is measured; the first cycle may leave some out.
        cycle: Its number, from 0.

    Returns:
        Why the contestant cannot be measured at all; None = it was.
    """
    label = measurer.contestant.label
    run.tell(f"{label}: getting ready")
    error = await run.residence.enter(measurer)
    if error is not None:
        _note_failure(run, measurer, scenarios, rounds[0], error)
        return error
    pids = await _note_facts(run, measurer)
    measurer.context_length = run.described[measurer.index].context_length
    await _leave_out_unseen(run, measurer, scenarios)
    if run.chars_per_token is None:
        await _measure_token_length(run, measurer)
    wanted = [scenario for scenario in scenarios if _is_fitting(run, measurer.index, scenario)]
    for scenario in wanted:
        await measurer.warm_up_for(scenario, run.chars_of)
    num_others = await num_requests(run.http)
    watch, energy_j = StretchWatch(measurer.index, pids), _energy_j(run)
    try:
        await _run_rounds(run, measurer, wanted, rounds, cycle)
    finally:
        run.stretches.append(watch.end(num_others))
        _note_peaks(run, measurer.index, pids, energy_j)
    if cycle == 0 and run.options.quality:
        run.tell(f"{label}: comparing answers")
        await _note_quality(run, measurer)
    return None


async def _run_rounds(
    run: RunState, measurer: Measurer, scenarios: Sequence[Scenario], rounds: range, cycle: int
) -> None:
    began_at = time.monotonic()
    for number in rounds:
        for scenario in scenarios:
            if cycle == 0 and not _may_begin(run, measurer, scenario, time.monotonic() - began_at):
                run.skip(scenario.name, f"takes too long for a time box of {run.options.minutes:g} minutes")
                continue
            run.tell(f"{measurer.contestant.label}: {scenario.name}, round {number + 1}")
            started_at = time.monotonic()
            samples = await _round_of(run, measurer, scenario, number)
            run.measurements.add_round(measurer.index, scenario.name, number, samples, time.monotonic() - started_at)
            _note_threads(run, measurer.index, samples)
            for sample in samples:
                if sample.talk is None or sample.recall is not None or sample.error is not None:
                    run.on_event(_sampled(measurer, sample))


async def _round_of(run: RunState, measurer: Measurer, scenario: Scenario, number: int) -> tuple[BenchSample, ...]:
    if scenario.num_talk_turns is None:
        return await measurer.round_of(scenario, number, run.chars_of)
    where = f"{measurer.contestant.label}: {scenario.name}, round {number + 1}"
    return await measurer.talks_of(scenario, number, run.chars_of, lambda what: run.tell(f"{where}: {what}"))


def _note_threads(run: RunState, index: int, samples: Sequence[BenchSample]) -> None:
    known = [run.described[index].least_threads, *(sample.least_threads for sample in samples)]
    run.change(index, least_threads=min((each for each in known if each is not None), default=None))


def _may_begin(run: RunState, measurer: Measurer, scenario: Scenario, used_s: float) -> bool:
    """Tell whether a scenario may begin in the first cycle, where nothing is known of what it takes."""
    left_s = first_block_s(run.box_s, len(run.described)) - used_s
    expected_s = 0.0
    if scenario.num_prompt_tokens is not None:
        shorter = run.measurements.cost_s(measurer.index, "long-prompt-2k")
        expected_s = 0.0 if shorter is None else shorter * _LONGER
    return expected_s < left_s


def _sampled(measurer: Measurer, sample: BenchSample) -> BenchSampled:
    total_ms = sample.total_ms
    rate = None if not total_ms else round(sample.num_output_tokens / total_ms * 1000, 2)
    return BenchSampled(
        contestant=measurer.contestant.label,
        scenario=sample.scenario,
        round=sample.round,
        ttft_ms=sample.ttft_ms,
        tokens_per_s=rate,
        error=sample.error,
    )


def _note_failure(run: RunState, measurer: Measurer, scenarios: Sequence[Scenario], number: int, error: str) -> None:
    for scenario in scenarios:
        if scenario.name in run.skipped:
            continue
        sample = measurer.failed(scenario, number, error, time.monotonic())
        run.measurements.add_round(measurer.index, scenario.name, number, [sample], 0.0)
        run.on_event(_sampled(measurer, sample))


async def _note_facts(run: RunState, measurer: Measurer) -> tuple[int, ...] | None:
    """Write down what the contestant's server says of it; return its processes, None = not known."""
    contestant, index = measurer.contestant, measurer.index
    if contestant.is_foreign:
        if run.described[index].context_length is None:
            run.change(index, context_length=await foreign_context_length(measurer.http, contestant.model))
        return foreign_pids(measurer.http)
    facts = run.residence.facts
    workers = [] if facts is None else workers_of(facts, contestant.engine)
    if facts is None or not workers:
        return None
    worker = workers[0]
    run.change(
        index,
        context_length=worker.context_length,
        draft=None if worker.draft is None or worker.draft.why_not is not None else worker.draft.model,
        devices=tuple(worker.devices),
        engine_versions=worker.engine_versions,
        features=worker.features,
        num_threads=worker.num_threads,
        are_threads_held=measurer.holds_threads,
    )
    return (facts.pid, *(each.pid for each in workers if each.pid is not None))


async def _leave_out_unseen(run: RunState, measurer: Measurer, scenarios: Sequence[Scenario]) -> None:
    """Leave pictures out that a foreign server cannot be shown; of ours that is known before the run."""
    contestant = measurer.contestant
    asked = [scenario.name for scenario in scenarios if scenario.has_image and scenario.name not in run.skipped]
    if not asked or not contestant.is_foreign:
        return
    sees = await foreign_sees(measurer.http, contestant.model)
    for name in asked:
        reason = why_foreign_not_seen(contestant.label, sees=sees, is_named=name in run.options.scenarios)
        if reason is not None:
            run.skip(name, reason)


async def _measure_token_length(run: RunState, measurer: Measurer) -> None:
    """Find out how many characters of our prose make a token."""
    text = prose(generator(run.options.seed, "ruler"), _SAMPLE_CHARS)
    tokens = await tokens_of(measurer.http, text, model=measurer.contestant.model, headers=measurer.headers)
    run.chars_per_token = len(text) / len(tokens) if tokens else USUAL_CHARS_PER_TOKEN


def _is_fitting(run: RunState, index: int, scenario: Scenario) -> bool:
    if scenario.name in run.skipped:
        return False
    reason = why_skipped(scenario, run.described[index].context_length)
    if reason is not None:
        run.skip(scenario.name, reason)
    return reason is None


def _energy_j(run: RunState) -> float | None:
    return None if run.meter is None else run.meter.read_j()


def _note_peaks(run: RunState, index: int, pids: tuple[int, ...] | None, energy_j: float | None) -> None:
    """Write down the worker's memory and the energy of the block; a foreign server's first process is no gateway."""
    known = run.described[index]
    workers = (pids or ()) if known.url is not None else (pids or ())[1:]
    peaks = [peak for pid in workers if (peak := current_platform().peak_bytes_of(pid)) is not None]
    now_j = _energy_j(run)
    changes: dict[str, object] = {}
    if peaks:
        changes["peak_memory_bytes"] = max(sum(peaks), known.peak_memory_bytes or 0)
    if now_j is not None and energy_j is not None:
        changes["energy_j"] = (known.energy_j or 0.0) + now_j - energy_j
    run.change(index, **changes)


async def _note_quality(run: RunState, measurer: Measurer) -> None:
    time_s = QUALITY_SHARE * run.box_s / len(run.described)
    contestant = measurer.contestant
    run.readings[measurer.index] = await read_quality(measurer.http, contestant.model, measurer.headers, time_s=time_s)
    for index, quality in qualities_of(run.readings).items():
        run.change(index, quality=quality)
