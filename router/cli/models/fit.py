"""`mlxr models fit`: what a model takes per engine, and whether this machine has it. The sums are `memory_need`'s."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from msgspec import to_builtins
from msgspec.structs import replace

from backends.wire.load import LoadSpec, kv_types_of
from registry.catalogue import Artifact, Model
from registry.checksums.verification import read_facts
from registry.engines import EngineKind
from registry.errors import ArtifactError
from registry.settings import VisionMode
from router.cli.terminal.catalogue import open_registry_for_reading
from router.cli.terminal.context import CommandError, check_engine, current_paths, read_config
from router.cli.terminal.options import engine_option, json_option, model_argument
from router.cli.terminal.output import print_facts, print_json, print_table, size
from router.cli.terminal.verbs import option, verb
from router.models.adapters import facts_with, find_adapters
from router.models.draft import draft_source, draft_spec
from router.models.load_settings import load_settings_of
from router.placement.context import planned_spec
from router.placement.fit import largest_context
from router.placement.memory import Machine, MemoryBudget, read_budget, this_machine
from router.placement.memory_need import KV_ELEMENT_BYTES, draft_bytes, memory_need
from router.placement.vision_need import counted_side_px

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
    with open_registry_for_reading(paths) as registry:
        base, plus, adapter = name.partition("+")
        model = registry.models.get(base)
        draft_name = model.settings.draft
        draft = None if draft_name is None else registry.models.find(draft_name)
    artifacts = [item for item in model.artifacts if engine in {None, item.engine} and item.status == "ok"]
    artifacts = [_with_memory_facts(item) for item in artifacts]
    if plus:
        artifacts = _under_adapter(model, adapter, artifacts)
    if not artifacts:
        raise CommandError(f"{name} has no usable artifact{f' for {engine}' if engine else ''}.")
    config, machine, load = read_config(paths), this_machine(), load_settings_of(model.settings)
    budget = read_budget(paths.working_set_file)
    specs = [planned_spec(item, config, load, machine=machine, budget=budget) for item in artifacts]
    reports = [
        _report(item, _wanted(spec, ctx, parallel, kv), machine, budget, counted_side_px(config.images), draft)
        for item, spec in zip(artifacts, specs, strict=True)
    ]
    lines = [line for item in artifacts for line in _vision_lines(item, load.vision)]
    if is_json:
        print_json({"model": model.name + plus + adapter, "total_bytes": budget.total_bytes, "engines": reports})
    else:
        _print(reports, budget, lines)
    return 0 if any(report["fits"] for report in reports) else EXIT_DOES_NOT_FIT


def _with_memory_facts(artifact: Artifact) -> Artifact:
    """Read the files again where an older mlxr left out what memory depends on; what cannot be read is estimated."""
    if artifact.facts.memory is not None:
        return artifact
    try:
        return replace(artifact, facts=read_facts(artifact))
    except ArtifactError:
        return artifact


def _under_adapter(model: Model, name: str, artifacts: list[Artifact]) -> list[Artifact]:
    """Give the artifacts that an adapter of this name can change, with its weights among theirs."""
    adapters = find_adapters(model, name)
    return [
        replace(item, facts=facts_with(item.facts, adapters[item.engine]))
        for item in artifacts
        if item.engine in adapters
    ]


def _wanted(spec: LoadSpec, ctx: int | None, parallel: int | None, kv: str | None) -> LoadSpec:
    """Put the command line's options over the model's settings and the config."""
    if kv is not None and not KV_ELEMENT_BYTES.keys() >= set(kv_types_of(kv)):
        choice = f"choose {', '.join(KV_ELEMENT_BYTES)}, or two of them like q8_0/q4_0"
        raise CommandError(f"There is no KV type {kv!r}; {choice}.", exit_code=2)
    return replace(
        spec,
        context_length=ctx or spec.context_length,
        max_sequences=parallel or spec.max_sequences,
        kv_cells=None if ctx else spec.kv_cells,
        kv_type=kv or spec.kv_type,
    )


def _report(
    artifact: Artifact,
    spec: LoadSpec,
    machine: Machine,
    budget: MemoryBudget,
    image_side_px: int,
    draft: Model | None,
) -> dict[str, Any]:
    alone = memory_need(artifact.facts, spec, machine, image_side_px=image_side_px)
    need = replace(alone, draft_bytes=_draft_bytes(spec, machine, draft))
    available = budget.available_for(artifact.engine)
    report: dict[str, Any] = to_builtins(need)
    return report | {
        "required_bytes": need.required_bytes,
        "total_bytes": need.total_bytes,
        "available_bytes": available,
        "fits": alone.required_bytes <= available,
        "fits_with_draft": need.required_bytes <= available,
        "fits_with_kept_caches": need.total_bytes <= available,
        "largest_context": largest_context(
            artifact.facts, spec, machine, free_bytes=available, image_side_px=image_side_px
        ),
        "parallel": spec.max_sequences,
        "sees": spec.vision is not None,
        "projector": artifact.mmproj_path,
    }


def _draft_bytes(spec: LoadSpec, machine: Machine, draft: Model | None) -> int:
    """Return what the model takes that would be loaded to draft, 0 without one."""
    artifact = None if draft is None else draft.artifact_for(EngineKind.LLAMACPP)
    if spec.draft is None or draft is None or artifact is None:
        return 0
    spec = replace(spec, draft=draft_spec(draft_source(draft.name, draft), spec))
    return draft_bytes(_with_memory_facts(artifact).facts, spec, machine)


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


def _print(reports: list[dict[str, Any]], budget: MemoryBudget, lines: list[tuple[str, str]]) -> None:
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


def _row(report: dict[str, Any]) -> tuple[object, ...]:
    vision, draft = report["vision_bytes"], report["draft_bytes"]
    buffers = report["required_bytes"] - report["weights_bytes"] - report["kv_bytes"] - vision - draft
    verdict = "yes" if report["fits_with_kept_caches"] else "tight" if report["fits_with_draft"] else "no"
    if verdict == "no" and report["fits"]:
        verdict = "without draft"
    return (
        report["engine"],
        report["context_length"],
        size(report["weights_bytes"]),
        size(report["kv_bytes"]),
        size(vision) if vision else None,
        size(draft) if draft else None,
        size(buffers),
        size(report["required_bytes"]),
        size(report["kept_bytes"]),
        size(report["available_bytes"]),
        verdict,
        report["largest_context"],
    )
