"""`mlxr config …`: look at the config, check it, find it. Editing is the user's, or `mlxr engine`'s."""

import json
import re
import sys
from typing import Any, Final

import msgspec

from registry.credentials import MASK, without_credentials
from router.cli.terminal.context import CommandError, config_file, current_paths, read_config
from router.cli.terminal.options import config_option, json_option
from router.cli.terminal.output import bold, print_json, shown
from router.cli.terminal.verbs import argument, verb
from router.config.reference import ensure_config_file, json_schema
from router.config.schema import Config

SECRET_NAME: Final = re.compile(r"(token|key|secret|password)(?!\w*_file$)", re.IGNORECASE)
"""Keys whose values are never printed. Numbers, switches and paths are no secrets: `max_tokens`, `tls_key_file`."""


@verb
@config_option()
@json_option()
def show(config: str | None, is_json: bool) -> None:
    """Print every key with the value that counts; those that are not the default are marked.

    Examples: `mlxr config show`, `mlxr config show --json`.
    """
    value = masked(msgspec.to_builtins(read_config(current_paths(), config)))
    if is_json:
        print_json(value)
        return
    default = masked(msgspec.to_builtins(Config()))
    for (name, current), (_, usual) in zip(_flat(value), _flat(default), strict=True):
        line = f"{name}: {_yaml(current)}"
        print(line if current == usual else bold(f"{line}  # default: {_yaml(usual)}"))


@verb
@argument("file", required=False, metavar="FILE", help="Instead of mlxr's own.")
def check(file: str | None) -> None:
    """Check the config file; exit code 1 when it cannot be used.

    Examples: `mlxr config check`, `mlxr config check ./server.yaml`.
    """
    paths = current_paths()
    path = config_file(paths, file)
    read_config(paths, file)
    print(f"{shown(path)}: " + ("good" if path.exists() else "not there, so the defaults count"))


@verb
def path() -> None:
    """Print where the config file is, or will be.

    Example: `$EDITOR "$(mlxr config path)"`.
    """
    file = current_paths().config_file
    try:
        ensure_config_file(file)
    except OSError as exc:
        raise CommandError(f"{file}: cannot be made: {exc.strerror}") from exc
    print(file)


@verb
def schema() -> None:
    """Print the JSON Schema of the config, for editors."""
    sys.stdout.write(json_schema().decode())


def masked(value: Any, *, is_secret: bool = False) -> Any:
    """Replace the values of keys that look like secrets.

    Returns:
        A copy; texts under such keys are masked, however deep, and in every address the user and password.
    """
    match value:
        case str():
            return MASK if is_secret else without_credentials(value)
        case list():
            return [masked(item, is_secret=is_secret) for item in value]
        case dict():
            names = {key: is_secret or SECRET_NAME.search(key) is not None for key in value}
            return {key: masked(item, is_secret=names[key]) for key, item in value.items()}
        case _:
            return value


def _flat(value: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, item in value.items():
        pairs += _flat(item, f"{prefix}{key}.") if isinstance(item, dict) else [(prefix + key, item)]
    return pairs


def _yaml(value: Any) -> str:
    return shown(value) if isinstance(value, str) else json.dumps(value)
