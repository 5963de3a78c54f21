"""`mlxr requests`: what the running server works on, and ending one of it."""

from typing import Any

from router.cli.terminal.context import current_paths
from router.cli.terminal.options import ALL_FIELDS, json_option
from router.cli.terminal.output import print_json, print_table, shown
from router.cli.terminal.server import client_if_running, client_or_error
from router.cli.terminal.verbs import argument, verb
from router.status.requests import RequestStatus


@verb
@json_option(ALL_FIELDS)
def list_requests(is_json: bool) -> None:
    """List the requests that the running server works on, oldest first; `mlxr requests` alone does the same.

    Examples: `mlxr requests list`, `mlxr requests list --json`.
    """
    client = client_if_running(current_paths())
    if client is None:
        print_json(None) if is_json else print("No mlxr server is running; `mlxr serve` starts one.")
        return
    with client:
        if is_json:
            print_json(client.get("/v1/mlxr/requests", dict[str, Any]))
            return
        requests = client.requests()
    if not requests:
        print("No request runs or waits.")
        return
    head = (
        "ID",
        "MODEL",
        "ENGINE",
        "WORKER",
        "STATE",
        "PRIORITY",
        "SESSION",
        "AGE",
        "PROMPT",
        "CACHED",
        "OUTPUT",
        "CONTEXT",
        "CLIENT",
    )
    print_table(head, [_row(request) for request in requests])


def _row(request: RequestStatus) -> tuple[object, ...]:
    return (
        request.id,
        request.model,
        request.engine,
        None if request.worker is None else request.worker.id,
        request.state,
        request.priority,
        request.session,
        f"{request.age_s:.1f} s",
        _prompt(request),
        request.prompt_tokens_cached,
        "+".join(str(count) for count in request.output_tokens) or None,
        _context(request),
        request.client,
    )


def _prompt(request: RequestStatus) -> str | None:
    if request.prompt_tokens is None:
        return None
    return f"{request.prompt_tokens_done or 0}/{request.prompt_tokens}"


def _context(request: RequestStatus) -> str | None:
    fill = request.context
    if fill is None:
        return None
    return f"{fill.used}/{fill.limit}" if fill.id is None else f"{fill.used}/{fill.limit} {fill.id}"


@verb
@argument("request_id", metavar="ID", help="As `mlxr requests list` shows it.")
@json_option(ALL_FIELDS)
def cancel(request_id: str, is_json: bool) -> None:
    """End a request; its client gets the error `request_cancelled`.

    Example: `mlxr requests cancel chatcmpl-0123456789abcdef01234567`.
    """
    with client_or_error(current_paths()) as client:
        cancelled = client.cancel_request(request_id)
    if is_json:
        print_json(cancelled)
    else:
        print(f"{shown(cancelled.id)} on {shown(cancelled.model)} is cancelled; it was in state {cancelled.state}.")
