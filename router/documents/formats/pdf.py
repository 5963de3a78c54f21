"""PDFs to text, page by page, by PDFium (C++), whose defects end the child.

Source: fpdfview.h (FPDF_GetLastError); fpdf_text.h: a hyphen that parts a word at a line's end is U+FFFE or U+0002.
"""

import re
from collections.abc import Iterator
from typing import Final

import pypdfium2
from pypdfium2 import raw

from router.documents.formats.page_pictures import picture_of
from router.documents.formats.report import DAMAGED, ENCRYPTED, Report, UnreadableError

_HYPHEN: Final = re.compile("[\ufffe\x02]\n?")
_ODD: Final = re.compile("[\x00-\x08\x0b-\x1f\ufeff]")


def pdf_pieces(data: bytes, report: Report, *, max_pages: int) -> Iterator[str]:
    """Yield what pages say.

    Raises:
        UnreadableError: It is encrypted, or not whole.
    """
    try:
        document = pypdfium2.PdfDocument(data)
        report.num_pages = len(document)
    except pypdfium2.PdfiumError as exc:
        is_locked = exc.err_code in {raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY}
        raise UnreadableError(ENCRYPTED if is_locked else DAMAGED) from exc
    if not report.num_pages:
        raise UnreadableError(f"{DAMAGED}: it has no pages")
    num_broken = 0
    for number in range(1, min(report.num_pages, max_pages) + 1):
        try:
            text = _text_of(document, number, report)
        except pypdfium2.PdfiumError:
            num_broken += 1
            continue
        if text:
            yield f"<!-- page {number} -->\n\n{text}\n\n"
    if num_broken == min(report.num_pages, max_pages):
        raise UnreadableError(DAMAGED)
    if num_broken:
        report.notes.append(f"{num_broken} of its pages cannot be read.")


def _text_of(document: pypdfium2.PdfDocument, number: int, report: Report) -> str:
    page = document[number - 1]
    try:
        read = page.get_textpage()
        try:
            text = str(read.get_text_range()).replace("\r\n", "\n").replace("\r", "\n")
        finally:
            read.close()
        text = _ODD.sub("", _HYPHEN.sub("", text)).strip()
        if not text and any(True for _ in page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=3)):
            report.scanned.append(number)
            if report.has_room_for_pictures:
                report.add_picture(picture_of(page))
        return text
    finally:
        page.close()
