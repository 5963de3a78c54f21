"""`mlxr bench history` and `delete`: the runs that there are. Not here: showing one (`report.py`)."""

from registry.store import Registry
from registry.store.benches import BenchHead
from router.bench.report.amounts import moment
from router.cli.terminal.catalogue import open_registry, open_registry_for_reading
from router.cli.terminal.context import CommandError, current_paths
from router.cli.terminal.options import ALL_FIELDS, json_option
from router.cli.terminal.output import plural, print_json, print_table
from router.cli.terminal.verbs import argument, option, verb

NUM_SHOWN = 30
"""Runs in a list without --all."""

NUM_ALL = 100_000


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
