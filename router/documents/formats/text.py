"""Text, code, CSV and HTML to Markdown.

Source: RFC 3629 (UTF-8), WHATWG HTML 13.2.3.2 (which encoding a page has), RFC 4180 (CSV).
"""

import codecs
import csv
import io
import re
from collections.abc import Iterator
from typing import Final

from router.documents.formats.markup import blocks_of
from router.documents.formats.report import Report, UnreadableError
from router.documents.formats.tables import fenced, table
from router.documents.kinds import LANGUAGES, suffix_of

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CHARSET: Final = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?([\w-]{1,40})", re.IGNORECASE)
_HEAD_BYTES: Final = 2048
_WESTERN: Final = "cp1252"
_NEITHER: Final = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_MAX_ODD_SHARE: Final = 0.01
_DELIMITERS: Final = ",;\t|"
_MAX_CELL_CHARS: Final = 1 << 20
_PIECE_CHARS: Final = 1 << 16


def decoded(data: bytes, report: Report, *, declared: str | None = None) -> str:
    """Return the text of some bytes.

    Args:
        declared: The encoding that they say they have.

    Raises:
        UnreadableError: They are no text.
    """
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), None)
    text = _decoded_as(data, encoding or "utf-8")
    if text is None and declared is not None:
        text = _decoded_as(data, declared)
    if text is None and encoding is None:
        text = data.decode(_WESTERN, "replace")
        report.notes.append("It is not UTF-8, and was read as Windows-1252.")
    if text is None or len(_NEITHER.findall(text)) > _MAX_ODD_SHARE * len(text) + 1:
        raise UnreadableError("is no text")
    return _NEITHER.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def text_pieces(data: bytes, report: Report) -> Iterator[str]:
    """Yield a text as it is."""
    text = decoded(data, report)
    for start in range(0, len(text), _PIECE_CHARS):
        yield text[start : start + _PIECE_CHARS]


def code_pieces(name: str, data: bytes, report: Report) -> Iterator[str]:
    """Yield code in a fence."""
    yield fenced(decoded(data, report).strip("\n"), LANGUAGES[suffix_of(name)])


def html_pieces(data: bytes, report: Report) -> Iterator[str]:
    """Yield what a page says."""
    found = _CHARSET.search(data[:_HEAD_BYTES])
    yield from blocks_of(decoded(data, report, declared=found[1].decode() if found else None), report)


def csv_pieces(data: bytes, report: Report) -> Iterator[str]:
    """Yield rows as a table; what parts their cells is what there is most of in the first line.

    Raises:
        UnreadableError: They cannot be told apart.
    """
    text = decoded(data, report)
    head = [line for line in text[:_HEAD_BYTES].split("\n")[:20] if line.strip()]
    first, all_lines = head[0] if head else "", "".join(head)
    delimiter = max(_DELIMITERS, key=lambda mark: (first.count(mark), all_lines.count(mark)))
    csv.field_size_limit(_MAX_CELL_CHARS)
    try:
        yield from table(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as exc:
        raise UnreadableError(f"is no CSV: {exc}") from exc


def _decoded_as(data: bytes, encoding: str) -> str | None:
    try:
        codec = codecs.lookup(encoding)
        return data.decode(encoding) if codec._is_text_encoding else None  # noqa: SLF001 - as bytes.decode itself does
    except (LookupError, UnicodeError):
        return None
