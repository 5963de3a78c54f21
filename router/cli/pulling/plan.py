"""`mlxr models pull --dry-run`: what a pull would fetch, and whether disk and memory have room for it."""

import msgspec

from registry.pull import PlannedPart, PullPlan, Wishes
from router.cli.pulling.fit import fit_of
from router.cli.terminal.output import print_facts, print_json, print_table, size
from router.jobs.pulls import Pulls

EXIT_DOES_NOT_FIT = 1

_STATES = {"missing": None, "partial": "a part", "linkable": "the same bytes", "present": "yes"}


async def show_plan(pulls: Pulls, reference: str, wishes: Wishes, *, is_json: bool) -> int:
    """Ask the hub, and print what it would be.

    Args:
        pulls: Not yet entered.

    Returns:
        The exit code: 1 when the disk has no room for it.

    Raises:
        RegistryError: It cannot be pulled.
    """
    async with pulls:
        plan = await pulls.plan(reference, wishes)
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
