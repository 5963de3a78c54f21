"""What a pull would fetch (`mlxr models pull --dry-run`), and whether disk and memory have room for it."""

from contextlib import AbstractAsyncContextManager
from typing import NamedTuple

import msgspec

from registry.engines import EngineKind
from registry.pull import PlannedPart, PullOptions, PullPlan
from router.cli.terminal.catalogue import open_registry_for_reading
from router.cli.terminal.context import current_paths, read_config
from router.cli.terminal.output import print_facts, print_json, print_table, size
from router.jobs.pulls import Pulls
from router.models.load_settings import load_settings_of
from router.placement.context import planned_spec
from router.placement.memory import read_budget, this_machine
from router.placement.memory_need import memory_need
from router.placement.vision_need import counted_side_px

EXIT_DOES_NOT_FIT = 1

_STATES = {"missing": None, "partial": "a part", "linkable": "the same bytes", "present": "yes"}


async def show_plan(
    opening: AbstractAsyncContextManager[Pulls], reference: str, options: PullOptions, *, is_json: bool
) -> int:
    """Ask the hub, and print what it would be; exit code 1 when the disk has no room for it.

    Raises:
        RegistryError: It cannot be pulled.
    """
    async with opening as pulls:
        plan = await pulls.plan(reference, options)
    if is_json:
        sums = {"total_bytes": plan.total_bytes, "needed_bytes": plan.needed_bytes}
        print_json(msgspec.to_builtins(plan) | sums | {"is_disk_enough": plan.is_disk_enough})
    else:
        _print(plan, pulls)
    return 0 if plan.is_disk_enough else EXIT_DOES_NOT_FIT


def _print(plan: PullPlan, pulls: Pulls) -> None:
    rows = [
        (f"{part.folder}/{file.path}", size(file.size_bytes), _STATES[file.state])
        for part in plan.parts
        for file in part.files
    ]
    print_table(("FILE", "SIZE", "HERE"), rows)
    print()
    disk = "enough" if plan.is_disk_enough else f"not enough: {size(plan.needed_bytes - plan.spare_bytes)} are missing"
    print_facts(
        [
            ("in all", size(plan.total_bytes)),
            ("to fetch", size(plan.needed_bytes)),
            ("disk", f"{disk}; {size(plan.free_bytes)} free, {size(plan.reserve_bytes)} of it stay free"),
            *(("memory", _memory(part, pulls)) for part in plan.parts),
            *(("note", note) for note in plan.notes),
        ]
    )


def _memory(part: PlannedPart, pulls: Pulls) -> str:
    """Say whether a part fits: by its header's facts when it is here, else by its size."""
    fit = fit_of(str(pulls.path_of(part)))
    if fit is not None:
        word = "fits" if fit.is_fitting else "too large for this machine"
        needs = f"{size(fit.required_bytes)} at a context of {fit.context_length} tokens"
        return f"{part.format}: {word}; it needs {needs}, there are {size(fit.limit_bytes)}"
    word = "fits" if part.total_bytes <= pulls.budget_bytes else "too large for this machine"
    return f"{part.format}: {word}; weights of up to {size(pulls.budget_bytes)} do"


class PulledFit(NamedTuple):
    """How an artifact would be loaded.

    Attributes:
        context_length: Tokens, with the config's settings.
        limit_bytes: What this machine has for it when nothing else runs.
    """

    required_bytes: int
    context_length: int
    limit_bytes: int

    @property
    def is_fitting(self) -> bool:
        """Whether it can be loaded at all."""
        return self.required_bytes <= self.limit_bytes


def fit_of(path: str) -> PulledFit | None:
    """Look an artifact up and add up what it takes; None when the catalogue does not know it."""
    paths = current_paths()
    with open_registry_for_reading(paths) as registry:
        found = [(model, item) for model in registry.models.list() for item in model.artifacts if item.path == path]
    if not found:
        return None
    model, artifact = found[0]
    machine = this_machine()
    config = read_config(paths)
    budget = read_budget(paths.working_set_file)
    spec = planned_spec(artifact, config, load_settings_of(model.settings), machine=machine, budget=budget)
    need = memory_need(artifact.facts, spec, machine, image_side_px=counted_side_px(config.images))
    is_wired = artifact.engine is EngineKind.MLX and budget.wired_limit_bytes is not None
    limit = budget.wired_limit_bytes if is_wired else budget.total_bytes
    return PulledFit(need.required_bytes, need.context_length, limit or budget.total_bytes)
