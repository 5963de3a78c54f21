"""Word documents to Markdown, by way of mammoth's HTML; nothing that they refer to is opened.

Pictures, embedded files and what somebody deleted with changes tracked are left out.
"""

import io
from collections.abc import Iterator
from typing import Any, Final

import mammoth
from mammoth import html

from router.documents.formats.archive import Archive
from router.documents.formats.markup import blocks_of
from router.documents.formats.report import DAMAGED, Report, UnreadableError

_STYLES: Final = "p[style-name='Title'] => h1:fresh\np[style-name='Subtitle'] => h2:fresh"
"""Beside those that mammoth knows."""


def docx_pieces(data: bytes, archive: Archive, report: Report) -> Iterator[str]:
    """Yield what a document says.

    Raises:
        UnreadableError: It has no text to find, or none that is whole.
    """
    if "word/document.xml" not in archive.names and "_rels/.rels" not in archive.names:
        raise UnreadableError(f"{DAMAGED}: it has no text part")

    def words(image: Any) -> list[Any]:
        report.note_picture()
        return [html.text(f"[picture: {image.alt_text}]")] if image.alt_text else []

    try:
        made = mammoth.convert_to_html(
            io.BytesIO(data),
            style_map=_STYLES,
            convert_image=words,
            include_embedded_style_map=False,
            external_file_access=False,
        )
    except (KeyError, AttributeError, TypeError, ValueError, IndexError, OSError) as exc:
        raise UnreadableError(DAMAGED) from exc
    yield from blocks_of(made.value, report)
