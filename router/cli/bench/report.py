"""Printing a run in the form that was asked for; `mlxr bench MODEL` and `mlxr bench show` do it alike. Not a verb."""

import sys
from pathlib import Path

import msgspec
from rich.console import Console

from registry.bench_record import BenchRecord
from router.bench.figures.summary import summed_up
from router.bench.report.page import as_page
from router.bench.report.tables import as_csv, as_markdown
from router.bench.report.terminal import print_report
from router.cli.terminal.context import CommandError
from router.cli.terminal.output import has_colour, print_json, shown


def check_forms(*, is_json: bool, is_csv: bool, is_markdown: bool) -> None:
    """See that at most one form was asked for on stdout.

    Args:
        is_csv: `--csv`.

    Raises:
        CommandError: There are several.
    """
    if is_json + is_csv + is_markdown > 1:
        raise CommandError("Choose one of --json, --csv and --markdown.", exit_code=2)


def print_run(record: BenchRecord, *, is_json: bool = False, is_csv: bool = False, is_markdown: bool = False) -> None:
    """Print a run on stdout: as a report for people, or in the form that was asked for.

    Args:
        is_csv: One line per figure.
    """
    if is_json:
        print_json(msgspec.to_builtins(summed_up(record)))
    elif is_csv:
        print(as_csv(record), end="")
    elif is_markdown:
        print(as_markdown(record), end="")
    else:
        print_report(record, terminal())


def write_page(record: BenchRecord, file: str) -> None:
    """Write a run as one HTML page that needs nothing else, and say where it is on stderr.

    Args:
        file: Where; a file that is there is replaced.

    Raises:
        OSError: It cannot be written.
    """
    path = Path(file).expanduser()
    path.write_text(as_page(record), encoding="utf-8")
    print(f"The report is in {shown(path)}.", file=sys.stderr)


def terminal() -> Console:
    """Give what reports are printed on: stdout, with colour where that is possible."""
    return Console(no_color=not has_colour(), highlight=False, markup=False, emoji=False)
