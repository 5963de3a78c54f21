"""`mlxr bench MODEL`: measure a model on its engines, or anything else that speaks the same API beside it.

The running server is measured; without one, one is started for the run. Not here: the measuring (`router.bench`), the
report (`report.py`), runs of before (`history.py`).
"""

import asyncio
from pathlib import Path
from typing import Any, Final

import click

from registry.bench_record import BenchRecord
from router.bench.plan.contestants import contestants_of
from router.bench.plan.options import BenchOptions
from router.bench.plan.prompts_file import read_prompts
from router.bench.plan.scenarios import chosen_scenarios, unseen_scenarios
from router.bench.run.runner import run_bench
from router.cli.bench.own_server import reached, server_for
from router.cli.bench.progress import BenchPrinter
from router.cli.bench.report import check_form, form_options, report
from router.cli.terminal.catalogue import open_registry
from router.cli.terminal.context import CommandError, current_paths
from router.cli.terminal.verbs import argument, option, verb
from router.errors import BenchError

EXIT_INTERRUPTED: Final = 130
EXIT_FAILURE: Final = 1


@verb
@argument("model", help="Model, alias or NAME@ENGINE.")
@option("--a", metavar="WHO", help="First contestant; the others are held against it.")
@option("--b", metavar="WHO", help="Second contestant.")
@option("--contestant", "--c", "c", multiple=True, metavar="WHO", help="A further one; may be repeated.")
@option("--scenarios", metavar="NAME,...", help="Only these kinds of work.")
@option("--prompts", metavar="FILE", help="Your own prompts: a text, or JSON lines.")
@option("--max-tokens", type=click.IntRange(1, 100_000), default=128, help="Longest answer to your own prompts.")
@option("--repeats", type=click.IntRange(1, 1000), default=5, help="Rounds.")
@option("--minutes", type=click.FloatRange(0.1, 1440), default=5.0, help="When to stop at the latest.")
@option("--parallel", type=click.IntRange(2, 64), default=4, help="Streams of the parallel scenario.")
@option("--seed", type=click.IntRange(0), default=0, help="Of texts, order and statistics.")
@option("--quality/--no-quality", default=True, help="Compare answers and perplexity as well.")
@form_options
def run(
    model: str,
    a: str | None,
    b: str | None,
    c: tuple[str, ...],
    scenarios: str | None,
    prompts: str | None,
    max_tokens: int,
    repeats: int,
    minutes: float,
    parallel: int,
    seed: int,
    quality: bool,
    **form: Any,
) -> int:
    """Measure a model on both engines, and keep the run. Ctrl-C keeps what was measured until then.

    WHO is an engine with settings, another model, or a server by its address. Settings: ctx=, kv=, parallel=, threads=,
    workers=, vision=, speculation=.

    Examples: `mlxr bench smollm2-135m-instruct`,
    `mlxr bench qwen3-4b --a llamacpp --b "llamacpp ctx=4096 kv=q8_0"`,
    `mlxr bench qwen3-4b --b http://127.0.0.1:8080#qwen3 --minutes 20`,
    `mlxr bench qwen3-4b --prompts mine.jsonl --html report.html`,
    `mlxr bench qwen3-4b --scenarios long-talk-120 --repeats 3 --minutes 60`.
    """
    check_form(**form)
    who = tuple(text for text in (a, b, *c) if text is not None)
    try:
        options = BenchOptions(
            model=model,
            contestants=who,
            scenarios=tuple(name.strip() for name in scenarios.split(",") if name.strip()) if scenarios else (),
            prompts=read_prompts(Path(prompts).expanduser()) if prompts is not None else (),
            repeats=repeats,
            minutes=minutes,
            num_parallel=parallel,
            max_tokens=max_tokens,
            seed=seed,
            quality=quality,
        )
        record = _measured(options)
    except BenchError as exc:
        raise CommandError(str(exc), exit_code=2) from exc
    report(record, **form)
    return exit_code_of(record)


def exit_code_of(record: BenchRecord) -> int:
    """Return how the command ends: 1 when a contestant gave no answer at all."""
    answered = {sample.contestant for sample in record.samples if sample.error is None}
    return 0 if answered == set(range(len(record.contestants))) else EXIT_FAILURE


def _measured(options: BenchOptions) -> BenchRecord:
    paths = current_paths()
    with open_registry(paths) as registry:
        # Looked at before a server is started for it.
        contestants = contestants_of(options.model, options.contestants, registry.models.get)
        unseen_scenarios(chosen_scenarios(options), contestants)
        with server_for(paths) as instance, BenchPrinter() as printer:
            record = asyncio.run(
                run_bench(
                    options,
                    server=reached(instance),
                    get_model=registry.models.get,
                    on_event=printer.show,
                )
            )
        if all(scenario.skipped is not None for scenario in record.scenarios):
            reasons = "; ".join(f"{scenario.name}: {scenario.skipped}" for scenario in record.scenarios)
            raise BenchError(f"Nothing could be measured: {reasons}.")
        if not record.samples:
            raise CommandError("The benchmark was stopped before anything was measured.", exit_code=EXIT_INTERRUPTED)
        registry.benches.add(record)
        return record
