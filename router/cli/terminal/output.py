"""Printing: tables, JSON, sizes, and texts from strangers made safe for a terminal.

Plain text on purpose: importing rich takes longer than most verbs run. Bold and colour only on a terminal, and not with
NO_COLOR. Not here: what is printed.
"""

import json
import os
import re
import sys
import time
from collections.abc import Sequence
from typing import Any, Final, Generic, Self, TypeVar

import msgspec

_EventT = TypeVar("_EventT")

_UNSAFE: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]",
)
"""Control characters, and those that change the order of text or cannot be seen."""

_UNSAFE_BUT_LINES: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What may not be in an answer that is printed as it comes: line feed and tab may."""


REDRAW_S: Final = 0.2
"""Between two looks of a line that changes in place."""


def shown(text: object) -> str:
    r"""Make a text that others wrote safe to print on one line: control characters are escaped, `\x1b` for ESC."""
    return _UNSAFE.sub(_escaped, str(text))


def shown_answer(text: str) -> str:
    """Make a model's words safe to print; line feeds and tabs stay."""
    return _UNSAFE_BUT_LINES.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}"  # noqa: PLR2004 - two hex digits hold a byte


def print_json(value: Any) -> None:
    """Print Structs, and what JSON has, as indented JSON with only ASCII characters."""
    print(json.dumps(msgspec.to_builtins(value), indent=2))


def picture_sides(usual: int | None, high: int) -> str:
    """Write how large pictures are shown to a model, by their longer side in pixels."""
    words = "as large as it takes them" if usual is None else f"at most {usual} pixels by the longer side"
    return words if usual is None or high <= usual else f"{words}, {high} where a request asks for more"


def print_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print aligned columns, those of numbers to the right; cells are made safe, None is a dash."""
    table = [["-" if cell is None else shown(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [list(head), *table]) for i in range(len(head))]
    is_number = [_is_number_column([row[i] for row in rows]) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        aligned = (c.rjust(w) if n else c.ljust(w) for c, w, n in zip(cells, widths, is_number, strict=True))
        return "  ".join(aligned).rstrip()

    print(bold(line(head)))
    for row in table:
        print(line(row))


def _is_number_column(cells: Sequence[object]) -> bool:
    known = [cell for cell in cells if cell is not None]
    return bool(known) and all(isinstance(cell, int | float) for cell in known)


def print_facts(facts: Sequence[tuple[str, object]]) -> None:
    """Print names and values below each other; values are made safe, those that are None are left out."""
    known = [(name, value) for name, value in facts if value is not None]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        print(f"{name.ljust(width)}  {shown(value)}")


def has_colour() -> bool:
    """Tell whether stdout may carry colour. Source: no-color.org: any NO_COLOR that is not empty forbids it."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def bold(text: str) -> str:
    """Make a text bold where that is possible."""
    return f"\x1b[1m{text}\x1b[0m" if has_colour() else text


def dim(text: str) -> str:
    """Make a text dim where that is possible."""
    return f"\x1b[2m{text}\x1b[0m" if has_colour() else text


def size(num_bytes: int | None) -> str | None:
    """Write a size for people, e.g. `98.0 MB` (powers of 1000, as disks and hubs count); None stays None."""
    if num_bytes is None:
        return None
    value = float(num_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 1000:  # noqa: PLR2004 - the step of SI prefixes
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def count(number: int | None) -> str | None:
    """Write a large number for people, e.g. `134.5M` parameters; None stays None."""
    if number is None:
        return None
    for limit, unit in ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K")):
        if number >= limit:
            return f"{number / limit:.1f}{unit}"
    return str(number)


def moment(at: float | None) -> str | None:
    """Write a time, seconds since 1970, as `2026-01-31 17:05` of this machine's clock."""
    return None if at is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def plural(number: int, noun: str) -> str:
    """Write a number and a noun, e.g. `1 file`, `2 files`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


class Printer(Generic[_EventT]):
    """Shows the events of some work; used in a `with`, which leaves the terminal as it was."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing; those that draw in place end it here."""

    def show(self, event: _EventT) -> None:
        """Show one event."""
        raise NotImplementedError


class ByteBar:
    """One line on stderr of how far bytes are, with their speed; on a terminal only. Used in a `with`, or cleared."""

    def __init__(self, total_bytes: int, *, is_shown: bool = True) -> None:
        self._total_bytes = max(1, total_bytes)
        self._is_shown = is_shown and sys.stderr.isatty()
        self._done_bytes = 0
        self._started_at = time.monotonic()
        self._drawn_at = float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Take the line away."""
        self.clear()

    def advance(self, num_bytes: int) -> None:
        """Count bytes that were dealt with."""
        self._done_bytes += num_bytes
        now = time.monotonic()
        if self._is_shown and now - self._drawn_at >= REDRAW_S:
            self._drawn_at = now
            speed = int(self._done_bytes / max(1e-3, now - self._started_at))
            share = min(1.0, self._done_bytes / self._total_bytes)
            print(f"\r{share:4.0%} of {size(self._total_bytes)}, {size(speed)}/s ", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take the line away."""
        if self._is_shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
