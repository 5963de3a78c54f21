"""`mlxr bench`: the group. `mlxr bench MODEL` measures; a known verb in MODEL's place looks at runs of before.

Not here: the verbs that look at runs (`bench_history.py`).
"""

from typing import Any, Final

import typer

from router.cli.bench import bench_history, bench_run
from router.cli.terminal.quick import QuickGroup

DEFAULT_VERB: Final = "run"
"""What `mlxr bench MODEL` means: `mlxr bench run MODEL`, which also reaches a model that has a verb's name."""

_HELP_OPTIONS: Final = frozenset({"-h", "--help"})


class BenchGroup(QuickGroup):
    """A group whose first word may be a verb, or else belongs to the default one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default verb before words that begin with none, e.g. `MODEL --repeats 3` or `--a mlx MODEL`."""
        if args and args[0] not in self.commands and args[0] not in _HELP_OPTIONS and DEFAULT_VERB in self.commands:
            args = [DEFAULT_VERB, *args]
        return super().parse_args(ctx, args)


bench = typer.Typer(
    name="bench",
    cls=BenchGroup,
    no_args_is_help=True,
    help="Measure the two engines on the same model, and look at what was measured before.",
    subcommand_metavar="MODEL [OPTIONS] | COMMAND [ARGS]...",
    epilog="Examples: `mlxr bench smollm2-135m-instruct`, `mlxr bench history smollm2-135m-instruct`.",
    rich_markup_mode=None,
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    bench_run.register(bench)
    bench_history.register(bench)
    app.add_typer(bench)
