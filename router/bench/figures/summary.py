"""Sum a run up: each figure of each contestant with its interval, and how it compares with the first one's. Pure.

A figure's value is the median of its rounds. Contestants are compared within rounds, because these share what the
machine did meanwhile. Not here: what the figures are (`figures.py`) and how they are shown (`report/`).
"""

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Final

import msgspec

from registry.bench_record import BenchLoad, BenchRecord, BenchSample, BenchScenario
from router.bench.figures.figures import (
    ALL_ROUND_FIGURES,
    KINDS_BY_NAME,
    TALK_WAYS,
    Clock,
    answers_of,
    clock_of,
    equal_answers,
    is_agreed,
    opinions_of,
    round_figures_of,
    turns_of,
)
from router.bench.figures.statistics import (
    Interval,
    Verdict,
    median_interval,
    percentile,
    ratio_interval,
    share_interval,
    verdict,
)

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
        figures: Name of the kind to figure; all kinds are there, of a scenario's those with pictures if it has any.
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
        name: Of the figure's kind, a key of `ALL_ROUND_FIGURES`.

    Returns:
        Round to figure, in the kind's unit.
    """
    numbers = sorted({sample.round for sample in samples})
    found = {
        number: ALL_ROUND_FIGURES[name]([sample for sample in samples if sample.round == number], clock)
        for number in numbers
    }
    return {number: value for number, value in found.items() if value is not None}


def side_values(record: BenchRecord, contestant: int, name: str) -> list[float]:
    """List what a contestant's loads gave of a figure, in the kind's unit.

    Args:
        name: `load_s`, `swap_s`, `unload_s` or `freed_bytes`.
    """
    found = [_SIDE_VALUES[name](load) for load in record.loads if load.contestant == contestant]
    return [value for value in found if value is not None]


def _scenario(record: BenchRecord, scenario: BenchScenario) -> ScenarioSummary:
    numbers = range(len(record.contestants))
    answers = [answers_of(record, scenario.name, number) for number in numbers]
    everything = [answer for own in answers for answer in own]
    clock, names = clock_of(everything), round_figures_of(everything)
    rounds = {name: [round_figures(own, name, clock) for own in answers] for name in names}
    requested = [sample.contestant for sample in record.samples if sample.scenario == scenario.name]
    is_void = any(notice.is_void and notice.scenario in {None, scenario.name} for notice in record.notices)
    return ScenarioSummary(
        name=scenario.name,
        what=scenario.what,
        num_parallel=scenario.num_parallel,
        skipped=scenario.skipped,
        is_void=is_void,
        clock=clock,
        contestants=tuple(
            ContestantFigures(
                contestant=number,
                num_answers=len(answers[number]),
                num_failed=requested.count(number) - len(answers[number]),
                figures=_figures(answers[number], number, rounds, record.seed)
                | _equality(answers, number)
                | _talks(answers, number)
                | _decisions(answers, number),
            )
            for number in numbers
        ),
        winner=None if is_void else _winner(rounds[WINNING_FIGURE], record.seed),
    )


def _figures(
    answers: Sequence[BenchSample], contestant: int, rounds: Mapping[str, Sequence[Rounds]], seed: int
) -> dict[str, Figure]:
    figures = {}
    for name in rounds:
        own = rounds[name][contestant]
        is_compared = contestant > 0 and KINDS_BY_NAME[name].is_higher_better is not None
        ratio = _paired_ratio(rounds[name][0], own, seed) if is_compared else None
        figures[name] = _figure(name, list(own.values()), ratio, seed)
    waits = [answer.ttft_ms for answer in answers if answer.ttft_ms is not None and answer.image != "again"]
    return figures | {"ttft_p95_ms": Figure(num=len(waits), value=percentile(waits, 0.95))}


def _equality(answers: Sequence[Sequence[BenchSample]], contestant: int) -> dict[str, Figure]:
    """Say how many of its answers about pictures are those of the first contestant."""
    if all(sample.image is None for own in answers for sample in own):
        return {}
    equal = equal_answers(answers[0], answers[contestant]) if contestant else []
    return {"equal_answers_percent": Figure(num=len(equal), value=100 * sum(equal) / len(equal)) if equal else Figure()}


def _talks(answers: Sequence[Sequence[BenchSample]], contestant: int) -> dict[str, Figure]:
    """Say of each way in which talks were held what was recalled at their ends, and how long slow turns took."""
    if all(sample.talk is None for own in answers for sample in own):
        return {}
    figures: dict[str, Figure] = {}
    for way in TALK_WAYS:
        own = [answer for answer in answers[contestant] if answer.talk == way]
        recalls = [answer.recall for answer in own if answer.recall is not None]
        waits = [turn.total_ms for turn in turns_of(own, way) if turn.total_ms is not None]
        figures[f"{way}_recall_percent"] = _share(recalls.count("right"), len(recalls))
        figures[f"{way}_outdated_percent"] = _share(recalls.count("outdated"), len(recalls))
        figures[f"{way}_turn_p95_ms"] = Figure(num=len(waits), value=percentile(waits, 0.95))
    return figures


def _decisions(answers: Sequence[Sequence[BenchSample]], contestant: int) -> dict[str, Figure]:
    """Say in how many decisions a contestant is of the first one's opinion, and how far their probabilities differ."""
    if all(sample.decisions is None for own in answers for sample in own):
        return {}
    pairs = opinions_of(answers[0], answers[contestant]) if contestant else []
    apart = [100 * abs(ours - theirs) for one, another in pairs for ours, theirs in zip(one, another, strict=True)]
    mean, most = (
        (Figure(), Figure())
        if not apart
        else (Figure(num=len(apart), value=sum(apart) / len(apart)), Figure(num=len(apart), value=max(apart)))
    )
    agreed = sum(is_agreed(one, another) for one, another in pairs)
    return {
        "agreement_percent": _share(agreed, len(pairs)),
        "difference_percent": mean,
        "difference_most_percent": most,
    }


def _share(num: int, of: int) -> Figure:
    share = share_interval(num, of)
    if share is None:
        return Figure()
    interval = Interval(100 * share.low, 100 * share.mid, 100 * share.high)
    return Figure(num=of, value=interval.mid, interval=interval)


def _figure(name: str, values: Sequence[float], ratio: Interval | None, seed: int) -> Figure:
    if not values:
        return Figure()
    return Figure(
        num=len(values),
        value=median(values),
        interval=median_interval(values, seed=seed),
        ratio=ratio,
        verdict=verdict(ratio, is_higher_better=bool(KINDS_BY_NAME[name].is_higher_better)),
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
    figures = {}
    for name in _SIDE_VALUES:
        own, first = side_values(record, contestant, name), side_values(record, 0, name)
        is_compared = contestant > 0 and KINDS_BY_NAME[name].is_higher_better is not None
        ratio = ratio_interval(first, own, seed=record.seed, is_paired=False) if is_compared else None
        figures[name] = _figure(name, own, ratio, record.seed)
    subject = record.contestants[contestant]
    for name, known in (("peak_memory_bytes", subject.peak_memory_bytes), ("energy_j", subject.energy_j)):
        figures[name] = Figure() if known is None else Figure(num=1, value=float(known))
    return ContestantFigures(contestant=contestant, figures=figures)
