"""`mlxr models move`: take a model's files to another folder. The work is the registry's."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from registry.catalogue import Model
from registry.moving.move import PlannedMove, carry_out, plan_move
from registry.store import Registry
from router.cli.models.removal import check_not_served
from router.cli.terminal.catalogue import open_registry
from router.cli.terminal.context import CommandError, current_paths, read_config
from router.cli.terminal.options import json_option, model_argument
from router.cli.terminal.output import ByteBar, print_json, shown, size
from router.cli.terminal.verbs import argument, option, verb
from router.config.roots import own_folders


@verb
@model_argument()
@argument("folder", metavar="DIR", help="Where the files go; made when it is not there.")
@option("--files", is_flag=True, help="Also move files outside mlxr's own folders.")
@json_option()
def move(name: str, folder: str, files: bool, is_json: bool) -> None:
    """Move a model's files, e.g. to a larger disk. The model keeps its name and settings.

    A copy is compared before anything is deleted. Ctrl-C stops it; the same command goes on where it was.

    Examples: `mlxr models move qwen3-4b /mnt/big/models`, `mlxr models move qwen3-4b ~/Models --files`.
    """
    paths = current_paths()
    directory = Path(os.path.abspath(Path(folder).expanduser()))  # noqa: PTH100 - lexical: links stay in the paths
    with open_registry(paths) as registry:
        model = registry.models.get(name)
        check_not_served(paths, model.name)
        own = own_folders(read_config(paths), paths)
        plans = _plans(model, directory, own, has_all=files)
        if not plans and not is_json:
            print(f"{model.name}: its files are there already.")
        for plan in plans:
            _carry_out(registry, plan, own, is_json=is_json)
        moved = registry.models.get(model.name)
    if is_json:
        print_json({"name": moved.name, "paths": [artifact.path for artifact in moved.artifacts]})


def _plans(model: Model, directory: Path, own: Sequence[Path], *, has_all: bool) -> list[PlannedMove]:
    """Plan for each artifact that is to be moved and is not there yet.

    Raises:
        CommandError: All files lie outside mlxr's own folders, and that was not asked for.
    """
    wanted = [artifact for artifact in model.artifacts if has_all or artifact.is_owned]
    if not wanted:
        lying = ", ".join(str(Path(artifact.path).parent) for artifact in model.artifacts)
        raise CommandError(f"{model.name} lies outside mlxr's own folders, in {lying}; --files moves it all the same.")
    plans = [plan for artifact in wanted if (plan := plan_move(artifact, directory, own)) is not None]
    for artifact in model.artifacts:
        if artifact not in wanted:
            print(f"mlxr: {shown(artifact.path)} stays where it lies; --files moves it too.", file=sys.stderr)
    return plans


def _carry_out(registry: Registry, plan: PlannedMove, own: Sequence[Path], *, is_json: bool) -> None:
    if not is_json:
        how = "copied and compared" if plan.is_copied else "on the same disk"
        print(f"{shown(plan.artifact.path)} -> {shown(plan.path)}  ({size(plan.size_bytes)}, {how})", flush=True)
    with ByteBar(3 * plan.size_bytes, is_shown=plan.is_copied and not is_json) as bar:
        carry_out(registry, plan, own_folders=own, on_progress=bar.advance)
