"""A run on a terminal: who won, what to know of the comparison, and the figures with bars. Not here: the words."""

import string
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from registry.bench_record import BenchRecord
from router.bench.figures.figures import KINDS_BY_NAME, SIDE_KINDS
from router.bench.figures.summary import BenchSummary, ContestantFigures, ScenarioSummary, summarize
from router.bench.report.amounts import NOT_MEASURED, amount, duration, moment, plain, spread
from router.bench.report.words import contestant_facts, headline, label, machine_words, quality_sentence
from router.bench.report.words import scenario_sentences as sentences_of

LETTERS: Final = string.ascii_uppercase
COLOURS: Final = ("cyan", "yellow", "magenta", "green", "blue", "red")
BAR_WIDTH: Final = 8
"""Characters of a full bar; twice that on a wide terminal."""

WIDE: Final = 110
"""Columns from which the less important figures are shown as well."""

LEGEND: Final = (
    "reads: prompt tokens that were computed; writes: tokens of one answer after its first; answers: tokens over the "
    "whole wait, all streams together. Medians of the rounds; ± is the farther end of the 95 % interval."
)

_BLOCKS: Final = " ▏▎▍▌▋▊▉█"
_ALWAYS: Final = ("ttft_p50_ms", "prefill_tokens_per_s", "decode_tokens_per_s", "effective_tokens_per_s")
_IF_WIDE: Final = ("ttft_p95_ms", "gap_p99_ms")
_TITLES: Final = {
    "ttft_p50_ms": "first token",
    "prefill_tokens_per_s": "reads tok/s",
    "decode_tokens_per_s": "writes tok/s",
    "effective_tokens_per_s": "answers tok/s",
    "ttft_p95_ms": "first, p95",
    "gap_p99_ms": "gaps, p99",
}


def print_report(record: BenchRecord, console: Console) -> None:
    """Print a run.

    Args:
        console: Where; its width decides how much is shown.
    """
    summary = summarize(record)
    _print_head(record, summary, console)
    _print_notices(record, console)
    for scenario in summary.scenarios:
        if scenario.skipped is None:
            _print_scenario(record, scenario, console)
    _print_not_run(record, summary, console)
    _print_sides(record, summary, console)
    for number in range(len(record.contestants)):
        if (sentence := quality_sentence(record, number)) is not None:
            console.print(Text(sentence))
    console.print(Text(LEGEND, style="dim"))
    if console.width < WIDE:
        console.print(Text("A wider terminal, --html, --csv and --json show more figures.", style="dim"))


def _print_head(record: BenchRecord, summary: BenchSummary, console: Console) -> None:
    console.print(Text(f"{plain(record.model)}: {headline(record, summary)}", style="bold"))
    rounds = f"{record.repeats} rounds in {duration(record.duration_s)}"
    cut = "" if record.is_complete else ", stopped before all was measured"
    facts = f"{record.bench_id}, {moment(record.created_at)}, {rounds}{cut}, mlxr {plain(record.version)}"
    console.print(Text(facts, style="dim"))
    console.print(Text(machine_words(record), style="dim"))
    for number, contestant in enumerate(record.contestants):
        known = dict(contestant_facts(contestant))
        words = [known[name] for name in ("weights", "size of weights", "libraries", "context", "URL") if name in known]
        line = Text.assemble((_lettered(record, number), _colour(number)), f"  {', '.join(words)}")
        console.print(line)


def _print_notices(record: BenchRecord, console: Console) -> None:
    for notice in record.notices:
        where = "" if notice.scenario is None else f"{plain(notice.scenario)}: "
        word, style = ("Void", "bold red") if notice.is_void else ("Note", "yellow")
        console.print(Text.assemble((f"{word}: ", style), f"{where}{plain(notice.message)}"))


def _print_scenario(record: BenchRecord, scenario: ScenarioSummary, console: Console) -> None:
    console.print()
    console.print(Text.assemble((plain(scenario.name), "bold"), f"  {plain(scenario.what)}"))
    console.print(_figures_table(record, scenario, is_wide=console.width >= WIDE))
    for sentence in sentences_of(record, scenario):
        console.print(Text(f"→ {sentence}"))


def _print_not_run(record: BenchRecord, summary: BenchSummary, console: Console) -> None:
    skipped = [scenario for scenario in summary.scenarios if scenario.skipped is not None]
    if skipped:
        console.print()
    for scenario in skipped:
        words = " ".join(sentences_of(record, scenario))
        console.print(Text.assemble((plain(scenario.name), "bold"), f"  {words}"))


def _figures_table(record: BenchRecord, scenario: ScenarioSummary, *, is_wide: bool) -> Table:
    names = (*_ALWAYS, *(_IF_WIDE if is_wide else ()))
    table = Table(box=None, padding=(0, 1), show_edge=False, header_style="dim")
    table.add_column("", no_wrap=True, max_width=26 if is_wide else 13, overflow="ellipsis")
    for name in names:
        table.add_column(_TITLES[name], justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    values = [one.figures["effective_tokens_per_s"].value or 0.0 for one in scenario.contestants]
    for one in scenario.contestants:
        share = values[one.contestant] / max(values) if max(values) > 0 else 0.0
        table.add_row(
            Text(_lettered(record, one.contestant), style=_colour(one.contestant)),
            *(_cell(one, name) for name in names),
            Text(bar(share, BAR_WIDTH * (1 + is_wide)), style=_colour(one.contestant)),
        )
    return table


def _cell(one: ContestantFigures, name: str) -> Text:
    figure = one.figures[name]
    if figure.value is None:
        return Text(NOT_MEASURED, style="dim")
    style = "bold" if figure.verdict == "faster" else ""
    words = amount(KINDS_BY_NAME[name], figure.value).removesuffix(" tok/s")
    return Text.assemble((words, style), (f" {spread(figure)}".rstrip(), "dim"))


def bar(share: float, width: int) -> str:
    """Draw a bar of block characters.

    Args:
        share: 0 to 1.

    Returns:
        As many characters as the share needs; at least a sliver for what is above 0.
    """
    eighths = max(round(share * width * 8), 1 if share > 0 else 0)
    return "█" * (eighths // 8) + (_BLOCKS[eighths % 8] if eighths % 8 else "")


def _print_sides(record: BenchRecord, summary: BenchSummary, console: Console) -> None:
    kinds = [kind for kind in SIDE_KINDS if any(side.figures[kind.name].value is not None for side in summary.sides)]
    if not kinds:
        return
    table = Table(box=None, padding=(0, 1), show_edge=False, header_style="dim")
    table.add_column("", no_wrap=True)
    for number in range(len(record.contestants)):
        table.add_column(_lettered(record, number), justify="right", header_style=_colour(number))
    for kind in kinds:
        table.add_row(kind.title, *(Text(amount(kind, side.figures[kind.name].value)) for side in summary.sides))
    console.print()
    console.print(table)


def _lettered(record: BenchRecord, contestant: int) -> str:
    """Name a contestant so that it is known even when its label is cut off."""
    return f"{LETTERS[contestant % len(LETTERS)]} {label(record, contestant)}"


def _colour(contestant: int) -> str:
    return COLOURS[contestant % len(COLOURS)]
