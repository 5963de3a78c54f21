"""Slides to Markdown: titles, texts, tables and notes, in the order in which they are shown.

Source: ECMA-376-1, 13.3 (parts), 19.3.1 (slides), 21.1.2 (texts), 21.1.3 (tables).
"""

import posixpath
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Final

from router.documents.formats.archive import Archive
from router.documents.formats.report import DAMAGED, Report, UnreadableError, counted
from router.documents.formats.tables import table

Element = ET.Element

_TRANSITIONAL: Final = {
    b"http://purl.oclc.org/ooxml/presentationml/main": b"http://schemas.openxmlformats.org/presentationml/2006/main",
    b"http://purl.oclc.org/ooxml/drawingml/main": b"http://schemas.openxmlformats.org/drawingml/2006/main",
    b"http://purl.oclc.org/ooxml/officeDocument/relationships": (
        b"http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    ),
}
"""Namespaces of the strict form, and what is read."""
_A: Final = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_P: Final = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_R: Final = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}"
_PART: Final = "ppt/presentation.xml"
_LEVELS: Final = frozenset("012345678")
_TITLES: Final = frozenset({"title", "ctrTitle"})
_FURNITURE: Final = frozenset({"dt", "ftr", "sldNum", "hdr", "sldImg"})
"""Placeholders that stand on every slide."""


def pptx_pieces(archive: Archive, report: Report, *, max_pages: int) -> Iterator[str]:
    """Yield what slides say.

    Raises:
        UnreadableError: There are none.
    """
    root, related = _part(archive, _PART), _related(archive, _PART)
    ids = [slide.get(f"{_R}id") for slide in root.iter(f"{_P}sldId")]
    names = [related[each][1] for each in ids if each in related]
    if not names:
        raise UnreadableError(f"{DAMAGED}: it has no slides")
    report.num_pages = len(names)
    num_hidden = 0
    for number, name in enumerate(names[:max_pages], 1):
        slide = _part(archive, name)
        num_hidden += slide.get("show") in {"0", "false"}
        yield from _slide_pieces(slide, number, report)
        yield from _notes(archive, name)
    if num_hidden:
        report.notes.append(f"{counted(num_hidden, 'slide')} hidden when it is shown.")


def _slide_pieces(slide: Element, number: int, report: Report) -> Iterator[str]:
    titles: list[str] = []
    texts: list[str] = []
    for shape in slide.iter():
        match shape.tag.removeprefix(_P):
            case "sp" if (kind := _placeholder(shape)) not in _FURNITURE:
                paragraphs = list(_paragraphs(shape))
                (titles if kind in _TITLES else texts).extend(_bulleted(paragraphs, is_title=kind in _TITLES))
            case "pic":
                report.note_picture()
            case "graphicFrame":
                texts.extend(_tables(shape))
    title = " ".join(titles)
    yield f"## Slide {number}" + (f": {title}" if title else "") + "\n\n"
    yield from texts


def _bulleted(paragraphs: list[tuple[int, str]], *, is_title: bool) -> Iterator[str]:
    if is_title or len(paragraphs) == 1:
        yield " ".join(text for _, text in paragraphs) + ("" if is_title else "\n\n")
    elif paragraphs:
        yield "".join(f"{'  ' * level}- {text}\n" for level, text in paragraphs) + "\n"


def _tables(frame: Element) -> Iterator[str]:
    for grid in frame.iter(f"{_A}tbl"):
        rows = ([_text(cell) for cell in row.iter(f"{_A}tc")] for row in grid.iter(f"{_A}tr"))
        yield from table(rows)


def _notes(archive: Archive, slide: str) -> Iterator[str]:
    for kind, name in _related(archive, slide).values():
        if kind.endswith("/notesSlide") and name in archive.names:
            shapes = (shape for shape in _part(archive, name).iter(f"{_P}sp") if _placeholder(shape) == "body")
            text = " ".join(text for shape in shapes for _, text in _paragraphs(shape))
            if text:
                yield f"Notes: {text}\n\n"


def _placeholder(shape: Element) -> str | None:
    """Return what a shape stands for on its slide: `title`, `body`, ...; None = it is none of the layout's."""
    found = shape.find(f"{_P}nvSpPr/{_P}nvPr/{_P}ph")
    return None if found is None else found.get("type", "body")


def _paragraphs(shape: Element) -> Iterator[tuple[int, str]]:
    """Yield texts that are not empty, each with its level."""
    for paragraph in shape.iter(f"{_A}p"):
        text = _text(paragraph)
        if text:
            about = paragraph.find(f"{_A}pPr")
            level = "0" if about is None else about.get("lvl", "0")
            yield int(level) if level in _LEVELS else 0, text


def _text(element: Element) -> str:
    pieces = []
    for each in element.iter():
        if each.tag == f"{_A}t":
            pieces.append(each.text or "")
        elif each.tag in {f"{_A}br", f"{_A}p"}:
            pieces.append(" ")
    return " ".join("".join(pieces).split())


def _part(archive: Archive, name: str) -> Element:
    data = archive.read(name)
    for strict, usual in _TRANSITIONAL.items():
        data = data.replace(strict, usual)
    try:
        return ET.fromstring(data)  # noqa: S314 - it was looked through: no DTD, bounded depth and size
    except ET.ParseError as exc:
        raise UnreadableError(f"{DAMAGED}: {name:.100} is no XML") from exc


def _related(archive: Archive, name: str) -> dict[str | None, tuple[str, str]]:
    """Return what a part refers to by id: the type, and the name of the part; nothing outside of the document."""
    folder, _, bare = name.rpartition("/")
    relations = f"{folder}/_rels/{bare}.rels"
    if relations not in archive.names:
        return {}
    found: dict[str | None, tuple[str, str]] = {}
    for each in _part(archive, relations):
        target = each.get("Target", "")
        path = target.lstrip("/") if target.startswith("/") else posixpath.normpath(f"{folder}/{target}")
        if each.get("TargetMode") != "External":
            found[each.get("Id")] = (each.get("Type", ""), path)
    return found
