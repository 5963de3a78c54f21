"""Rows and code as Markdown. Pure."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Final

_RUN: Final = re.compile(r"`{3,}")
_BLANK: Final = re.compile(r"\s+")
_ROWS_PER_PIECE: Final = 200
_LOOKED_AT: Final = 100
"""Rows by which a table's width is known; what is further right in later ones is kept, without a head."""


def table(rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield a table in pieces, its first row as the head."""
    filled = (row for row in (_trimmed(row) for row in rows) if row)
    first = list(islice(filled, _LOOKED_AT))
    if not first:
        return
    width = max(map(len, first))
    lines = [_line(first[0], width), "|" + " --- |" * width, *(_line(row, width) for row in first[1:])]
    for row in filled:
        lines.append(_line(row, width))
        if len(lines) >= _ROWS_PER_PIECE:
            yield "\n".join(lines) + "\n"
            lines = []
    yield "\n".join([*lines, "", ""]) if lines else "\n"


def fenced(text: str, language: str = "") -> str:
    """Return code in a fence that no line of it closes."""
    longest = max((len(run) for run in _RUN.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _line(row: Sequence[str], width: int) -> str:
    cells = chain(row, [""] * (width - len(row)))
    return "| " + " | ".join(cells) + " |"


def _trimmed(row: Sequence[str]) -> list[str]:
    """Return a row in one line, without empty cells at its end."""
    cells = [_BLANK.sub(" ", cell).strip().replace("|", "\\|") for cell in row]
    while cells and not cells[-1]:
        cells.pop()
    return cells
