"""What verbs need and how they get it: paths, config, catalogue, running server. Built when asked for, never at import.

The only place, with `output.py`, that reads the environment. Not here: any verb.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from router.config.paths import Paths, paths_from_env

if TYPE_CHECKING:
    from registry.engines import EngineSetting
    from registry.store import Registry
    from router.cli.client.base import Client
    from router.config import Config
    from router.config.instance import RunningInstance


class CommandError(Exception):
    """A verb cannot do what it was asked; the text is one sentence for the user.

    Attributes:
        exit_code: 1 for a failure, 2 for a call that makes no sense.
    """

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def current_paths() -> Paths:
    """Give the paths that the environment asks for."""
    return paths_from_env(os.environ)


def config_file(paths: Paths, given: str | None) -> Path:
    """Give the config file: the one named on the command line, else mlxr's own.

    Returns:
        An absolute path.

    Raises:
        CommandError: A file was named and is not there.
    """
    if given is None:
        return paths.config_file
    path = Path(given).expanduser().absolute()
    if not path.exists():
        raise CommandError(f"{path}: there is no such config file.", exit_code=2)
    return path


def read_config(paths: Paths, given: str | None = None) -> "Config":
    """Load the config.

    Args:
        paths: Where it is, and what `~` stands for.

    Raises:
        CommandError: A file was named and is not there.
        ConfigError: It cannot be used.
    """
    from router.config.load import load_config

    return load_config(config_file(paths, given), user_home=paths.user_home)


def open_registry(paths: Paths) -> "Registry":
    """Open the catalogue for writing, making it and its folder when needed.

    Returns:
        The catalogue; close it.

    Raises:
        OSError: The folders cannot be made.
    """
    from registry.store import Registry

    paths.ensure_folders()
    return Registry(paths.registry_db)


def open_registry_for_reading(paths: Paths) -> "Registry":
    """Open the catalogue without changing anything if that is possible.

    Returns:
        The catalogue; close it. A new one when there is none, or when an older one must be migrated first.

    Raises:
        OSError: The folders cannot be made.
    """
    from registry.errors import RegistryReadOnlyError
    from registry.store import Registry

    if paths.registry_db.exists():
        try:
            return Registry(paths.registry_db, is_read_only=True)
        except RegistryReadOnlyError:
            pass
    return open_registry(paths)


def running_instance(paths: Paths) -> "RunningInstance | None":
    """Give the gateway that runs on the data folder, or None."""
    from router.config.instance import read_instance

    return read_instance(paths)


def check_engine(name: str | None, *, others: tuple[str, ...] = ()) -> "EngineSetting | None":
    """Return the engine setting that was given on the command line; None for None and for one of `others`.

    Raises:
        CommandError: There is no such engine.
    """
    from registry.engines import EngineSetting

    if name is None or name in others:
        return None
    try:
        return EngineSetting(name)
    except ValueError:
        message = f"There is no engine {name!r}; choose {', '.join((*EngineSetting, *others))}."
        raise CommandError(message, exit_code=2) from None


def client_if_running(paths: Paths) -> "Client | None":
    """Give a client of the gateway that runs on the data folder, or None."""
    instance = running_instance(paths)
    if instance is None:
        return None
    from router.cli.client.base import Client

    return Client(instance)


def client_or_error(paths: Paths) -> "Client":
    """Give a client of the running gateway.

    Returns:
        The client; use it in a `with`.

    Raises:
        CommandError: None runs; the text has the command that starts one.
    """
    client = client_if_running(paths)
    if client is None:
        raise CommandError("No mlxr server is running; start one with `mlxr serve` in another terminal.")
    return client
