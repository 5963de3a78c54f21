"""`mlxr registry backup | restore | backups`: copies of the catalogue of models."""

from pathlib import Path

import msgspec

from registry.store.backups import back_up, back_up_as, backups_of
from registry.store.backups import restore as restore_registry
from registry.store.database import CatalogueDatabase
from router.cli.terminal.context import CommandError, current_paths
from router.cli.terminal.options import json_option
from router.cli.terminal.output import moment, print_json, print_table, size
from router.cli.terminal.verbs import argument, verb
from router.config.instance import AlreadyRunningError, InstanceLock


@verb
@argument("file", required=False, help="Where to; without one, among mlxr's own copies.")
@json_option()
def backup(file: str | None, is_json: bool) -> None:
    """Copy the catalogue: names, settings, measurements; no model files. A server may run meanwhile.

    Examples: `mlxr registry backup`, `mlxr registry backup ~/registry.sqlite3`.
    """
    registry = current_paths().registry_db
    if not registry.exists():
        raise CommandError("There is no catalogue yet; `mlxr models scan` makes one.")
    target = None if file is None else Path(file).expanduser().absolute()
    if target is not None and target.exists():
        raise CommandError(f"{target} is there already; choose another name.")
    copy = back_up_as(registry, "manual") if target is None else back_up(registry, target)
    print_json({"path": str(copy)}) if is_json else print(f"The catalogue is copied to {copy}.")


@verb
@argument("file", help="A copy of the catalogue.")
@json_option()
def restore(file: str, is_json: bool) -> None:
    """Put a copy of the catalogue in its place; what was there is copied first. No server may run.

    The copy is verified before anything is replaced. Model files are not touched.

    Example: `mlxr registry restore ~/registry.sqlite3`.
    """
    paths = current_paths()
    paths.ensure_folders()
    try:
        lock = InstanceLock.acquire(paths)
    except AlreadyRunningError as exc:
        raise CommandError(f"The catalogue is in use. {exc}") from exc
    with lock:
        source = Path(file).expanduser().absolute()
        before = restore_registry(paths.registry_db, source, newest_schema=CatalogueDatabase.newest_schema())
    if is_json:
        print_json({"registry": str(paths.registry_db), "before": None if before is None else str(before)})
        return
    print(f"The catalogue is as in {source}.")
    if before is not None:
        print(f"What was there is in {before}; `mlxr models scan` finds models that came since.")


@verb
@json_option()
def backups(is_json: bool) -> None:
    """List the copies of the catalogue; those made before updates and restores go when there are newer ones.

    Example: `mlxr registry backups`.
    """
    found = backups_of(current_paths().registry_db)
    if is_json:
        print_json(msgspec.to_builtins(found))
    elif not found:
        print("There are no copies yet; `mlxr registry backup` makes one.")
    else:
        rows = [
            (
                moment(each.made_at),
                each.schema,
                each.num_models,
                size(each.size_bytes),
                "automatic" if each.is_automatic else "yours",
                each.path,
            )
            for each in found
        ]
        print_table(("MADE", "SCHEMA", "MODELS", "SIZE", "KIND", "FILE"), rows)
