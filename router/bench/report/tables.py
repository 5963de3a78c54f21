"""A run as JSON, CSV and Markdown. Not here: the page (`page.py`) and the terminal (`terminal.py`)."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Final

from registry.bench_record import BenchRecord
from router.bench.figures.figures import KINDS_BY_NAME, SIDE_KINDS, FigureKind
from router.bench.figures.summary import BenchSummary, ContestantFigures, Figure, ScenarioSummary, summarize
from router.bench.report.amounts import amount_and_interval, duration, moment, plain
from router.bench.report.words import (
    contestant_facts,
    headline,
    label,
    machine_words,
    notice_words,
    quality_sentences,
    scenario_kinds,
    scenario_sentences,
)

CSV_HEAD: Final = (
    "bench_id",
    "model",
    "scenario",
    "contestant",
    "engine",
    "figure",
    "unit",
    "num",
    "value",
    "low",
    "high",
    "ratio",
    "ratio_low",
    "ratio_high",
    "verdict",
)


def as_csv(record: BenchRecord) -> str:
    """Write one line per figure; an empty field was not measured, an empty scenario stands beside all.

    Returns:
        CSV with a head, as RFC 4180 has it.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(CSV_HEAD)
    summary = summarize(record)
    for scenario in summary.scenarios:
        if scenario.skipped is None:
            for one in scenario.contestants:
                writer.writerows(_csv_rows(record, scenario.name, one.contestant, one.figures))
    for side in summary.sides:
        writer.writerows(_csv_rows(record, "", side.contestant, side.figures))
    return text.getvalue()


def _csv_rows(
    record: BenchRecord, scenario: str, contestant: int, figures: dict[str, Figure]
) -> Iterator[tuple[object, ...]]:
    subject = record.contestants[contestant]
    for kind in KINDS_BY_NAME.values():
        if kind.name not in figures:
            continue
        figure = figures[kind.name]
        interval = (None, None) if figure.interval is None else (figure.interval.low, figure.interval.high)
        ratio = (None,) * 3 if figure.ratio is None else (figure.ratio.mid, figure.ratio.low, figure.ratio.high)
        yield (
            record.bench_id,
            record.model,
            scenario,
            plain(subject.label),
            subject.engine,
            kind.name,
            kind.unit,
            figure.num,
            figure.value,
            *interval,
            *ratio,
            figure.verdict,
        )


def as_markdown(record: BenchRecord) -> str:
    """Write a run for an issue or a wiki."""
    summary = summarize(record)
    return "\n".join(
        [
            *_head(record, summary),
            *(line for one in summary.scenarios for line in _scenario(record, one)),
            *_sides(record, summary),
        ]
    )


def _head(record: BenchRecord, summary: BenchSummary) -> list[str]:
    rounds = f"{record.repeats} rounds in {duration(record.duration_s)}"
    lines = [
        f"# {_escaped(record.model)}",
        "",
        f"**{_escaped(headline(record, summary))}**",
        "",
        f"Run {record.bench_id}, {moment(record.created_at)}, {rounds}, mlxr {_escaped(record.version)}.",
        f"{_escaped(machine_words(record))}.",
        "",
    ]
    if not record.is_complete:
        lines += ["It was stopped before all was measured.", ""]
    for number, contestant in enumerate(record.contestants):
        facts = ", ".join(f"{name} {_escaped(value)}" for name, value in contestant_facts(contestant))
        lines.append(f"- {_escaped(label(record, number))}: {facts}")
    for notice in record.notices:
        lines.append(f"- **{'Void' if notice.is_void else 'Note'}:** {_escaped(notice_words(notice))}")
    return [*lines, ""]


def _scenario(record: BenchRecord, scenario: ScenarioSummary) -> list[str]:
    lines = [f"## {_escaped(scenario.name)}", "", f"{_escaped(scenario.what)}.", ""]
    if scenario.skipped is None:
        lines += _table(record, scenario_kinds(scenario), scenario.contestants)
    return [*lines, *map(_escaped, scenario_sentences(record, scenario)), ""]


def _sides(record: BenchRecord, summary: BenchSummary) -> list[str]:
    quality = [f"- {_escaped(sentence)}" for sentence in quality_sentences(record)]
    return ["## Beside the scenarios", "", *_table(record, SIDE_KINDS, summary.sides), *quality, ""]


def _table(record: BenchRecord, kinds: Sequence[FigureKind], rows: Sequence[ContestantFigures]) -> list[str]:
    lines = [f"| | {' | '.join(kind.title for kind in kinds)} |", f"|---|{'---:|' * len(kinds)}"]
    for one in rows:
        cells = [_escaped(amount_and_interval(kind, one.figures[kind.name])) for kind in kinds]
        lines.append(f"| {_escaped(label(record, one.contestant))} | {' | '.join(cells)} |")
    return [*lines, ""]


def _escaped(text: str) -> str:
    """Make a text plain in Markdown: characters that may begin markup are escaped."""
    return "".join(f"\\{char}" if char in "\\`*_[]<>|#" else char for char in plain(text))
