"""`mlxr models rm`: say exactly what goes and what stays, ask, and keep off a model that is being served."""

from registry.removing.removal import RemovalReport, plan_removal, remove_model
from registry.store.drafting import drafted_by
from router.cli.terminal.catalogue import open_registry
from router.cli.terminal.context import CommandError, current_paths
from router.cli.terminal.options import json_option, model_argument
from router.cli.terminal.output import print_json, shown, size
from router.cli.terminal.question import ask
from router.cli.terminal.server import client_if_running
from router.cli.terminal.verbs import option, verb
from router.config.paths import Paths

MAX_LISTED_FILES = 20


@verb
@model_argument()
@option("--yes", "-y", is_flag=True, help="Do not ask.")
@option("--files", is_flag=True, help="Also delete files outside mlxr's own folder.")
@json_option()
def remove(name: str, yes: bool, files: bool, is_json: bool) -> None:
    """Remove a model. Files in mlxr's own folder are deleted; others are left unless --files is given.

    Examples: `mlxr models rm qwen3-4b`, `mlxr models rm qwen3-4b --yes --files`.
    """
    paths = current_paths()
    with open_registry(paths) as registry:
        model = registry.models.get(name)
        check_not_served(paths, model.name)
        plan = plan_removal(registry, model.artifacts, is_deleting_foreign_files=files)
        users = drafted_by(registry.models.list(), model.name)
        if not is_json:
            _print_plan(model.name, plan)
            if users:
                print(f"It drafts for {shown(', '.join(users))}: they run without it then, and say that it is gone.")
            for adapter in model.adapters:
                print(
                    f"Its adapter {shown(adapter.name)} is forgotten as well; the files stay in {shown(adapter.path)}"
                )
        if not yes:
            ask("Go on?", verb="remove", participle="removed")
            check_not_served(paths, model.name)
        report = remove_model(registry, model.name, is_deleting_foreign_files=files)
    if is_json:
        print_json(report)
    else:
        print(f"{model.name} is removed; {size(report.freed_bytes)} freed.")


def check_not_served(paths: Paths, name: str) -> None:
    """Refuse to touch the files of a model that the running server has loaded."""
    client = client_if_running(paths)
    if client is None:
        return
    with client:
        for worker in client.status().workers:
            if worker.draft is not None and worker.draft.model == name and worker.draft.why_not is None:
                raise CommandError(
                    f"{name} drafts for {worker.model} in the running server; `mlxr stop {worker.model}` unloads both."
                )
            if worker.model == name:
                raise CommandError(
                    f"{name} is {worker.state} on {worker.engine} in the running server; `mlxr stop {name}` unloads it."
                )


def _print_plan(name: str, plan: RemovalReport) -> None:
    print(f"Removing {shown(name)} from the catalogue.")
    if plan.deleted:
        print(f"{_these(plan.deleted)} will be deleted ({size(plan.freed_bytes)}):")
        _print_files(plan.deleted)
    if plan.kept:
        print(f"{_these(plan.kept)} will be left:")
        _print_files(plan.kept)


def _these(files: tuple[str, ...]) -> str:
    return "This file" if len(files) == 1 else f"These {len(files)} files"


def _print_files(files: tuple[str, ...]) -> None:
    for file in files[:MAX_LISTED_FILES]:
        print(f"  {shown(file)}")
    if len(files) > MAX_LISTED_FILES:
        print(f"  and {len(files) - MAX_LISTED_FILES} more")
