"""JSON pointers in `$ref`: which part of a schema they mean.

Source: RFC 6901, sections 4 and 6.
"""

import urllib.parse
from typing import Any, NamedTuple

_MAX_REFS = 16


class Referenced(NamedTuple):
    """What a pointer leads to; a tuple of its own because the value may be any JSON, null included."""

    value: Any


def resolve(root: Any, reference: str) -> Referenced | None:
    """Return the part of `root` that `#` or `#/a/0/b` means, or None when there is none.

    Args:
        root: A JSON document.
        reference: A URI fragment, `#` included.
    """
    pointer = urllib.parse.unquote(reference)
    if pointer == "#":
        return Referenced(root)
    if not pointer.startswith("#/"):
        return None
    value = root
    for part in pointer[2:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and key.isascii() and int(key[:9]) < len(value):
            value = value[int(key[:9])]
        else:
            return None
    return Referenced(value)


def followed(root: Any, schema: Any) -> Any:
    """Return `schema`, or what its `$ref` leads to inside `root`; None where it leads nowhere, or on and on."""
    for _ in range(_MAX_REFS):
        if not isinstance(schema, dict) or not isinstance(schema.get("$ref"), str):
            return schema
        target = resolve(root, schema["$ref"])
        if target is None:
            return None
        schema = target.value
    return None
