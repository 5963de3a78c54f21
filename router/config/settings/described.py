"""Every key of the config with what it does, takes and is, and who has the say about it. Pure."""

import inspect
from functools import cache
from typing import Any, Literal

import msgspec
from msgspec.structs import asdict

from router.config.current import CurrentConfig, needs_restart
from router.config.edit import get_at
from router.config.key_types import Takes, attributes_of, is_section, key_paths, takes_of, unit_of
from router.config.load import Overrides
from router.config.schema import Config
from router.config.settings.masking import masked
from router.config.yaml_text import KeyPath, dotted

Origin = Literal["default", "memory", "file", "command_line"]
_Simple = bool | int | float | str | list[str] | dict[str, str] | None
PlainValue = bool | int | float | str | list[str | dict[str, _Simple]] | dict[str, str | list[str]] | None


class ConfigKey(Takes, frozen=True, kw_only=True):
    """One key; secrets are masked.

    Attributes:
        key: Such as `limits.max_queue`.
        what: What it does.
        unit: `s`, `bytes`, `tokens`, `px`; null = it has none.
        default: null = mlxr chooses.
        in_file: What the file says, the default where it says nothing.
        value: In force.
        origin: Who said that: nobody, this machine's memory, the file, or the command line of `mlxr serve`.
        needs_restart: Whether a change of the file takes effect after a restart only.
        is_waiting: Whether the file says something else, which takes effect after a restart.
    """

    key: str
    what: str
    unit: str | None
    default: PlainValue
    in_file: PlainValue
    value: PlainValue
    origin: Origin
    needs_restart: bool
    is_waiting: bool


def described(current: CurrentConfig, content: Config, overrides: Overrides) -> tuple[ConfigKey, ...]:
    """Describe every key, in the order of the Structs.

    Args:
        content: What the file says.
        overrides: What the command line says instead.
    """
    usual, said = _shown(Config()), _shown(content)
    in_force, at_start = _shown(current.config), _shown(current.at_start)
    new, old = msgspec.to_builtins(content), msgspec.to_builtins(current.at_start)  # where secrets differ, too
    by_memory = {each.name: each.value for each in current.settings if each.origin == "tier"}
    return tuple(
        _described(
            path,
            usual=get_at(usual, path),
            said=get_at(said, path),
            in_force=get_at(at_start if needs_restart(path) else in_force, path),
            by_memory=by_memory,
            has_changed=get_at(new, path) != get_at(old, path),
            is_overridden=getattr(overrides, path[-1], None) is not None and path[0] in {"server", "engine"},
        )
        for path in key_paths()
    )


def _described(
    path: tuple[str, ...],
    *,
    usual: Any,
    said: Any,
    in_force: Any,
    by_memory: dict[str, Any],
    has_changed: bool,
    is_overridden: bool,
) -> ConfigKey:
    key, must_wait = dotted(path), needs_restart(path)
    origin: Origin = "default" if said == usual else "file"
    if is_overridden:
        origin = "command_line"
    elif key in by_memory:
        origin, in_force = "memory", by_memory[key]
    return ConfigKey(
        key=key,
        what=_descriptions().get(path, ""),
        unit=unit_of(path[-1]),
        default=usual,
        in_file=said,
        value=in_force,
        origin=origin,
        needs_restart=must_wait,
        is_waiting=must_wait and not is_overridden and has_changed,
        **asdict(takes_of(path)),
    )


def _shown(config: Config) -> Any:
    return masked(msgspec.to_builtins(config))


@cache
def _descriptions() -> dict[KeyPath, str]:
    sections = {field.name: field.type for field in msgspec.structs.fields(Config) if is_section(field.type)}
    of_keys = {(name,): what for name, what in _attributes(Config).items() if name not in sections}
    return of_keys | {
        (section, name): what for section, struct in sections.items() for name, what in _attributes(struct).items()
    }


def _attributes(struct: type[msgspec.Struct]) -> dict[str, str]:
    return attributes_of(inspect.cleandoc(struct.__doc__ or ""))
