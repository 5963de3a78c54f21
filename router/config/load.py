"""Config file -> `Config`, or one `ConfigError` that names the file, the line and the key, whose path is its `param`.

Pure but for reading the one file. Not here: where the file is (`router.config.paths`), watching it (`watch.py`).
"""

import difflib
import errno
import json
import re
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import msgspec

from registry.credentials import without_credentials
from registry.engines import EngineSetting
from router.config.key_types import expected, is_section, key_paths
from router.config.schema import Config
from router.config.server import AbsolutePath, SocketPath
from router.config.upstreams import UpstreamConfig
from router.config.yaml_text import MAX_TEXT_BYTES, KeyPath, YAMLTextError, dotted, parse
from router.errors import ConfigError

_ERROR_PATH = re.compile(r"(?P<what>.*?)(?: - at `(?P<path>\$[^`]*)`)?", re.DOTALL)
_PATH_PART = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_UNKNOWN_KEY = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_ANY_KEY = "..."
"""How msgspec writes a key of a mapping whose keys are free."""

_PATH_TYPES = (AbsolutePath | None, SocketPath | None, tuple[AbsolutePath, ...])
_NEVER_SHOWN = frozenset({"token", "proxy", "api_key_env", "url"})
"""Keys where somebody may have put a secret: what is no address at all may be a password anywhere."""

UPSTREAMS = "upstreams"
"""The one key whose value has keys of its own in a list."""

MAX_SHOWN_CHARS = 60
"""How much of a wrong value a message repeats."""


class Overrides(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says instead of the file's `engine` and keys of `server`; None = the file counts."""

    host: str | None = None
    port: int | None = None
    unix_socket: str | None = None
    tls_cert_file: str | None = None
    tls_key_file: str | None = None
    engine: EngineSetting | None = None


def load_config(path: Path, *, user_home: Path | None = None) -> Config:
    """Read the config file; a file that does not exist gives the defaults.

    Args:
        user_home: What a leading `~/` of a path stands for; None leaves it as it is.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_TEXT_BYTES + 1)
    except FileNotFoundError:
        return Config()
    except OSError as exc:
        if exc.errno == errno.ENOTDIR:
            return Config()
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise ConfigError(f"{path}, line {line}: not UTF-8 text") from exc
    return parse_config(text, source=str(path), user_home=user_home)


def parse_config(text: str, *, source: str, user_home: Path | None = None) -> Config:
    """Turn a config text into a `Config`.

    Args:
        source: How messages name the text, usually the file's path.
        user_home: What a leading `~/` of a path stands for; None leaves it as it is.
    """
    try:
        document = parse(text)
    except YAMLTextError as exc:
        raise ConfigError(f"{_place(source, exc.line)}: {exc}") from exc
    value = _without_empty_sections(document.value)
    try:
        config = msgspec.convert(value, Config)
    except msgspec.ValidationError as exc:
        path, problem = _explain(str(exc), value)
        outwards = (path[:length] for length in range(len(path), -1, -1))
        line = next((document.lines[place] for place in outwards if place in document.lines), None)
        raise ConfigError(f"{_place(source, line)}: {problem}", param=dotted(path) or None) from exc
    return config if user_home is None else _with_home(config, user_home)


def check_key(path: KeyPath, value: Any) -> None:
    """Refuse what a key cannot be; whether it goes with other keys, the whole file says.

    Args:
        path: 1 or 2 parts, of which the key need not exist.
        value: As YAML and JSON have it.

    Raises:
        ConfigError: The message begins with the key.
    """
    nested = value
    for part in reversed(path):
        nested = {part: nested}
    try:
        msgspec.convert(nested, Config)
    except msgspec.ValidationError as exc:
        place, problem = _explain(str(exc), nested)
        if place[: len(path)] == path:
            raise ConfigError(problem, param=dotted(place)) from exc


def apply_overrides(config: Config, overrides: Overrides) -> Config:
    """Return the file's config with what the command line says over it."""
    value: dict[str, Any] = msgspec.to_builtins(config)
    given = {name: v for name, v in msgspec.to_builtins(overrides).items() if v is not None}
    if "engine" in given:
        value["engine"] = given.pop("engine")
    value["server"].update(given)
    try:
        return msgspec.convert(value, Config)
    except msgspec.ValidationError as exc:
        path, problem = _explain(str(exc), value)
        raise ConfigError(f"command line: {problem}", param=dotted(path) or None) from exc


def _place(source: str, line: int | None) -> str:
    return source if line is None else f"{source}, line {line}"


def _without_empty_sections(value: Any) -> Any:
    """Read a section whose keys are all commented out, which YAML calls null, as an empty one."""
    if not isinstance(value, dict):
        return value
    sections = {field.name for field in msgspec.structs.fields(Config) if is_section(field.type)}
    return {key: {} if item is None and key in sections else item for key, item in value.items()}


def _explain(message: str, value: Any) -> tuple[KeyPath, str]:
    """Turn msgspec's message into the path of the key at fault and a sentence that begins with it."""
    match = _ERROR_PATH.fullmatch(message)
    assert match is not None
    what = match["what"]
    path: KeyPath = tuple(
        int(index) if index.isdecimal() else (name or index) for name, index in _PATH_PART.findall(match["path"] or "")
    )
    if _ANY_KEY in path:  # of names that users choose: what it is about is the whole
        path = path[: path.index(_ANY_KEY)]
        got = _shortened(json.dumps(reduce(getitem, path, value)))
        return path, f"{dotted(path)}: expected {expected(path)}, got {got}"
    if unknown := _UNKNOWN_KEY.fullmatch(what):
        return _explain_unknown((*path, unknown[1]))
    if not what.startswith(("Expected", "Invalid enum value")):
        return path, what  # a __post_init__ of ours, which names its keys itself
    name = dotted(path) or "the file"
    # Messages end up in logs.
    got = "something else" if _NEVER_SHOWN.intersection(path[-1:]) else _shown(reduce(getitem, path, value))
    return path, f"{name}: expected {expected(path)}, got {got}"


def _explain_unknown(path: KeyPath) -> tuple[KeyPath, str]:
    known = [(*path[:-1], name) for name in UpstreamConfig.__struct_fields__] if path[0] == UPSTREAMS else key_paths()
    leaf = path[-1]
    elsewhere = [key for key in known if key[-1] == leaf]
    near = difflib.get_close_matches(dotted(path), [dotted(key) for key in known], n=1, cutoff=0.7)
    hint = dotted(elsewhere[0]) if elsewhere else near[0] if near else None
    advice = f"did you mean {hint}?" if hint else "`mlxr config show` lists the keys there are"
    path = tuple(part if isinstance(part, int) else _clean(part) for part in path)
    return path, f"{dotted(path)}: unknown key; {advice}"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list):
        return "a list"
    return _shortened(without_credentials(json.dumps(value)))


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_SHOWN_CHARS else text[: MAX_SHOWN_CHARS - 1] + "…"


def _clean(text: str) -> str:
    return json.dumps(text)[1:-1][:MAX_SHOWN_CHARS]


def _with_home(config: Config, user_home: Path) -> Config:
    """Put the home folder into every path, known by its type."""

    def expanded(value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(map(expanded, value))
        return str(user_home / value[2:]) if value is not None and value.startswith("~/") else value

    sections = {
        section.name: {
            key.name: expanded(getattr(getattr(config, section.name), key.name))
            for key in msgspec.structs.fields(section.type)
            if key.type in _PATH_TYPES
        }
        for section in msgspec.structs.fields(Config)
        if is_section(section.type)
    }
    replace = msgspec.structs.replace
    upstreams = tuple(
        replace(each, api_key_file=expanded(each.api_key_file), ca_file=expanded(each.ca_file))
        for each in config.upstreams
    )
    inner = {name: replace(getattr(config, name), **paths) for name, paths in sections.items()}
    return replace(config, upstreams=upstreams, **inner)
