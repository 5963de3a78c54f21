"""`mlxr suspend` and `mlxr resume`: giving the machine up for a while, and taking up again."""

from router.cli.client.base import STOP_TIMEOUT_S
from router.cli.terminal.context import current_paths
from router.cli.terminal.options import json_option
from router.cli.terminal.output import print_json, shown, size
from router.cli.terminal.server import client_or_error
from router.cli.terminal.verbs import verb
from router.status import ResidentModel, ResumeResponse, SuspendResponse


@verb
@json_option()
def suspend(is_json: bool) -> None:
    """Unload what is loaded and hold background work; running answers get a bounded time to finish.

    `mlxr resume` loads it again; so does a request. Example: `mlxr suspend`.
    """
    with client_or_error(current_paths()) as client:
        done = client.post("/v1/mlxr/suspend", SuspendResponse, {}, STOP_TIMEOUT_S)
    if is_json:
        print_json(done)
    elif not done.unloaded:
        print("Suspended; no model was loaded.")
    else:
        freed = "" if done.freed_bytes is None else f"; {size(done.freed_bytes)} freed"
        print(f"Suspended: {_names(done.unloaded)} unloaded{freed}. `mlxr resume` or a request loads it again.")


@verb
@json_option()
def resume(is_json: bool) -> None:
    """Load again in the background what `mlxr suspend` unloaded.

    Example: `mlxr resume`.
    """
    with client_or_error(current_paths()) as client:
        done = client.post("/v1/mlxr/resume", ResumeResponse, {})
    if is_json:
        print_json(done)
    elif not done.resumed:
        print("The server was not suspended.")
    else:
        print(f"Resumed; {_names(done.loading)} is being loaded." if done.loading else "Resumed.")


def _names(models: list[ResidentModel]) -> str:
    return ", ".join(f"{shown(each.model)} ({each.engine})" for each in models)
