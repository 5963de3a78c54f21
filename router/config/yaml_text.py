"""YAML text -> plain values and the line of every key. A small, strict part of YAML: what a config needs.

Refused, each with its line: duplicate keys, anchors and aliases, merge keys, tags, several documents, and text
beyond the limits. Not here: what the keys mean (`load.py`).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from ruamel.yaml.nodes import Node

MAX_TEXT_BYTES = 1 << 20
"""Largest config text. The shipped one has 10 kB; a megabyte is a mistake, and would take seconds to parse."""

MAX_DEPTH = 16
"""Deepest nesting; the config has 3 levels."""

KeyPath = tuple[str | int, ...]


class YAMLTextError(ValueError):
    """Text that is not the part of YAML that a config may use; every function here may raise it.

    Attributes:
        line: 1-based, or None when unknown.
    """

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


class Document(msgspec.Struct, frozen=True):
    """A parsed text.

    Attributes:
        value: dicts, lists, str, int, float, bool, None. An empty text gives an empty dict.
        lines: Key path -> 1-based line where the key, or list item, stands.
    """

    value: Any
    lines: dict[KeyPath, int]


def parse(text: str, *, max_bytes: int = MAX_TEXT_BYTES) -> Document:
    """Parse a config text of at most so many bytes of UTF-8."""
    if len(text.encode("utf-8", "surrogatepass")) > max_bytes:
        raise YAMLTextError(f"the file is larger than {max_bytes} bytes")
    root = compose(text)
    lines: dict[KeyPath, int] = {}
    value = {} if root is None else _Reader(lines).read(root, ())
    return Document({} if value is None else value, lines)


def compose(text: str) -> "Node | None":
    """Return the root of a text's tree of nodes, each with its place in the text; None for an empty text."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - slow, and most verbs read no YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError  # noqa: PLC0415 - slow, and most verbs read no YAML

    try:
        # Composing stops before any object is built: no tag is acted upon.
        return YAML(typ="rt", pure=True).compose(text)  # type: ignore[no-any-return]
    except MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        problem = " ".join(str(exc.problem or exc.context or "not valid YAML").split())
        raise YAMLTextError(problem, None if mark is None else mark.line + 1) from exc
    except YAMLError as exc:
        raise YAMLTextError(" ".join(str(exc).split())) from exc
    except RecursionError as exc:
        raise YAMLTextError("it is nested too deeply") from exc


class _Reader:
    """Turns nodes into values; one per text.

    Args:
        lines: Filled with the line of each key.
    """

    def __init__(self, lines: dict[KeyPath, int]) -> None:
        self._lines = lines
        self._seen: set[int] = set()

    def read(self, node: "Node", path: KeyPath) -> Any:
        """Turn one node, and all below it, into a value."""
        line = _line(node)
        # An alias is composed to the very node of its anchor.
        if node.anchor is not None or id(node) in self._seen:
            raise YAMLTextError("anchors (&) and aliases (*) cannot be used here", line)
        if len(path) > MAX_DEPTH:
            raise YAMLTextError("it is nested too deeply", line)
        self._seen.add(id(node))
        self._lines.setdefault(path, line)
        kind = str(node.tag).rpartition(":")[2]
        if kind == "map":
            return self._read_mapping(node, path)
        if kind == "seq":
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        return _scalar(node, kind)

    def _read_mapping(self, node: "Node", path: KeyPath) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = _line(key_node)
            if str(key_node.tag) != "tag:yaml.org,2002:str":
                raise YAMLTextError(f"a key must be a word, not {_quoted(key_node)}", line)
            key = key_node.value
            key_path = (*path, key)
            if key in result:
                raise YAMLTextError(
                    f"{dotted(key_path)} is given twice, first on line {self._lines[key_path]}; keep one of them", line
                )
            self._lines[key_path] = line
            result[key] = self.read(value_node, key_path)
        return result


def _scalar(node: "Node", kind: str) -> Any:
    text = str(node.value)
    convert = _SCALARS.get(kind)
    if convert is None:
        raise YAMLTextError(f"the tag or value {_quoted(node)} cannot be used here", _line(node))
    try:
        return convert(text)
    except (ValueError, KeyError) as exc:
        raise YAMLTextError(f"{_quoted(node)} is no {kind}", _line(node)) from exc


def _integer(text: str) -> int:
    # YAML 1.2, 10.3.2: decimal (leading zeros allowed), 0o7 octal, 0x3A hexadecimal.
    return int(text, 0 if text.lower().lstrip("+-").startswith(("0o", "0x")) else 10)


def _float(text: str) -> float:
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


_SCALARS: dict[str, Callable[[str], Any]] = {
    "str": str,
    "int": _integer,
    "float": _float,
    # YAML 1.1's yes/no/on/off are words here.
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "null": lambda _text: None,
}


def _line(node: "Node") -> int:
    return int(node.start_mark.line) + 1


def _quoted(node: "Node") -> str:
    text = node.value if isinstance(node.value, str) else "a list or a section"
    return repr(text[:40])


def dotted(path: KeyPath) -> str:
    """Write a key path as people do: `server.allowed_hosts[1]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
