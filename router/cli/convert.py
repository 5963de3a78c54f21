"""`mlxr models convert`: make the MLX form of a model. The work is `router.conversion`'s; this asks and prints."""

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from router.cli.context import CommandError, current_paths, open_registry
from router.cli.output import print_json, shown
from router.cli.quick import QuickCommand

if TYPE_CHECKING:
    from registry.catalogue import Model
    from registry.facts import ModelFacts
    from router.conversion import ConversionReport, ConversionWish

ALLOWED_BITS = (2, 3, 4, 5, 6, 8)
ALLOWED_GROUPS = (32, 64, 128)
ALLOWED_DTYPES = ("float16", "bfloat16", "float32")


def register(models: typer.Typer) -> None:
    """Add the verb."""
    models.command("convert", cls=QuickCommand)(convert)


def convert(
    name: Annotated[str, typer.Argument(help="Model or alias.")],
    to: Annotated[str, typer.Option(metavar="FORMAT", help="mlx.")] = "mlx",
    bits: Annotated[int, typer.Option(metavar="N", help="2, 3, 4, 5, 6 or 8.")] = 4,
    group_size: Annotated[int, typer.Option("--group-size", metavar="N", help="32, 64 or 128.")] = 64,
    dtype: Annotated[str | None, typer.Option(metavar="TYPE", help="float16, bfloat16 or float32.")] = None,
    quantize: Annotated[bool, typer.Option(help="Quantize the weights.")] = True,
    new_name: Annotated[str | None, typer.Option("--as", metavar="NAME", help="Model that gets the result.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Keep it whatever the comparison says.")] = False,
    is_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make an MLX folder from a model's GGUF, or a quantized one from a folder of float weights.

    Source and result then read the same text; a result that is too far off is not kept.

    Examples: `mlxr models convert qwen3-4b`, `mlxr models convert qwen3-4b --bits 8 --group-size 32`.
    """
    _check(to, bits, group_size, dtype)
    from router.conversion import ConversionWish

    wish = ConversionWish(bits=bits if quantize else None, group_size=group_size, dtype=dtype, name=new_name)
    result, folder, report = run(name, wish, on_progress=_printer(is_quiet=is_json), is_forced=force)
    if is_json:
        print_json({"model": result.name, "path": folder, "report": report})
        return
    _print_report(report)
    print(f"{result.name}: runs on {' and '.join(result.engines)}; the MLX folder is {shown(folder)}.")


def run(
    name: str, wish: "ConversionWish", *, on_progress: Callable[[str, float | None], None], is_forced: bool = False
) -> "tuple[Model, str, ConversionReport]":
    """Convert a model of the catalogue in this process's children.

    Args:
        name: Model or alias.
        wish: What is to come out.
        on_progress: Told each step, and the share of it that is done.
        is_forced: Keep a result that the comparison speaks against.

    Returns:
        The model that has the result, its folder, and how it compares with its source.

    Raises:
        ConversionError: It cannot be done, or failed.
        RegistryError: There is no such model, or the result cannot be registered.
    """
    from router.conversion import convert as run_conversion
    from router.conversion import plan_conversion
    from router.memory_budget import this_machine
    from router.worker_environment import worker_environment

    paths = current_paths()
    with open_registry(paths) as registry:
        model = registry.get_model(name)
        plan = plan_conversion(registry, model, wish, paths.models_dir, has_metal=this_machine().has_metal)
        result, report = run_conversion(
            registry,
            plan,
            environment=worker_environment(os.environ),
            on_progress=on_progress,
            can_load=_can_load,
            is_forced=is_forced,
        )
    return result, str(plan.folder), report


def _check(to: str, bits: int, group_size: int, dtype: str | None) -> None:
    if to == "gguf":
        raise CommandError(
            "Converting to GGUF is not supported; get the model's GGUF with `mlxr models pull`, or make one with "
            "llama.cpp's convert_hf_to_gguf.py and add it with `mlxr models add`.",
            exit_code=2,
        )
    for option, value, allowed in (
        ("--to", to, ("mlx",)),
        ("--bits", bits, ALLOWED_BITS),
        ("--group-size", group_size, ALLOWED_GROUPS),
        ("--dtype", dtype, (*ALLOWED_DTYPES, None)),
    ):
        if value not in allowed:
            words = ", ".join(str(item) for item in allowed if item is not None)
            raise CommandError(f"{option} {value} is not possible; choose {words}.", exit_code=2)


def _can_load(facts: "ModelFacts") -> bool:
    from registry.memory_fit import FitSettings, check_fit, memory_need
    from router.memory_budget import read_budget, this_machine

    machine = this_machine()
    need = memory_need(facts, FitSettings(context_length=512, parallel=1, keeps_caches=False), machine)
    budget = read_budget(has_metal=machine.has_metal)
    return check_fit(need, available_bytes=budget.available_for(need.engine)).is_fitting


def _printer(*, is_quiet: bool) -> Callable[[str, float | None], None]:
    """Print each step once, and its share in place on a terminal."""
    is_terminal = sys.stderr.isatty()
    last_step: list[str] = []

    def on_progress(step: str, share: float | None) -> None:
        if is_quiet:
            return
        if share is not None and is_terminal:
            print(f"\r{step}: {share:4.0%}", end="" if share < 1 else "\n", file=sys.stderr, flush=True)
        elif last_step[-1:] != [step]:
            print(f"{step} ...", file=sys.stderr, flush=True)
        last_step.append(step)
        del last_step[:-1]

    return on_progress


def _print_report(report: "ConversionReport") -> None:
    parity = report.parity
    if parity is None:
        print(f"Not compared with the source: {report.parity_skipped}.")
        return
    print(
        f"Compared with the source at {parity.num_tokens} places: {parity.agreement:.0%} the same, perplexity "
        f"{parity.perplexity:.2f} (source {parity.source_perplexity:.2f})."
    )
    if not parity.is_same_tokens:
        print("The two tokenizers cut the text differently: answers may differ more than the numbers say.")
