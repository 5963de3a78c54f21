"""`mlxr config …`: look at the config, check it, find it, set keys of it."""

import json
import sys
from functools import reduce
from operator import getitem
from typing import Any

import msgspec

from router.cli.terminal.context import CommandError, config_file, current_paths, file_in_use, read_config
from router.cli.terminal.options import config_option, json_option
from router.cli.terminal.output import bold, print_json, shown
from router.cli.terminal.verbs import argument, verb
from router.config.current import needs_restart
from router.config.instance import read_instance
from router.config.key_types import key_paths
from router.config.reference import ensure_config_file, json_schema
from router.config.schema import Config
from router.config.settings.masking import masked
from router.config.yaml_text import YAMLTextError, parse


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
@argument("pairs", nargs=-1, required=True, metavar="KEY=VALUE...", help="KEY= gives the key its default.")
@config_option()
@json_option()
def set_keys(pairs: tuple[str, ...], config: str | None, is_json: bool) -> None:
    """Set keys of the config file, all or none; comments stay. A running server follows.

    Values are written as in the file: numbers, true, null, words, [lists].

    Examples: `mlxr config set generation.temperature=0.7 limits.keep_alive_s=forever`,
    `mlxr config set 'server.allowed_origins=["http://localhost:3000"]'`, `mlxr config set generation.temperature=`,
    `mlxr config set residency=groups 'groups={work: [qwen3-8b, nomic-embed]}'`.
    """
    from router.config.settings.changes import change_file  # noqa: PLC0415 - the other verbs change nothing

    given = dict(_pair(text) for text in pairs)
    file = file_in_use(current_paths(), config)
    has_changed = change_file(
        file, {key: _value(key, text) for key, text in given.items() if text}, [key for key in given if not given[key]]
    )
    late = [key for key in given if needs_restart(tuple(key.split(".")))]
    if is_json:
        print_json({"file": str(file), "changed": has_changed, "needs_restart": late})
        return
    print(f"{shown(file)}: " + ("changed" if has_changed else "as before"))
    if late and has_changed and read_instance(current_paths()) is not None:
        print(f"A restart of the server is needed for {', '.join(late)}.")


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise CommandError(f"{text[:60]!r} sets nothing; write KEY=VALUE, or KEY= for the default.", exit_code=2)
    return key, value


def _value(key: str, text: str) -> Any:
    """Read a value as the file has it."""
    try:
        return parse(f"value: {text}").value["value"]
    except YAMLTextError as exc:
        raise CommandError(f"{key}: {exc}; put texts with signs in quotes.", exit_code=2) from exc


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


def _flat(value: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(".".join(path), reduce(getitem, path, value)) for path in key_paths()]


def _yaml(value: Any) -> str:
    return shown(value) if isinstance(value, str) else json.dumps(value)
