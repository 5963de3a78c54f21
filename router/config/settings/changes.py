"""Changing keys of the config file by their names, each value checked before anything is written. Blocking.

Not here: the text of the file (`router.config.edit`), and when a change takes effect.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from registry.credentials import MASK
from router.config.edit import ABSENT, Value, get_at, set_values
from router.config.key_types import key_paths
from router.config.load import check_key, load_config
from router.config.reference import ensure_config_file
from router.config.schema import Config
from router.config.yaml_text import KeyPath, dotted, parse
from router.errors import ConfigError, InvalidRequestError


def change_file(path: Path, to_set: Mapping[str, Any], to_unset: Iterable[str] = ()) -> bool:
    """Set keys of the config file, all or none; a missing file is first made as it is shipped.

    Args:
        to_set: Key, such as `limits.max_queue`, to its value as YAML has it.
        to_unset: Keys that get their default, where the file has them.

    Returns:
        Whether the file is another one now.

    Raises:
        InvalidRequestError: A key or a value cannot be; the message begins with the key, which is its `param` as well.
        ConfigError: The file cannot be used as it is, or not be written.
    """
    changes = {_known(key): _checked(key, value) for key, value in to_set.items()}
    to_default = [_known(key) for key in to_unset]
    twice = next((key for key in to_default if key in changes), None)
    if twice is not None:
        raise InvalidRequestError(f"{dotted(twice)}: it is both set and unset; send one of the two", dotted(twice))
    ensure_config_file(path)
    load_config(path)
    document, usual = parse(path.read_text("utf-8-sig")).value, msgspec.json.decode(msgspec.json.encode(Config()))
    changes |= {key: get_at(usual, key) for key in to_default if get_at(document, key) is not ABSENT}
    try:
        return set_values(path, changes)
    except ConfigError as exc:
        if exc.param is None:
            raise
        raise InvalidRequestError(str(exc).partition(": ")[2], exc.param) from exc  # the file's name is no news


def _known(key: str) -> tuple[str, ...]:
    path = tuple(key.split("."))
    if any(known[:1] == path != known for known in _PATHS):
        raise InvalidRequestError(f"{key}: this is a section; name one of its keys", key)
    whole = next((known for known in _PATHS if path[: len(known)] == known != path), None)
    if whole is not None:
        raise InvalidRequestError(f"{key}: {dotted(whole)} is set as a whole", key)
    if path not in _PATHS:
        _check(path, None)
    return path


def _checked(key: str, value: Any) -> Value:
    if MASK in str(value):
        raise InvalidRequestError(f"{key}: {MASK} stands for what is not shown; send the value itself", key)
    _check(tuple(key.split(".")), value)
    checked: Value = value
    return checked


def _check(path: KeyPath, value: Any) -> None:
    try:
        check_key(path, value)
    except ConfigError as exc:
        raise InvalidRequestError(str(exc), exc.param) from exc


_PATHS = frozenset(key_paths())
