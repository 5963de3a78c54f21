"""What every verb needs: its failure, where things lie, the config, engines by name. Not here: any verb.

The only place, with `output.py`, that reads the environment.
"""

import os
from pathlib import Path

from registry.engines import EngineSetting
from router.config.instance import read_instance
from router.config.load import load_config
from router.config.paths import Paths, paths_from_env
from router.config.schema import Config


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
    """Give the config file, absolute: the one named on the command line, else mlxr's own.

    Raises:
        CommandError: A file was named and is not there.
    """
    if given is None:
        return paths.config_file
    path = Path(given).expanduser().absolute()
    if not path.exists():
        raise CommandError(f"{path}: there is no such config file.", exit_code=2)
    return path


def file_in_use(paths: Paths, given: str | None) -> Path:
    """Give the config file that counts: the named one, else the running server's, else mlxr's own."""
    instance = read_instance(paths)
    if given is None and instance is not None and instance.config_file is not None:
        return Path(instance.config_file)
    return config_file(paths, given)


def read_config(paths: Paths, given: str | None = None) -> Config:
    """Load the config.

    Raises:
        CommandError: A file was named and is not there.
        ConfigError: It cannot be used.
    """
    return load_config(config_file(paths, given), user_home=paths.user_home)


def check_engine(name: str | None, *, others: tuple[str, ...] = ()) -> EngineSetting | None:
    """Return the engine setting that was given on the command line; None for None and for one of `others`.

    Raises:
        CommandError: There is no such engine.
    """
    if name is None or name in others:
        return None
    try:
        return EngineSetting(name)
    except ValueError:
        message = f"There is no engine {name!r}; choose {', '.join((*EngineSetting, *others))}."
        raise CommandError(message, exit_code=2) from None
