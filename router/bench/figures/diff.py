"""Hold a later run against an earlier one: what got slower or faster, and what else is different. Pure.

A change counts only when the 99 % interval of its ratio does not hold 1. The rounds of two runs share nothing, so the
ratio is one of medians, not of pairs. Not here: how it is shown (`report/terminal.py`).
"""

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final

import msgspec

from registry.bench_record import BenchContestant, BenchRecord
from router.bench.figures.figures import KINDS_BY_NAME, answers_of, clock_of, equal_answers, round_figures_of
from router.bench.figures.statistics import Interval, Verdict, ratio_interval, verdict
from router.bench.figures.summary import round_figures, side_values

LEVEL: Final = 0.99
"""Of the intervals: two runs are compared in dozens of figures, of which 95 % intervals would call one different."""


class DiffRow(msgspec.Struct, frozen=True, kw_only=True):
    """One figure in both runs.

    Attributes:
        scenario: Its name; None = measured beside the scenarios.
        before: In the earlier run; None = not measured.
        after: In the later run; None = not measured.
        ratio: After over before; None = too few values.
    """

    scenario: str | None
    contestant: str
    figure: str
    before: float | None
    after: float | None
    ratio: Interval | None = None
    verdict: Verdict | None = None


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Something else that differs.

    Attributes:
        what: e.g. `mlxr`, `llamacpp: llama-cpp-python`.
        before: In the earlier run; None = not known, or not there.
    """

    what: str
    before: str | None
    after: str | None


class BenchDiff(msgspec.Struct, frozen=True, kw_only=True):
    """Two runs.

    Attributes:
        is_same_machine: Else a slower figure is no regression.
        rows: Each figure that at least one of them has.
        differences: What else differs, and may be the reason.
        unmatched: Contestants and scenarios that only one of them has, a sentence each.
    """

    before_id: str
    after_id: str
    is_same_machine: bool
    rows: tuple[DiffRow, ...]
    differences: tuple[Difference, ...] = ()
    unmatched: tuple[str, ...] = ()


def diff_runs(one: BenchRecord, other: BenchRecord) -> BenchDiff:
    """Hold two runs against each other.

    Args:
        other: Another; whichever began first is the earlier one.
    """
    before, after = sorted((one, other), key=lambda record: record.created_at)
    pairs = _pairs(before.contestants, after.contestants)
    return BenchDiff(
        before_id=before.bench_id,
        after_id=after.bench_id,
        is_same_machine=before.machine.machine_id == after.machine.machine_id,
        rows=tuple(_rows(before, after, pairs)),
        differences=tuple(
            Difference(what=what, before=old, after=new)
            for what, old, new in _facts(before, after, pairs)
            if old != new
        ),
        unmatched=tuple(_unmatched(before, after, pairs)),
    )


def _pairs(before: Sequence[BenchContestant], after: Sequence[BenchContestant]) -> list[tuple[int, int]]:
    """Match contestants: by label, else by what they are, else by their engine alone."""
    found: dict[int, int] = {}
    for key in (
        lambda one: (one.label, one.engine),
        lambda one: (one.engine, one.url, sorted(one.settings.items())),
        lambda one: (one.engine, one.url),
    ):
        for new in range(len(after)):
            same = [
                old for old in range(len(before)) if old not in found.values() and key(before[old]) == key(after[new])
            ]
            if new not in found and same:
                found[new] = same[0]
    return [(old, new) for new, old in sorted(found.items())]


def _rows(before: BenchRecord, after: BenchRecord, pairs: Sequence[tuple[int, int]]) -> Iterator[DiffRow]:
    known = {scenario.name for scenario in before.scenarios}
    for scenario in after.scenarios:
        if scenario.name not in known:
            continue
        for old, new in pairs:
            old_answers, new_answers = answers_of(before, scenario.name, old), answers_of(after, scenario.name, new)
            clock = clock_of([*old_answers, *new_answers])
            for name in round_figures_of([*old_answers, *new_answers]):
                yield _row(
                    scenario.name,
                    after.contestants[new].label,
                    name,
                    list(round_figures(old_answers, name, clock).values()),
                    list(round_figures(new_answers, name, clock).values()),
                    after.seed,
                )
            shares = _equal_share(before, scenario.name, old), _equal_share(after, scenario.name, new)
            if any(shares):
                yield _row(scenario.name, after.contestants[new].label, "equal_answers_percent", *shares, after.seed)
    for old, new in pairs:
        loads = side_values(before, old, "load_s"), side_values(after, new, "load_s")
        yield _row(None, after.contestants[new].label, "load_s", *loads, after.seed)


def _equal_share(record: BenchRecord, scenario: str, contestant: int) -> list[float]:
    """Give how many of its answers are the first contestant's, percent; nothing for the first itself."""
    if contestant == 0:
        return []
    equal = equal_answers(answers_of(record, scenario, 0), answers_of(record, scenario, contestant))
    return [100 * sum(equal) / len(equal)] if equal else []


def _row(
    scenario: str | None, contestant: str, name: str, before: list[float], after: list[float], seed: int
) -> DiffRow:
    ratio = ratio_interval(before, after, seed=seed, level=LEVEL, is_paired=False)
    return DiffRow(
        scenario=scenario,
        contestant=contestant,
        figure=name,
        before=median(before) if before else None,
        after=median(after) if after else None,
        ratio=ratio,
        verdict=verdict(ratio, is_higher_better=bool(KINDS_BY_NAME[name].is_higher_better)),
    )


Fact = tuple[str, str | None, str | None]


def _facts(before: BenchRecord, after: BenchRecord, pairs: Sequence[tuple[int, int]]) -> Iterator[Fact]:
    """Name everything that may be the reason for a change, with its value in both runs."""
    yield "model", before.model, after.model
    yield "mlxr", before.version, after.version
    for name in ("machine_id", "system", "cpu", "num_cores", "memory_bytes"):
        yield name.replace("_", " "), *_texts(before.machine, after.machine, name)
    for name in sorted({notice.code for notice in (*before.notices, *after.notices)}):
        yield f"notice {name}", _first_notice(before, name), _first_notice(after, name)
    old_scenarios = {scenario.name: scenario for scenario in before.scenarios}
    for scenario in after.scenarios:
        for name in ("max_tokens", "num_parallel", "what"):
            if scenario.name in old_scenarios:
                yield f"{scenario.name}: {name}", *_texts(old_scenarios[scenario.name], scenario, name)
    for old, new in pairs:
        yield from _contestant_facts(before.contestants[old], after.contestants[new])


_CONTESTANT_FACTS: Final = (
    "artifact_version",
    "artifact_sha256",
    "artifact_path",
    "quantization",
    "context_length",
    "draft",
    "num_threads",
    "least_threads",
    "are_threads_held",
    "devices",
    "features",
)


def _contestant_facts(before: BenchContestant, after: BenchContestant) -> Iterator[Fact]:
    for name in _CONTESTANT_FACTS:
        yield f"{after.label}: {name}", *_texts(before, after, name)
    for title, old, new in (
        ("", before.engine_versions, after.engine_versions),
        ("setting ", before.settings, after.settings),
    ):
        for key in sorted(old.keys() | new.keys()):
            yield f"{after.label}: {title}{key}", old.get(key), new.get(key)


def _texts(before: object, after: object, name: str) -> tuple[str | None, str | None]:
    old, new = getattr(before, name), getattr(after, name)
    return _text(old), _text(new)


def _text(value: object) -> str | None:
    if value is None:
        return None
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _first_notice(record: BenchRecord, code: str) -> str | None:
    return next((notice.message for notice in record.notices if notice.code == code), None)


def _unmatched(before: BenchRecord, after: BenchRecord, pairs: Sequence[tuple[int, int]]) -> Iterator[str]:
    for record, matched in ((before, {old for old, _ in pairs}), (after, {new for _, new in pairs})):
        for number, contestant in enumerate(record.contestants):
            if number not in matched:
                yield f"Only {record.bench_id} has the contestant {contestant.label}."
    for record, other in ((before, after), (after, before)):
        for name in sorted({item.name for item in record.scenarios} - {item.name for item in other.scenarios}):
            yield f"Only {record.bench_id} has the scenario {name}."
