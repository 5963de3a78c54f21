"""Two runs held against each other, on a terminal. Not here: what changed (`router.bench.figures.diff`)."""

from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from router.bench.figures.diff import BenchDiff, DiffRow
from router.bench.figures.figures import KINDS_BY_NAME
from router.bench.report.amounts import NOT_MEASURED, amount, digits, plain

MAX_FACT_CHARS: Final = 60


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
        console.print(_table(rows))


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


def _table(rows: list[DiffRow]) -> Table:
    table = Table(box=None, padding=(0, 1), show_edge=False, header_style="dim")
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
