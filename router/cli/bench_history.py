"""`mlxr bench history`, `show` and `diff`: runs that were measured before. Not here: measuring (`bench.py`)."""

import typer


def register(bench: typer.Typer) -> None:
    """Add the verbs."""
    del bench  # they come with the store of runs
