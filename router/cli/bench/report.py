"""`mlxr bench show`, `diff`, `history` and `delete`: the runs that there are. Not here: measuring one (`run.py`)."""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from rich.console import Console

from registry.bench_record import BenchRecord
from registry.store import Registry
from registry.store.benches import BenchHead
from router.bench.figures.diff import diff_runs
from router.bench.figures.summary import summed_up
from router.bench.report.amounts import moment
from router.bench.report.page import as_page
from router.bench.report.tables import as_csv, as_markdown
from router.bench.report.terminal import print_diff, print_report
from router.cli.terminal.catalogue import open_registry, open_registry_for_reading
from router.cli.terminal.context import CommandError, current_paths
from router.cli.terminal.options import ALL_FIELDS, json_option
from router.cli.terminal.output import has_colour, plural, print_json, print_table, shown
from router.cli.terminal.verbs import argument, option, verb

NUM_SHOWN = 30
"""Runs in a list without --all."""

NUM_ALL = 100_000

_F = TypeVar("_F", bound=Callable[..., Any])

_run_argument = partial(argument, metavar="ID", help="As `mlxr bench history` shows it, or its beginning.")


def form_options(function: _F) -> _F:
    """Declare in which form a run is reported; what the user chose goes to `check_form` and `report`."""
    function = option("--html", metavar="FILE", help="Write a page with plots as well.")(function)
    function = option("--markdown", "is_markdown", is_flag=True, help="Print Markdown.")(function)
    function = option("--csv", "is_csv", is_flag=True, help="Print one line per figure.")(function)
    return json_option("Print every sample and the summary as JSON.")(function)


def check_form(*, is_json: bool, is_csv: bool, is_markdown: bool, html: str | None) -> None:
    """See that at most one form was asked for on stdout.

    Raises:
        CommandError: There are several.
    """
    del html
    if is_json + is_csv + is_markdown > 1:
        raise CommandError("Choose one of --json, --csv and --markdown.", exit_code=2)


def report(record: BenchRecord, *, is_json: bool, is_csv: bool, is_markdown: bool, html: str | None) -> None:
    """Print a run on stdout, for people or in the form that was asked for; write it as an HTML page before, if wanted.

    Raises:
        OSError: The page cannot be written.
    """
    if html is not None:
        path = Path(html).expanduser()
        path.write_text(as_page(record), encoding="utf-8")
        print(f"The report is in {shown(path)}.", file=sys.stderr)
    if is_json:
        print_json(msgspec.to_builtins(summed_up(record)))
    elif is_csv:
        print(as_csv(record), end="")
    elif is_markdown:
        print(as_markdown(record), end="")
    else:
        print_report(record, _terminal())


@verb
@argument("run_id", required=False, metavar="ID", help="Without it the newest run.")
@form_options
def show(run_id: str | None, **form: Any) -> None:
    """Show a run.

    Examples: `mlxr bench show`, `mlxr bench show b-1f3a9c --html report.html`.
    """
    check_form(**form)
    report(_run(run_id), **form)


@verb
@_run_argument("before")
@_run_argument("after")
@option("--all", "show_all", is_flag=True, help="Also figures that did not change.")
@json_option(ALL_FIELDS)
def diff(before: str, after: str, show_all: bool, is_json: bool) -> None:
    """Say what got slower or faster from one run to the other beyond the intervals, and what else differs.

    Example: `mlxr bench diff b-1f3a9c b-20c4d7`.
    """
    found = diff_runs(_run(before), _run(after))
    if is_json:
        print_json(found)
    else:
        print_diff(found, _terminal(), show_all=show_all)


def _run(run_id: str | None) -> BenchRecord:
    with open_registry_for_reading(current_paths()) as registry:
        if run_id is not None:
            return registry.benches.get(run_id)
        newest = registry.benches.list(source="bench", limit=1)
        if not newest:
            raise CommandError("There are no runs yet; `mlxr bench MODEL` measures one.")
        return registry.benches.get(newest[0].bench_id)


def _terminal() -> Console:
    """Give what reports are printed on: stdout, with colour where that is possible."""
    return Console(no_color=not has_colour(), highlight=False, markup=False, emoji=False)


@verb
@argument("model", required=False, help="Model or alias, also one that is gone; without it all.")
@option("--all", "show_all", is_flag=True, help="Also older runs, and repeated requests of users.")
@json_option(ALL_FIELDS)
def history(model: str | None, show_all: bool, is_json: bool) -> None:
    """List runs, newest first.

    Examples: `mlxr bench history smollm2-135m-instruct`, `mlxr bench history --all --json`.
    """
    with open_registry_for_reading(current_paths()) as registry:
        name = None if model is None else _model_name(registry, model)
        source, limit = (None, NUM_ALL) if show_all else ("bench", NUM_SHOWN)
        found = registry.benches.list(name, source=source, limit=limit)
    if is_json:
        print_json(found)
    elif found:
        print_table(("ID", "WHEN", "MODEL", "CONTESTANTS", "ROUNDS", "REQUESTS", "MLXR", "NOTES"), _rows(found))
    else:
        what = "There are no runs." if model is None else f"There are no runs of {name}."
        print(f"{what} `mlxr bench {model or 'MODEL'}` measures one.")


def _rows(found: tuple[BenchHead, ...]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for head in found:
        notes = [
            *(["void"] if head.is_void else []),
            *([] if head.is_complete else ["stopped early"]),
            *([f"{head.num_failed} failed"] if head.num_failed else []),
            *([] if head.source == "bench" else [head.source]),
        ]
        contestants = " : ".join(head.labels)
        cells = (head.bench_id, moment(head.created_at), head.model, contestants, head.repeats, head.num_samples)
        rows.append((*cells, head.version, ", ".join(notes)))
    return rows


@verb
@argument("run_id", required=False, metavar="ID", help="The run, or its beginning.")
@option("--model", metavar="NAME", help="All runs of this model instead.")
@json_option(ALL_FIELDS)
def delete(run_id: str | None, model: str | None, is_json: bool) -> None:
    """Forget a run, or all runs of a model; nothing else forgets those of a model that is removed.

    Examples: `mlxr bench delete b-1f3a9c`, `mlxr bench delete --model smollm2-135m-instruct`.
    """
    if (run_id is None) == (model is None):
        raise CommandError("Name one run, or a model with --model.", exit_code=2)
    with open_registry(current_paths()) as registry:
        if run_id is not None:
            what, num_deleted = registry.benches.delete(run_id), 1
        else:
            what = _model_name(registry, str(model))
            num_deleted = registry.benches.delete_all(what)
    if is_json:
        print_json({"deleted": what, "num_deleted": num_deleted})
    else:
        print(f"{what}: {plural(num_deleted, 'run')} deleted.")


def _model_name(registry: Registry, name: str) -> str:
    """Follow an alias; a name that no model has stays, because runs outlive their model."""
    model = registry.models.find(name)
    return name if model is None else model.name
