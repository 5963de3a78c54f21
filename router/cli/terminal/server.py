"""The server that runs on the data folder, if one does. Not here: what is asked of it (`router.cli.client`)."""

import re
import sys
from typing import TYPE_CHECKING

from router.cli.terminal.context import CommandError
from router.config.instance import RunningInstance, read_instance
from router.config.paths import Paths
from router.version import VERSION

if TYPE_CHECKING:
    from router.cli.client.base import Client


def instance_or_error(paths: Paths) -> RunningInstance:
    """Find the running server.

    Raises:
        CommandError: None runs; the text has the command that starts one.
    """
    instance = read_instance(paths)
    if instance is None:
        raise CommandError("No mlxr server is running; start one with `mlxr serve` in another terminal.")
    return instance


def client_if_running(paths: Paths) -> "Client | None":
    """Give a client of the running server, or None; use it in a `with`."""
    instance = read_instance(paths)
    return None if instance is None else _client_of(instance)


def client_or_error(paths: Paths) -> "Client":
    """Give a client of the running server; use it in a `with`.

    Raises:
        CommandError: None runs.
    """
    return _client_of(instance_or_error(paths))


def version_notice(server: str, own: str = VERSION) -> str:
    """Tell of a server of another version, and what to do."""
    if _numbers(server) < _numbers(own):
        way_out = "restart it to have the new one serve (`mlxr service restart`, or stop it and `mlxr serve`)"
    else:
        way_out = "update this command line, or call the one that the server belongs to"
    return f"The running server is mlxr {server}, this command line is {own}: {way_out}."


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def _client_of(instance: RunningInstance) -> "Client":
    if instance.version != VERSION:
        print(f"mlxr: {version_notice(instance.version)}", file=sys.stderr)
    from router.cli.client.base import Client  # noqa: PLC0415 - with httpx it takes longer than most verbs

    return Client(instance)
