"""`mlxr models convert`: make the MLX form of a model.

A running server does it, so that closing the terminal stops nothing; without one this process does.
Not here: the work (`router.jobs.convert.steps`), and what the server runs (`router.jobs.conversions`).
"""

import asyncio
import os
import sys
from contextlib import closing
from typing import Any, cast, get_args

from registry.pull.events import Converting, Failed
from router.cli.client.jobs import JobClient
from router.cli.models.conversion_report import parity_words
from router.cli.terminal.catalogue import open_registry
from router.cli.terminal.context import CommandError, current_paths, read_config
from router.cli.terminal.options import json_option, model_argument
from router.cli.terminal.output import print_json, shown
from router.cli.terminal.verbs import option, verb
from router.config.instance import RunningInstance, read_instance
from router.config.paths import Paths
from router.config.roots import models_dir
from router.jobs.conversions import ConversionDone, ConversionStopped, Converter
from router.jobs.convert.progress import OnProgress
from router.jobs.convert.report import Bits, ConversionOptions, ConversionReport, Dtype, GroupSize
from router.workers.launch import worker_environment


@verb
@model_argument()
@option("--to", default="mlx", metavar="FORMAT", help="mlx.")
@option("--bits", type=int, default=4, metavar="N", help="2, 3, 4, 5, 6 or 8.")
@option("--group-size", type=int, default=64, metavar="N", help="32, 64 or 128.")
@option("--dtype", metavar="TYPE", help="float16, bfloat16 or float32.")
@option("--quantize/--no-quantize", default=True, help="Quantize the weights.")
@option("--as", "new_name", metavar="NAME", help="Model that gets the result.")
@option("--force", is_flag=True, help="Keep it whatever the comparison says.")
@option("--cancel", is_flag=True, help="Stop what the server is making of the model.")
@json_option()
def convert(
    name: str,
    to: str,
    bits: int,
    group_size: int,
    dtype: str | None,
    quantize: bool,
    new_name: str | None,
    force: bool,
    cancel: bool,
    is_json: bool,
) -> None:
    """Make an MLX folder from a model's GGUF, or a quantized one from a folder of float weights.

    Source and result then read the same text; a result that is too far off is not kept.

    Examples: `mlxr models convert qwen3-4b`, `mlxr models convert qwen3-4b --bits 8 --group-size 32`.
    """
    _check(to, bits, group_size, dtype)

    paths = current_paths()
    instance = read_instance(paths)
    if cancel:
        _cancel(instance, name)
        return
    options = ConversionOptions(
        bits=cast("Any", bits if quantize else None),
        group_size=cast("Any", group_size),
        dtype=cast("Any", dtype),
        name=new_name,
    )
    on_progress = _printer(is_quiet=is_json)
    if instance is None:
        print("No server runs, so this terminal converts; closing it stops the conversion.", file=sys.stderr)
        done = _convert_here(paths, name, options, on_progress, is_forced=force)
    else:
        done = _convert_by_server(instance, name, options, on_progress, is_forced=force)
    if is_json:
        print_json({"model": done.model, "path": done.path, "report": done.report})
        return
    _print_report(done.report)
    print(f"{done.model}: runs on {' and '.join(done.engines)}; the MLX folder is {shown(done.path)}.")


def _convert_here(
    paths: Paths, name: str, options: ConversionOptions, on_progress: OnProgress, *, is_forced: bool
) -> ConversionDone:
    """Convert in this process's children."""
    open_registry(paths).close()
    converter = Converter(paths.registry_db, models_dir(read_config(paths), paths), worker_environment(os.environ))
    return asyncio.run(converter.convert(name, options, on_progress=on_progress, is_forced=is_forced))


def _convert_by_server(
    instance: RunningInstance, name: str, options: ConversionOptions, on_progress: OnProgress, *, is_forced: bool
) -> ConversionDone:
    """Let the server convert, and watch."""
    with JobClient(instance) as client:
        try:
            with closing(client.convert(name, options, is_forced=is_forced)) as events:
                for event in events:
                    match event:
                        case Converting():
                            on_progress(event)
                        case Failed(message=message):
                            raise CommandError(message)
                        case ConversionStopped(state="cancelled"):
                            raise CommandError("The conversion was cancelled; nothing of it was kept.")
                        case ConversionStopped():
                            raise CommandError("The server was stopped, and the conversion with it; give it again.")
                        case ConversionDone():
                            return event
        except KeyboardInterrupt:
            print(
                "\nThe server goes on with the conversion. The same command follows it again, ", end="", file=sys.stderr
            )
            print(f"`mlxr models convert {name} --cancel` ends it.", file=sys.stderr)
            raise
    raise AssertionError("a stream without its last event raises")


def _cancel(instance: RunningInstance | None, name: str) -> None:
    if instance is None:
        raise CommandError("No server runs; a conversion of a terminal ends with Ctrl-C there.")
    with JobClient(instance) as client:
        client.cancel_conversion(name)
    print(f"The conversion of {shown(name)} was stopped; nothing of it was kept.")


def _check(to: str, bits: int, group_size: int, dtype: str | None) -> None:
    if to == "gguf":
        raise CommandError(
            "Converting to GGUF is not supported; get the model's GGUF with `mlxr models pull`, or make one with "
            "llama.cpp's convert_hf_to_gguf.py and add it with `mlxr models add`.",
            exit_code=2,
        )

    for flag, value, allowed in (
        ("--to", to, ("mlx",)),
        ("--bits", bits, get_args(Bits)),
        ("--group-size", group_size, get_args(GroupSize)),
        ("--dtype", dtype, (*get_args(Dtype), None)),
    ):
        if value not in allowed:
            words = ", ".join(str(item) for item in allowed if item is not None)
            raise CommandError(f"{flag} {value} is not possible; choose {words}.", exit_code=2)


def _printer(*, is_quiet: bool) -> OnProgress:
    """Print each step once, and its share in place on a terminal."""
    is_terminal = sys.stderr.isatty()
    last_step = ""

    def on_progress(event: Converting) -> None:
        nonlocal last_step
        if is_quiet:
            return
        if event.share is not None and is_terminal:
            end = "" if event.share < 1 else "\n"
            print(f"\r{event.step}: {event.share:4.0%}", end=end, file=sys.stderr, flush=True)
        elif last_step != event.step:
            print(f"{event.step} ...", file=sys.stderr, flush=True)
        last_step = event.step

    return on_progress


def _print_report(report: ConversionReport) -> None:
    parity = report.parity
    if report.leaves_vision:
        print("Only the language model was converted: pictures are for the source, the MLX folder is a text model.")
    if parity is None:
        print(f"Not compared with the source: {report.parity_skipped}.")
        return
    print(f"Compared with the source: {parity_words(parity)}.")
    if not parity.is_same_tokens:
        print("With other tokens, answers may differ more than the numbers say.")
