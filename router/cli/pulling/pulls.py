"""`mlxr models pulls`: the pulls there are, and pausing, resuming and cancelling them, with a server or without."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from registry.pull import find_orphans, remove_orphans
from registry.pull.folder import PullFolder
from registry.pull_record import ENDED_STATES, PullInfo
from registry.store import Registry
from router.cli.pulling.here import pull_here, pulls_here
from router.cli.pulling.progress import duration
from router.cli.terminal.catalogue import open_registry
from router.cli.terminal.context import CommandError, current_paths, read_config
from router.cli.terminal.options import ALL_FIELDS, json_option
from router.cli.terminal.output import plural, print_json, print_table, shown, size
from router.cli.terminal.server import client_if_running
from router.cli.terminal.verbs import argument, option, verb
from router.config.roots import models_dir
from router.jobs.pulls import PullList, Pulls

if TYPE_CHECKING:
    from router.cli.client.base import Client

PULLS_PATH: Final = "/v1/mlxr/models/pulls"

RECENT_S: Final = 86_400.0
"""How long a pull that has ended stays in the short list."""

MAX_REFERENCE_CHARS: Final = 60

_T = TypeVar("_T")


def _number(_context: click.Context, _argument: click.Parameter, text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 15:  # noqa: PLR2004 - far below SQLite's limit
        raise CommandError(f"{text[:40]!r} is no number of a pull; `mlxr models pulls` lists them.", exit_code=2)
    return int(text)


_pull_argument: Final = argument("number", metavar="ID", callback=_number, help="As `mlxr models pulls` shows it.")


@verb
@option("--all", "show_all", is_flag=True, help="Also those that ended more than a day ago.")
@json_option(ALL_FIELDS)
def list_pulls(show_all: bool, is_json: bool) -> None:
    """List the pulls that run, wait, were stopped or have failed, oldest first; `mlxr models pulls` does the same.

    Examples: `mlxr models pulls list`, `mlxr models pulls list --all --json`.
    """
    found = _ask(lambda client: client.get(PULLS_PATH, PullList).pulls, lambda here: here.list_pulls())
    since = time.time() - RECENT_S
    listed = [info for info in found if show_all or info.state not in ENDED_STATES or info.updated_at > since]
    if is_json:
        print_json(listed)
    elif listed:
        head = ("ID", "MODEL", "STATE", "DONE", "SIZE", "SPEED", "LEFT", "ERROR")
        print_table(head, [_row(info) for info in listed])
    else:
        print("There are no pulls. `mlxr models pull ORG/REPO` begins one.")


def _row(info: PullInfo) -> tuple[object, ...]:
    share = f"{100 * info.done_bytes // info.total_bytes} %" if info.total_bytes else None
    if info.step is not None:
        share = None if info.step_share is None else f"{info.step_share:.0%}".replace("%", " %")
    return (
        info.id,
        _short(info.reference),
        info.state if info.step is None else info.step,
        share,
        size(info.total_bytes),
        None if not info.bytes_per_s else f"{size(int(info.bytes_per_s))}/s",
        None if info.eta_s is None else duration(info.eta_s),
        info.error or "",
    )


def _short(reference: str) -> str:
    """Shorten an address: its query may hold a signature, and its end says more than its beginning."""
    text = reference.partition("?")[0]
    return text if len(text) <= MAX_REFERENCE_CHARS else "..." + text[-MAX_REFERENCE_CHARS + 3 :]


@verb
@_pull_argument
@json_option(ALL_FIELDS)
def pause(number: int, is_json: bool) -> None:
    """Stop a pull; what came is kept.

    Example: `mlxr models pulls pause 3`.
    """
    info = _ask(lambda client: _change(client, number, "pause"), lambda here: here.pause(number))
    _tell(info, f"is paused; `mlxr models pulls resume {number}` goes on.", is_json=is_json)


@verb
@_pull_argument
@json_option(ALL_FIELDS)
def cancel(number: int, is_json: bool) -> None:
    """Stop a pull and throw away what came.

    Example: `mlxr models pulls cancel 3`.
    """
    info = _ask(lambda client: _change(client, number, "cancel"), lambda here: here.cancel(number))
    _tell(info, "is cancelled; what was half there is deleted.", is_json=is_json)


@verb
@_pull_argument
@json_option(ALL_FIELDS)
def resume(number: int, is_json: bool) -> int:
    """Go on with a pull that was stopped or has failed; a running server does it, or this terminal.

    Example: `mlxr models pulls resume 3`.
    """
    paths = current_paths()
    client = client_if_running(paths)
    if client is None:
        return pull_here(paths, lambda here: here.resume(number), is_json=is_json)
    with client:
        info = _change(client, number, "resume")
    _tell(info, "goes on in the server; `mlxr models pulls` shows how far it is.", is_json=is_json)
    return 0


@verb
@json_option(ALL_FIELDS)
def clean(is_json: bool) -> None:
    """Delete partial files that no pull needs any more, as `mlxr doctor` finds them.

    Example: `mlxr models pulls clean`.
    """
    paths = current_paths()
    open_registry(paths).close()
    with Registry(paths.registry_db) as registry:
        orphans = find_orphans(PullFolder(models_dir(read_config(paths), paths)), registry, now=time.time())
    freed = remove_orphans(orphans)
    if is_json:
        print_json({"removed": orphans, "freed_bytes": freed})
    else:
        print(f"{plural(len(orphans), 'partial file')} deleted, {size(freed)} freed.")


def _ask(by_server: Callable[["Client"], _T], in_this_process: Callable[[Pulls], Coroutine[Any, Any, _T]]) -> _T:
    """Ask the running server, or without one look for ourselves."""
    paths = current_paths()
    client = client_if_running(paths)
    if client is not None:
        with client:
            return by_server(client)

    async def look() -> _T:
        async with pulls_here(paths) as here:
            return await in_this_process(here)

    return asyncio.run(look())


def _change(client: "Client", number: int, change: str) -> PullInfo:
    return client.post(f"{PULLS_PATH}/{number}/{change}", PullInfo, {})


def _tell(info: PullInfo, what: str, *, is_json: bool) -> None:
    if is_json:
        print_json(info)
        return
    if info.state == "running":  # in another process, which looks once a second what is wanted of it
        what = "will be stopped by the process that runs it, in a moment."
    print(f"Pull {info.id} of {shown(_short(info.reference))} {what}")
