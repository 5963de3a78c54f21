"""Sum a run up: each figure of each contestant with its interval, and how it compares with the first one's. Pure.

A figure's value is the median of its rounds. Contestants are compared within rounds, because these share what the
machine did meanwhile. Not here: what the figures are (`figures.py`) and how they are shown (`report/`).
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Final

import msgspec

from registry.bench_record import BenchLoad, BenchRecord, BenchSample, BenchScenario
from router.bench.figures.figures import KINDS_BY_NAME, ROUND_FIGURES, Clock, clock_of
from router.bench.figures.statistics import Interval, Verdict, median_interval, percentile, ratio_interval, verdict

WINNING_FIGURE: Final = "effective_tokens_per_s"
"""What decides who is faster at a scenario: how soon the whole answer is there."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of one contestant.

    Attributes:
        num: Values that it is the median of; 0 = it was not measured.
        value: In the unit of its kind; None = not measured.
        interval: How sure it is; None = too few values, or a figure that has none.
        ratio: How many times the first contestant's it is; None for the first itself, and without an interval.
        verdict: What the ratio says of this contestant.
    """

    num: int = 0
    value: float | None = None
    interval: Interval | None = None
    ratio: Interval | None = None
    verdict: Verdict | None = None


class ContestantFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What one contestant showed.

    Attributes:
        num_failed: Requests that were not.
        figures: Name of the kind to figure; all kinds are there.
    """

    contestant: int
    num_answers: int = 0
    num_failed: int = 0
    figures: dict[str, Figure]


class ScenarioSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One scenario.

    Attributes:
        num_parallel: Requests at once.
        skipped: Why it was not run; None = it was.
        is_void: Whether a notice says that the comparison means nothing here.
        clock: Whose clock the decode rates are of.
        contestants: In the run's order.
        winner: The contestant whose whole answers were faster than every other's, for sure; None = there is none.
    """

    name: str
    what: str
    num_parallel: int = 1
    skipped: str | None = None
    is_void: bool = False
    clock: Clock = "server"
    contestants: tuple[ContestantFigures, ...] = ()
    winner: int | None = None


class BenchSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One run.

    Attributes:
        scenarios: In the run's order.
        sides: Per contestant, what was measured beside the scenarios.
    """

    scenarios: tuple[ScenarioSummary, ...]
    sides: tuple[ContestantFigures, ...]


class BenchRun(BenchRecord, frozen=True, kw_only=True):
    """A run with every sample, and its summary."""

    summary: BenchSummary


Rounds = Mapping[int, float]
"""Round to figure."""


def summed_up(record: BenchRecord) -> BenchRun:
    """Return a run with its summary."""
    return BenchRun(**msgspec.structs.asdict(record), summary=summarize(record))


def summarize(record: BenchRecord) -> BenchSummary:
    """Sum a run up.

    Returns:
        Its summary; the same record always gives the same one.
    """
    return BenchSummary(
        scenarios=tuple(_scenario(record, scenario) for scenario in record.scenarios),
        sides=tuple(_sides(record, contestant) for contestant in range(len(record.contestants))),
    )


def round_figures(samples: Sequence[BenchSample], name: str, clock: Clock) -> dict[int, float]:
    """Give a figure of each round that has it.

    Args:
        samples: Answers of one contestant to one scenario.
        name: Of the figure's kind, a key of `ROUND_FIGURES`.

    Returns:
        Round to figure, in the kind's unit.
    """
    numbers = sorted({sample.round for sample in samples})
    found = {
        number: ROUND_FIGURES[name]([sample for sample in samples if sample.round == number], clock)
        for number in numbers
    }
    return {number: value for number, value in found.items() if value is not None}


def _scenario(record: BenchRecord, scenario: BenchScenario) -> ScenarioSummary:
    samples = [sample for sample in record.samples if sample.scenario == scenario.name]
    answers = [sample for sample in samples if sample.error is None]
    clock = clock_of(answers)
    numbers = range(len(record.contestants))
    rounds = {
        name: [
            round_figures([sample for sample in answers if sample.contestant == contestant], name, clock)
            for contestant in numbers
        ]
        for name in ROUND_FIGURES
    }
    is_void = any(notice.is_void and notice.scenario in {None, scenario.name} for notice in record.notices)
    return ScenarioSummary(
        name=scenario.name,
        what=scenario.what,
        num_parallel=scenario.num_parallel,
        skipped=scenario.skipped,
        is_void=is_void,
        clock=clock,
        contestants=tuple(
            _contestant([sample for sample in samples if sample.contestant == number], number, rounds, record.seed)
            for number in numbers
        ),
        winner=None if is_void else _winner(rounds[WINNING_FIGURE], record.seed),
    )


def _contestant(
    samples: Sequence[BenchSample], contestant: int, rounds: Mapping[str, Sequence[Rounds]], seed: int
) -> ContestantFigures:
    answers = [sample for sample in samples if sample.error is None]
    figures = {}
    for name in ROUND_FIGURES:
        first = None if contestant == 0 else rounds[name][0]
        figures[name] = _figure(name, rounds[name][contestant], first, seed)
    waits = [sample.ttft_ms for sample in answers if sample.ttft_ms is not None]
    figures["ttft_p95_ms"] = Figure(num=len(waits), value=percentile(waits, 0.95))
    return ContestantFigures(
        contestant=contestant,
        num_answers=len(answers),
        num_failed=len(samples) - len(answers),
        figures=figures,
    )


def _figure(name: str, rounds: Rounds, first: Rounds | None, seed: int) -> Figure:
    if not rounds:
        return Figure()
    values = list(rounds.values())
    ratio = None if first is None else _paired_ratio(first, rounds, seed)
    is_higher_better = KINDS_BY_NAME[name].is_higher_better
    assert is_higher_better is not None
    return Figure(
        num=len(values),
        value=median(values),
        interval=median_interval(values, seed=seed),
        ratio=ratio,
        verdict=verdict(ratio, is_higher_better=is_higher_better),
    )


def _paired_ratio(first: Rounds, second: Rounds, seed: int) -> Interval | None:
    shared = sorted(first.keys() & second.keys())
    return ratio_interval([first[number] for number in shared], [second[number] for number in shared], seed=seed)


def _winner(rounds: Sequence[Rounds], seed: int) -> int | None:
    """Find the contestant that is faster than each other one, measured in the rounds that both have."""
    measured = [number for number, figures in enumerate(rounds) if figures]
    if len(measured) < 2:  # noqa: PLR2004 - who is alone has won nothing
        return None
    best = max(measured, key=lambda number: median(rounds[number].values()))
    ratios = [_paired_ratio(rounds[other], rounds[best], seed) for other in measured if other != best]
    return best if all(verdict(ratio, is_higher_better=True) == "faster" for ratio in ratios) else None


_SIDE_VALUES: Mapping[str, Callable[[BenchLoad], float | None]] = {
    "load_s": lambda load: None if load.is_swap or load.load_ms is None else load.load_ms / 1000,
    "swap_s": lambda load: load.load_ms / 1000 if load.is_swap and load.load_ms is not None else None,
    "unload_s": lambda load: None if load.unload_ms is None else load.unload_ms / 1000,
    "freed_bytes": lambda load: None if load.freed_bytes is None else float(load.freed_bytes),
}


def _sides(record: BenchRecord, contestant: int) -> ContestantFigures:
    subject = record.contestants[contestant]
    figures = {
        name: _side_figure(name, _values(record, contestant, value), _values(record, 0, value), contestant, record.seed)
        for name, value in _SIDE_VALUES.items()
    }
    for name, known in (("peak_memory_bytes", subject.peak_memory_bytes), ("energy_j", subject.energy_j)):
        figures[name] = Figure() if known is None else Figure(num=1, value=float(known))
    return ContestantFigures(contestant=contestant, figures=figures)


def _values(record: BenchRecord, contestant: int, value: Callable[[BenchLoad], float | None]) -> list[float]:
    found = [value(load) for load in record.loads if load.contestant == contestant]
    return [number for number in found if number is not None]


def _side_figure(name: str, values: list[float], first: list[float], contestant: int, seed: int) -> Figure:
    if not values:
        return Figure()
    is_higher_better = KINDS_BY_NAME[name].is_higher_better
    is_compared = contestant > 0 and is_higher_better is not None
    ratio = ratio_interval(first, values, seed=seed, is_paired=False) if is_compared else None
    return Figure(
        num=len(values),
        value=median(values),
        interval=median_interval(values, seed=seed),
        ratio=ratio,
        verdict=verdict(ratio, is_higher_better=bool(is_higher_better)),
    )
