"""The server that runs on the data folder, if one does. Not here: talking to it (`router.cli.client`)."""

from typing import TYPE_CHECKING

from router.cli.terminal.context import CommandError
from router.config.instance import read_instance
from router.config.paths import Paths

if TYPE_CHECKING:
    from router.cli.client.base import Client


def client_if_running(paths: Paths) -> "Client | None":
    """Give a client of the running server, or None."""
    instance = read_instance(paths)
    if instance is None:
        return None
    from router.cli.client.base import Client  # noqa: PLC0415 - with httpx it takes longer than most verbs

    return Client(instance)


def client_or_error(paths: Paths) -> "Client":
    """Give a client of the running server; use it in a `with`.

    Raises:
        CommandError: None runs; the text has the command that starts one.
    """
    client = client_if_running(paths)
    if client is None:
        raise CommandError("No mlxr server is running; start one with `mlxr serve` in another terminal.")
    return client
