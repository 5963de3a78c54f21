"""Names of tools as models can write them, whatever clients call their tools. Pure."""

import re
from collections.abc import Iterable
from typing import Final

MAX_CHARS: Final = 128
_ODD: Final = re.compile(r"[^A-Za-z0-9_.\-]")


def writable_name(name: str) -> str:
    """Return a name that every syntax of calls can hold; the same one where it can."""
    return _ODD.sub("_", name)[:MAX_CHARS]


def writable_names(names: Iterable[str]) -> dict[str, str]:
    """Return such a name for each of some tools, no two the same."""
    chosen: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        base = writable = writable_name(name)
        number = 2
        while writable in taken:
            writable = f"{base[: MAX_CHARS - 4]}_{number}"
            number += 1
        taken.add(writable)
        chosen[name] = writable
    return chosen
