"""Plain values -> YAML text that `yaml_text.parse` reads back unchanged. For files that people edit.

Texts of several lines become blocks, so that prompts and templates can be read. Not here: editing a file in place
(`edit.py`).
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

INDENT: Final = "  "

_PLAIN_KEY: Final = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)

_BLOCK: Final = re.compile(
    r"[^\x00-\x09\x0b-\x1f\x7f-\xa0\u2028\u2029\ud800-\uf8ff\ufeff\ufffe\uffff\U00010000-\U0010ffff]+"
)
"""Text that may stand in a block as it is: line feeds and printable characters. Anything else is escaped in quotes."""


def dump(value: Mapping[str, Any]) -> str:
    """Write a mapping.

    Args:
        value: Of text, numbers, booleans, None, and lists and mappings of these; keys are text.
    """
    return "".join(f"{line}\n" for line in _mapping(value, "")) or "{}\n"


def _mapping(value: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, item in value.items():
        name = key if _PLAIN_KEY.fullmatch(key) and key not in {"true", "false", "null"} else _quoted(key)
        if isinstance(item, Mapping) and item:
            yield f"{indent}{name}:"
            yield from _mapping(item, indent + INDENT)
        elif isinstance(item, str) and _is_block(item):
            yield from _block(f"{indent}{name}: ", item, indent + INDENT)
        else:
            yield f"{indent}{name}: {_flow(item)}"


def _is_block(text: str) -> bool:
    return "\n" in text[:-1] and _BLOCK.fullmatch(text) is not None


def _block(head: str, text: str, indent: str) -> Iterator[str]:
    """Source: YAML 1.2.2, 8.1.1: the indentation is said, `-` drops the last line feed, `+` keeps all of them."""
    body = text.rstrip("\n")
    num_feeds = len(text) - len(body)
    if not body:
        yield f"{head}{_quoted(text)}"
        return
    chomping = "-" if num_feeds == 0 else "" if num_feeds == 1 else "+"
    yield f"{head}|{len(INDENT)}{chomping}"
    for line in body.split("\n"):
        yield f"{indent}{line}" if line else ""
    yield from [""] * max(0, num_feeds - 1)


def _flow(value: Any) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_quoted(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return json.dumps(value)  # JSON's scalars are YAML's


def _quoted(text: str) -> str:
    """JSON's escapes are among YAML's; what YAML does not take as it is, is escaped.

    Source: YAML 1.2.2, 5.7: an escape of 16 bits is no half of a surrogate pair, so large characters stay as they are.
    """
    quoted = json.dumps(text, ensure_ascii=False)
    return re.sub("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]", lambda match: f"\\u{ord(match[0]):04x}", quoted)
