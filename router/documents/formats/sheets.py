"""Spreadsheets to Markdown, a table each: values as they were when it was saved; nothing is computed.

By calamine (Rust), whose defects end the child.
"""

import datetime as dt
import io
from collections.abc import Iterator
from typing import Any, Final

import python_calamine

from router.documents.formats.report import DAMAGED, ENCRYPTED, Report, UnreadableError, counted
from router.documents.formats.tables import table

_EXACT: Final = 1e15
"""Whole numbers below it are exact as floats; all numbers of a sheet are."""


def sheet_pieces(data: bytes, report: Report, *, max_pages: int) -> Iterator[str]:
    """Yield what sheets hold.

    Raises:
        UnreadableError: It is encrypted, or not whole.
    """
    try:
        book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
        report.num_pages = len(book.sheet_names)
        num_hidden = 0
        for about in book.sheets_metadata[:max_pages]:
            num_hidden += about.visible != python_calamine.SheetVisibleEnum.Visible
            if about.typ == python_calamine.SheetTypeEnum.WorkSheet:
                yield f"## Sheet: {' '.join(about.name.split())}\n\n"
                rows = book.get_sheet_by_name(about.name).iter_rows()
                yield from table([_shown(cell) for cell in row] for row in rows)
    except python_calamine.PasswordError as exc:
        raise UnreadableError(ENCRYPTED) from exc
    except (python_calamine.CalamineError, OSError, ValueError) as exc:
        raise UnreadableError(DAMAGED) from exc
    if num_hidden:
        report.notes.append(f"{counted(num_hidden, 'sheet')} hidden when it is shown.")


def _shown(cell: Any) -> str:
    match cell:
        case bool():
            return "TRUE" if cell else "FALSE"
        case float() if cell.is_integer() and abs(cell) < _EXACT:
            return str(int(cell))
        case dt.datetime():
            return cell.isoformat(sep=" ").removesuffix(" 00:00:00")
    return str(cell)
