"""Figures, sizes and times written for people, and texts of others made safe to show. Pure.

Not here: sentences (`words.py`), and how a form escapes a text.
"""

import time
import unicodedata
from typing import Final

from router.bench.figures.figures import FigureKind
from router.bench.figures.statistics import Interval
from router.bench.figures.summary import Figure

NOT_MEASURED: Final = "-"

_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_MANY: Final = 100
_SECOND_MS: Final = 1000
_STEP: Final = 1000
_WIDE_SPREAD: Final = 9.995


def plain(text: object) -> str:
    """Make a text of others safe to show on one line; what cannot be seen becomes a question mark."""
    return "".join("?" if unicodedata.category(char) in _INVISIBLE else char for char in str(text))


def amount(kind: FigureKind, value: float | None) -> str:
    """Write a figure for people.

    Args:
        value: In the kind's unit; None = not measured.

    Returns:
        E.g. `1.24 s`, `52.3 tok/s`, `98.0 MB`; `-` for None.
    """
    if value is None:
        return NOT_MEASURED
    if kind.unit == "bytes":
        return size(value)
    if kind.unit == "ms" and value >= _SECOND_MS:
        return f"{digits(value / 1000)} s"
    return f"{digits(value)} {kind.unit}"


def amount_and_interval(kind: FigureKind, figure: Figure) -> str:
    """Write a figure and the ends of its interval, e.g. `1012 tok/s (974 to 1024)`; `-` when it was not measured."""
    words = amount(kind, figure.value)
    if figure.value is None or figure.interval is None:
        return words
    ends = [amount(kind, end) for end in (figure.interval.low, figure.interval.high)]
    unit = words.rpartition(" ")[2]
    if all(end.endswith(f" {unit}") for end in ends):
        ends = [end.removesuffix(f" {unit}") for end in ends]
    return f"{words} ({' to '.join(ends)})"


def digits(value: float) -> str:
    """Write a number with three digits that count."""
    if abs(value) >= _MANY:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"  # noqa: PLR2004 - two digits before the point


def size(num_bytes: float) -> str:
    """Write a size, in powers of 1000."""
    value = num_bytes
    for unit in ("B", "kB", "MB", "GB"):
        if value < _STEP:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= _STEP
    return f"{value:.1f} TB"


def spread(figure: Figure) -> str:
    """Write how sure a figure is, e.g. `±4%`: its interval's farther end, `±>999%` at most; nothing without one."""
    if figure.interval is None or not figure.interval.mid:
        return ""
    middle = figure.interval.mid
    far = max(figure.interval.high - middle, middle - figure.interval.low) / middle
    return f"±{100 * far:.0f}%" if far < _WIDE_SPREAD else "±>999%"


def between(interval: Interval | None) -> str:
    """Write an interval, e.g. `between 1.45 and 1.57`; nothing without one."""
    return "" if interval is None else f"between {digits(interval.low)} and {digits(interval.high)}"


def moment(created_at: float) -> str:
    """Write a time of day, local, e.g. `2026-03-01 14:05`."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(created_at))


def duration(seconds: float) -> str:
    """Write how long something took, e.g. `3 min 05 s`."""
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"  # noqa: PLR2004 - a minute
