"""Runs on a terminal: one, with who won and bars beside the figures; two, held against each other.

Not here: the words.
"""

from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from registry.bench_record import BenchRecord, TalkWay
from router.bench.figures.diff import BenchDiff, DiffRow
from router.bench.figures.figures import KINDS_BY_NAME, TALK_WAYS
from router.bench.figures.summary import BenchSummary, ContestantFigures, ScenarioSummary, summarize
from router.bench.report.amounts import NOT_MEASURED, amount, digits, plain, spread
from router.bench.report.words import (
    WHAT_PICTURES_ARE,
    contestant_facts,
    has_pictures,
    headline,
    is_decisions,
    is_talk,
    label,
    letter,
    machine_words,
    measured_sides,
    notice_words,
    quality_sentences,
    run_words,
    scenario_sentences,
)

MAX_FACT_CHARS: Final = 60
"""Of what differs between two runs; the rest is cut off."""

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
_WITH_PICTURES: Final = ("encode_ms", "rows_per_s", "ttft_p50_ms", "ttft_again_ms")
_WITH_PICTURES_IF_WIDE: Final = ("decode_tokens_per_s", "effective_tokens_per_s")
_TITLES: Final = {
    "ttft_p50_ms": "first token",
    "prefill_tokens_per_s": "reads tok/s",
    "decode_tokens_per_s": "writes tok/s",
    "effective_tokens_per_s": "answers tok/s",
    "ttft_p95_ms": "first, p95",
    "gap_p99_ms": "gaps, p99",
    "encode_ms": "picture",
    "rows_per_s": "rows/s",
    "ttft_again_ms": "first, again",
}
_WAYS: Final[dict[TalkWay, str]] = {"wind": "wound", "truncated": "cut", "full": "whole"}
_OF_TALKS: Final = {
    "recall_percent": "recalled",
    "outdated_percent": "in an old form",
    "turn_tokens": "prompt",
    "turn_p50_ms": "a turn",
    "turn_p95_ms": "a turn, p95",
}


_OF_DECISIONS: Final = {
    "decisions_p50_ms": "a state",
    "agreement_percent": "as the first",
    "difference_percent": "apart, mean",
    "difference_most_percent": "apart, most",
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
    for sentence in quality_sentences(record):
        console.print(Text(sentence))
    console.print(Text(LEGEND, style="dim"))
    if any(map(has_pictures, summary.scenarios)):
        console.print(Text(WHAT_PICTURES_ARE, style="dim"))
    if console.width < WIDE:
        console.print(Text("A wider terminal, --html, --csv and --json show more figures.", style="dim"))


def _print_head(record: BenchRecord, summary: BenchSummary, console: Console) -> None:
    console.print(Text(f"{plain(record.model)}: {headline(record, summary)}", style="bold"))
    console.print(Text(run_words(record), style="dim"))
    console.print(Text(machine_words(record), style="dim"))
    for number, contestant in enumerate(record.contestants):
        known = dict(contestant_facts(contestant))
        words = [known[name] for name in ("weights", "size of weights", "libraries", "context", "URL") if name in known]
        line = Text.assemble((_lettered(record, number), _colour(number)), f"  {', '.join(words)}")
        console.print(line)


def _print_notices(record: BenchRecord, console: Console) -> None:
    for notice in record.notices:
        word, style = ("Void", "bold red") if notice.is_void else ("Note", "yellow")
        console.print(Text.assemble((f"{word}: ", style), notice_words(notice)))


def _print_scenario(record: BenchRecord, scenario: ScenarioSummary, console: Console) -> None:
    console.print()
    console.print(Text.assemble((plain(scenario.name), "bold"), f"  {plain(scenario.what)}"))
    special = _talks_table if is_talk(scenario) else _decisions_table if is_decisions(scenario) else None
    table = special or _figures_table
    console.print(table(record, scenario, is_wide=console.width >= WIDE))
    for sentence in scenario_sentences(record, scenario):
        console.print(Text(f"→ {sentence}"))


def _print_not_run(record: BenchRecord, summary: BenchSummary, console: Console) -> None:
    skipped = [scenario for scenario in summary.scenarios if scenario.skipped is not None]
    if skipped:
        console.print()
    for scenario in skipped:
        words = " ".join(scenario_sentences(record, scenario))
        console.print(Text.assemble((plain(scenario.name), "bold"), f"  {words}"))


def _figures_table(record: BenchRecord, scenario: ScenarioSummary, *, is_wide: bool) -> Table:
    narrow, wide = (_WITH_PICTURES, _WITH_PICTURES_IF_WIDE) if has_pictures(scenario) else (_ALWAYS, _IF_WIDE)
    names = (*narrow, *(wide if is_wide else ()))
    table = _table()
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


def _talks_table(record: BenchRecord, scenario: ScenarioSummary, *, is_wide: bool) -> Table:
    """Show a row for each way in which a contestant held the talks."""
    table = _table()
    table.add_column("", no_wrap=True, max_width=26 if is_wide else 13, overflow="ellipsis")
    for title in ("the talk", *_OF_TALKS.values()):
        table.add_column(title, justify="right", no_wrap=True)
    for one in scenario.contestants:
        for way in TALK_WAYS:
            cells = [_cell(one, f"{way}_{name}") for name in _OF_TALKS]
            if any(one.figures[f"{way}_{name}"].num for name in _OF_TALKS):
                name = Text(_lettered(record, one.contestant), style=_colour(one.contestant))
                table.add_row(name, _WAYS[way], *cells)
    return table


def _decisions_table(record: BenchRecord, scenario: ScenarioSummary, *, is_wide: bool) -> Table:
    table = _table()
    table.add_column("", no_wrap=True, max_width=26 if is_wide else 13, overflow="ellipsis")
    for title in _OF_DECISIONS.values():
        table.add_column(title, justify="right", no_wrap=True)
    for one in scenario.contestants:
        name = Text(_lettered(record, one.contestant), style=_colour(one.contestant))
        table.add_row(name, *(_cell(one, each) for each in _OF_DECISIONS))
    return table


def _cell(one: ContestantFigures, name: str) -> Text:
    figure = one.figures[name]
    if figure.value is None:
        return Text(NOT_MEASURED, style="dim")
    style = "bold" if figure.verdict == "faster" else ""
    words = amount(KINDS_BY_NAME[name], figure.value).removesuffix(" tok/s").removesuffix(" rows/s")
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
    kinds = measured_sides(summary)
    if not kinds:
        return
    table = _table()
    table.add_column("", no_wrap=True)
    for number in range(len(record.contestants)):
        table.add_column(_lettered(record, number), justify="right", header_style=_colour(number))
    for kind in kinds:
        table.add_row(kind.title, *(Text(amount(kind, side.figures[kind.name].value)) for side in summary.sides))
    console.print()
    console.print(table)


def _lettered(record: BenchRecord, contestant: int) -> str:
    """Name a contestant so that it is known even when its label is cut off."""
    return f"{letter(contestant)} {label(record, contestant)}"


def _colour(contestant: int) -> str:
    return COLOURS[contestant % len(COLOURS)]


def print_diff(diff: BenchDiff, console: Console, *, show_all: bool = False) -> None:
    """Print what changed from one run to the next.

    Args:
        show_all: Also the figures that did not change.
    """
    console.print(Text(f"{diff.before_id} → {diff.after_id}: {conclusion(diff)}", style="bold"))
    for sentence in diff.unmatched:
        console.print(Text(f"Note: {plain(sentence)}", style="yellow"))
    for item in diff.differences:
        words = f"{_short(item.before)} → {_short(item.after)}"
        console.print(Text.assemble(("Differs: ", "yellow"), f"{plain(item.what)}: {words}"))
    rows = [row for row in diff.rows if show_all or row.verdict in {"faster", "slower"}]
    if rows:
        console.print()
        console.print(_changes_table(rows))


def conclusion(diff: BenchDiff) -> str:
    """Say in one sentence what changed."""
    slower = sum(row.verdict == "slower" for row in diff.rows)
    faster = sum(row.verdict == "faster" for row in diff.rows)
    same = sum(row.verdict == "no difference" for row in diff.rows)
    if not slower + faster + same:
        return "nothing can be compared; three rounds of a scenario that both have are needed."
    words = f"{slower} of {slower + faster + same} figures got slower, {faster} faster, {same} show no difference"
    if not diff.is_same_machine:
        return f"{words}; the machines differ, so this says nothing about a regression."
    return f"{words}; what is slower is a regression beyond its 99 % interval." if slower else f"{words}."


def _changes_table(rows: list[DiffRow]) -> Table:
    table = _table()
    for title in ("scenario", "contestant", "figure"):
        table.add_column(title)
    for title in ("before", "after", "times as much"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("")
    for row in rows:
        kind = KINDS_BY_NAME[row.figure]
        table.add_row(
            plain(row.scenario or "loading"),
            Text(plain(row.contestant)),
            kind.title,
            amount(kind, row.before),
            amount(kind, row.after),
            ratio_words(row),
            Text(row.verdict or "too few", style={"slower": "red", "faster": "green"}.get(row.verdict or "", "dim")),
        )
    return table


def ratio_words(row: DiffRow) -> str:
    """Write the ratio with its interval, e.g. `0.82 (0.79 to 0.85)`."""
    if row.ratio is None:
        return NOT_MEASURED
    return f"{digits(row.ratio.mid)} ({digits(row.ratio.low)} to {digits(row.ratio.high)})"


def _short(text: str | None) -> str:
    if text is None:
        return NOT_MEASURED
    safe = plain(text)
    return safe if len(safe) <= MAX_FACT_CHARS else f"{safe[: MAX_FACT_CHARS - 3]}..."


def _table() -> Table:
    return Table(box=None, padding=(0, 1), show_edge=False, header_style="dim")
