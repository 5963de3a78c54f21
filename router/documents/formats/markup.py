"""HTML to Markdown: what a reader would see of it, without scripts, styles and pictures. Never recursive.

Source: WHATWG HTML, 4 (which elements are blocks); CommonMark 0.31.
"""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Final

from router.documents.formats.report import Report
from router.documents.formats.tables import fenced, table

_UNSEEN: Final = frozenset(
    {"script", "style", "template", "noscript", "svg", "math", "title", "iframe", "object", "select"}
)
"""`head` is none of them: its end may be left out, and nothing else in it is text."""
_VOID: Final = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"})
_BLOCKS: Final = frozenset(
    {"address", "article", "aside", "blockquote", "body", "dd", "details", "dialog", "div", "dl", "dt", "fieldset"}
    | {"figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "html", "legend"}
    | {"li", "main", "nav", "ol", "p", "pre", "section", "summary", "table", "tbody", "td", "tfoot", "th", "thead"}
    | {"tr", "ul"}
)
_MARKS: Final = {"b": "**", "strong": "**", "i": "*", "em": "*", "code": "`", "del": "~~", "s": "~~"}
_LINKED: Final = re.compile(r"(?:https?|mailto):", re.IGNORECASE)
_SPACE: Final = re.compile(r"\s+")
_MAX_MARKS: Final = 50
"""Open at a time that an end is looked for in."""
_SPAN_DIGITS: Final = 2
"""Of the columns that a cell takes."""
_MAX_LISTS: Final = 12
"""Levels of lists that are indented."""


class MarkdownMaker(HTMLParser):
    """Takes HTML in and gives blocks of Markdown.

    Args:
        report: Told of pictures that are left out.
    """

    def __init__(self, report: Report) -> None:
        super().__init__(convert_charrefs=True)
        self._report = report
        self._blocks: list[str] = []
        self._line: list[str] = []
        self._lead = ""
        self._unseen: list[str] = []
        self._lists: list[int | None] = []
        self._marks: list[tuple[str, int]] = []
        self._links: list[tuple[str, int]] = []
        self._quotes = 0
        self._is_pre = False
        self._rows: list[list[str]] | None = None
        self._num_tables = 0
        self._is_in_cell = False
        self._num_more = 0

    def take_blocks(self) -> list[str]:
        """Return the blocks that are complete, once."""
        blocks, self._blocks = self._blocks, []
        return blocks

    def finish(self) -> list[str]:
        """Return the rest."""
        self.close()
        self._end_table()
        self._end_block()
        return self.take_blocks()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin an element."""
        if self._unseen or (tag in _UNSEEN):
            if tag not in _VOID:
                self._unseen.append(tag)
            return
        attributes = dict(attrs)
        if tag in _MARKS and not self._is_pre:
            self._marks.append((tag, len(self._line)))
        elif tag == "a":
            self._links.append((attributes.get("href") or "", len(self._line)))
        elif tag == "img":
            self._picture(attributes.get("alt") or "")
        elif self._rows is not None or tag == "table":
            self._begin_in_table(tag, attributes)
        else:
            self._begin(tag)

    def _begin(self, tag: str) -> None:
        if tag in _BLOCKS:
            self._end_block()
        match tag:
            case "h1" | "h2" | "h3" | "h4" | "h5" | "h6":
                self._lead = "#" * int(tag[1]) + " "
            case "ul" | "ol":
                self._lists.append(1 if tag == "ol" else None)
            case "li":
                self._lead = self._bullet()
            case "blockquote":
                self._quotes += 1
            case "pre":
                self._is_pre = True
            case "br":
                self._line.append("\n")
            case "hr":
                self._blocks.append("---\n\n")

    def _begin_in_table(self, tag: str, attributes: dict[str, str | None]) -> None:
        """Begin an element of a table, or in one; a table within a table is a part of its cell."""
        if tag == "table":
            if self._rows is None:
                self._end_block()
                self._rows = []
            self._num_tables += 1
        elif self._num_tables > 1 or tag not in {"tr", "td", "th"}:
            self._line.append(" " if tag in _BLOCKS or tag == "br" else "")
        else:
            self._end_cell()
            assert self._rows is not None
            if tag == "tr" or not self._rows:
                self._rows.append([])
            self._is_in_cell = tag != "tr"
            span = attributes.get("colspan") or ""
            self._num_more = int(span) - 1 if span.isdecimal() and len(span) <= _SPAN_DIGITS and int(span) else 0

    def handle_endtag(self, tag: str) -> None:
        """End an element; one that was never begun is nothing."""
        if self._unseen:
            if tag in self._unseen:
                while self._unseen.pop() != tag:
                    pass
            return
        if tag in _MARKS and not self._is_pre:
            self._end_mark(tag)
        elif tag == "a" and self._links:
            self._end_link(*self._links.pop())
        elif self._rows is not None:
            self._end_in_table(tag)
        elif tag in _BLOCKS:
            self._end(tag)

    def _end_in_table(self, tag: str) -> None:
        if tag == "table":
            self._num_tables -= 1
            if not self._num_tables:
                self._end_table()
        elif self._num_tables == 1 and tag in {"td", "th"}:
            self._end_cell()
        elif tag in _BLOCKS:
            self._line.append(" ")

    def _end(self, tag: str) -> None:
        self._end_block()
        if tag in {"ul", "ol"} and self._lists:
            self._lists.pop()
            if not self._lists:
                self._blocks.append("\n")
        elif tag == "blockquote":
            self._quotes = max(0, self._quotes - 1)
        elif tag == "pre":
            self._is_pre = False

    def handle_data(self, data: str) -> None:
        """Take a text in."""
        if not self._unseen:
            self._line.append(data if self._is_pre else _SPACE.sub(" ", data))

    def _picture(self, text: str) -> None:
        self._report.note_picture()
        if text.strip():
            self._line.append(f"[picture: {_SPACE.sub(' ', text).strip()}]")

    def _end_link(self, target: str, start: int) -> None:
        """Write a link, whose text begins at a place of the line; one that says nothing beside its text is the text."""
        text = "".join(self._line[start:]).strip()
        if _LINKED.match(target) and text and text not in target:
            self._line[start:] = [f"[{text}]({target})"]

    def _end_mark(self, tag: str) -> None:
        """Put marks round the text since they began, within its spaces; those that were left open end with it."""
        start = next((start for name, start in reversed(self._marks[-_MAX_MARKS:]) if name == tag), None)
        if start is None:
            return
        while self._marks.pop()[0] != tag:
            pass
        text = "".join(self._line[start:])
        inner = text.strip()
        if inner:
            before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
            self._line[start:] = [before, _MARKS[tag], inner, _MARKS[tag], after]

    def _bullet(self) -> str:
        depth = min(len(self._lists), _MAX_LISTS)
        number = self._lists[-1] if self._lists else None
        if number is None:
            return "  " * max(0, depth - 1) + "- "
        self._lists[-1] = number + 1
        return "   " * max(0, depth - 1) + f"{number}. "

    def _taken_line(self) -> str:
        """Return the text since the last block or cell; marks and links that are open end with it."""
        text, self._line = "".join(self._line), []
        self._marks.clear()
        self._links.clear()
        return text

    def _end_block(self) -> None:
        text = self._taken_line()
        lead, self._lead = self._lead, ""
        is_item = bool(self._lists)
        if self._is_pre:
            text = fenced(text.strip("\n")) if text.strip() else ""
        else:
            lines = (line.strip() for line in text.split("\n"))
            text = "\n".join(line for line in lines if line)
        if not text or not text.strip("*`~ "):
            self._lead = "" if text else lead
            return
        text = lead + text
        if self._quotes:
            text = "\n".join("> " + line for line in text.split("\n"))
        self._blocks.append(text + ("\n" if is_item else "\n\n"))

    def _end_cell(self) -> None:
        """End the cell that there is; what stands between cells, such as a caption, is a block before the table."""
        text = _SPACE.sub(" ", self._taken_line()).strip()
        if self._is_in_cell and self._rows:
            self._rows[-1] += [text, *[""] * self._num_more]
        elif text:
            self._blocks.append(text + "\n\n")
        self._is_in_cell = False

    def _end_table(self) -> None:
        if self._rows is None:
            return
        self._end_cell()
        rows, self._rows, self._num_tables = self._rows, None, 0
        if rows:
            self._blocks.extend(table(rows))


_FEED_CHARS: Final = 1 << 16


def blocks_of(html: str, report: Report) -> Iterator[str]:
    """Yield the blocks of a page."""
    maker = MarkdownMaker(report)
    for start in range(0, len(html), _FEED_CHARS):
        maker.feed(html[start : start + _FEED_CHARS])
        yield from maker.take_blocks()
    yield from maker.finish()
