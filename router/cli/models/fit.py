"""`mlxr models fit`: what a model takes per engine, and whether this machine has it. The report is `fit_report`'s."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from msgspec import to_builtins

from registry.catalogue import Artifact
from registry.settings import VisionMode
from router.cli.terminal.catalogue import open_registry_for_reading
from router.cli.terminal.context import CommandError, check_engine, current_paths, read_config
from router.cli.terminal.options import engine_option, json_option, model_argument
from router.cli.terminal.output import print_facts, print_json, print_table, size
from router.cli.terminal.verbs import option, verb
from router.errors import InvalidRequestError
from router.placement.fit_report import EngineFit, FitWishes, artifacts_for, fit_of
from router.placement.memory import MemoryBudget, read_budget, this_machine

EXIT_DOES_NOT_FIT = 1


@verb
@model_argument("Model or alias, perhaps with +ADAPTER.")
@option("--ctx", type=click.IntRange(1), metavar="N", help="Tokens of one request.")
@option("--parallel", type=click.IntRange(1), metavar="N", help="Requests at a time.")
@option("--kv", metavar="TYPE", help="KV cache on llamacpp, e.g. q8_0.")
@engine_option("mlx or llamacpp only.")
@json_option()
def fit(name: str, ctx: int | None, parallel: int | None, kv: str | None, engine: str | None, is_json: bool) -> int:
    """Tell how much memory a model takes on each engine, and whether that is there. Exit code 1: it fits on none.

    What the options leave open is as the model's settings and the config have it.

    Examples: `mlxr models fit qwen3-4b`, `mlxr models fit qwen3-4b --ctx 32768 --parallel 4 --kv q8_0`.
    """
    check_engine(engine)
    paths = current_paths()
    wishes = _wishes(ctx, parallel, kv)
    with open_registry_for_reading(paths) as registry:
        base, plus, adapter = name.partition("+")
        model = registry.models.get(base)
        draft = None if model.settings.draft is None else registry.models.find(model.settings.draft)
    artifacts = artifacts_for(model, adapter if plus else None, engine)
    if not artifacts:
        raise CommandError(f"{name} has no usable artifact{f' for {engine}' if engine else ''}.")
    budget = read_budget(paths.working_set_file)
    found = fit_of(
        model,
        artifacts,
        wishes,
        config=read_config(paths),
        machine=this_machine(),
        budget=budget,
        adapter=adapter if plus else None,
        draft=draft,
    )
    lines = [line for item in artifacts for line in _vision_lines(item, model.settings.vision)]
    if is_json:
        print_json({"model": found.model, "total_bytes": budget.total_bytes, "engines": to_builtins(found.engines)})
    else:
        _print(found.engines, budget, lines)
    return 0 if found.fits else EXIT_DOES_NOT_FIT


def _wishes(ctx: int | None, parallel: int | None, kv: str | None) -> FitWishes:
    try:
        return FitWishes(context_length=ctx, parallel=parallel, kv_type=kv)
    except InvalidRequestError as exc:
        raise CommandError(f"{exc}.", exit_code=2) from exc


def _vision_lines(artifact: Artifact, mode: VisionMode | None) -> Iterator[tuple[str, str]]:
    """Tell what a model sees with on an engine, or why not; nothing of models that have nothing to see with."""
    vision, reason = artifact.vision, artifact.text_only_reason
    if vision is None:
        return
    if reason is None and mode == "off":
        reason = "it is set to vision: off"
    tower = "its own tower" if artifact.mmproj_path is None else Path(artifact.mmproj_path).name
    words = f"pictures, with {tower} ({size(vision.size_bytes)})" if reason is None else f"no pictures: {reason}"
    yield f"on {artifact.engine} it sees", words


def _print(reports: Sequence[EngineFit], budget: MemoryBudget, lines: list[tuple[str, str]]) -> None:
    head = (
        "ENGINE",
        "CONTEXT",
        "WEIGHTS",
        "KV CACHE",
        "VISION",
        "DRAFT",
        "BUFFERS",
        "NEEDS",
        "KEPT CACHES",
        "AVAILABLE",
        "FITS",
        "UP TO",
    )
    print_table(head, [_row(report) for report in reports])
    print()
    print_facts(
        [
            *lines,
            ("memory", f"{size(budget.total_bytes)}, {size(budget.available_bytes)} available"),
            ("wired limit", size(budget.wired_limit_bytes)),
            ("kept caches", "of ended answers, at most; the config's cache.slots: 0 turns them off"),
        ]
    )


def _row(fit: EngineFit) -> tuple[object, ...]:
    vision, draft = fit.vision_bytes, fit.draft_bytes
    verdict = "yes" if fit.fits_with_kept_caches else "tight" if fit.fits_with_draft else "no"
    if verdict == "no" and fit.fits:
        verdict = "without draft"
    return (
        fit.engine,
        fit.context_length,
        size(fit.weights_bytes),
        size(fit.kv_bytes),
        size(vision) if vision else None,
        size(draft) if draft else None,
        size(fit.buffers_bytes),
        size(fit.required_bytes),
        size(fit.kept_bytes),
        size(fit.available_bytes),
        verdict,
        fit.largest_context,
    )
