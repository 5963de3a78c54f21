"""`mlxr scenario …`: run the small programs of `examples/`, which show what the router does and check that it did.

They stand above the router, as a user's own programs do, and are found by name when the verb is called. Not here: what
they do (`examples/`).
"""

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click

from router.cli.client.batches import BatchClient
from router.cli.terminal.context import CommandError, current_paths
from router.cli.terminal.options import json_option
from router.cli.terminal.output import print_json, print_table, shown_answer
from router.cli.terminal.server import instance_or_error
from router.cli.terminal.verbs import argument, option, verb

EXIT_FAILED: Final = 1
EXIT_MISSING: Final = 77
"""What a scenario needs is not here. Source: GNU Automake manual, "Scripts-based Testsuites": 77 = skipped."""

MAX_WORKERS: Final = 64


@verb
@json_option("Print JSON, with where each program lies.")
def list_scenarios(is_json: bool) -> None:
    """List the scenarios, what each needs and what it shows.

    Examples: `mlxr scenario list`, `mlxr scenario list --json`.
    """
    catalogue = import_module("examples.catalogue")
    found = [(catalogue.scenario_of(name), catalogue.module_file(name)) for name in catalogue.NAMES]
    if is_json:
        fields = ("name", "summary", "takes")
        print_json(
            [
                {field: getattr(each, field) for field in fields} | {"needs": each.needs.words, "path": str(path)}
                for each, path in found
            ]
        )
        return
    print_table(("NAME", "NEEDS", "WHAT"), [(each.name, each.needs.words or None, each.summary) for each, _ in found])
    print(f"\nEach is a small program in {catalogue.FOLDER}: copy one, change it, `mlxr scenario run COPY.py`.")


@verb
@argument("name", help="As `mlxr scenario list` has it, or a changed copy: a .py file.")
@option("--model", metavar="NAME", help="Model or NAME@ENGINE; else the bundled one, or one that will do.")
@option(
    "--workers",
    type=click.IntRange(1, MAX_WORKERS),
    metavar="N",
    help="Processes that are to have the model; 2 where the scenario is about two, else as it is set.",
)
@option("--input", "given", type=click.Path(exists=True, path_type=Path), metavar="PATH", help="Instead of its own.")
@option("--seed", type=int, default=0, metavar="N", help="What is drawn is drawn from it.")
@json_option("Print one JSON document of the run, and nothing else.")
def run(name: str, model: str | None, workers: int | None, given: Path | None, seed: int, is_json: bool) -> int:
    """Run a scenario on the running server, and check what the router did.

    What the model says is not judged. Exit code 0: all checks hold; 1: one does not, or it failed; 77: what it needs is
    not here, and a sentence says what.

    Examples: `mlxr scenario run single-shot`, `mlxr scenario run burst --workers 3`,
    `mlxr scenario run latency --model smollm2-135m-instruct@mlx --json`, `mlxr scenario run ./my_burst.py`.
    """
    catalogue, needs = import_module("examples.catalogue"), import_module("examples.stage.needs")
    try:
        scenario = catalogue.find_scenario(name)
    except catalogue.UnknownScenarioError as exc:
        raise CommandError(str(exc), exit_code=2) from exc
    if given is not None and scenario.takes is None:
        raise CommandError(f"--input: {scenario.name} takes none.", exit_code=2)
    with BatchClient(instance_or_error(current_paths())) as client:
        teller = _Silent() if is_json else _Printing()
        try:
            stage = import_module("examples.stage.setting").stage_for(
                scenario, client, teller, model=model, num_workers=workers, given=given, seed=seed
            )
            outcome = import_module("examples.stage.scenario").perform(scenario, stage)
        except needs.MissingError as exc:
            raise CommandError(f"{scenario.name} cannot be run here: {exc}", exit_code=EXIT_MISSING) from exc
    if is_json:
        print_json(outcome)
    elif not outcome.holds:
        num_failed = sum(not check.holds for check in outcome.checks)
        print(f"{num_failed} of {len(outcome.checks)} checks do not hold.")
    else:
        print(f"All {len(outcome.checks)} checks hold; {outcome.seconds:.1f} s.")
    return 0 if outcome.holds else EXIT_FAILED


class _Printing:
    """Prints as it comes."""

    def say(self, text: str) -> None:
        print(shown_answer(text), flush=True)

    def table(self, head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        print_table(head, rows)


class _Silent:
    """Leaves the output to the one document."""

    def say(self, text: str) -> None:
        """Say nothing."""

    def table(self, head: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Show nothing."""
