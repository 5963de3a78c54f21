"""Sound documents of every kind to Markdown."""

import io
from typing import Any

import pytest
from PIL import Image

from router.documents.formats.archive import XMLWatch
from router.documents.formats.report import UnreadableError
from router.documents.kinds import Kind
from router.documents.messages import MAX_PICTURES, Reading
from tests.support.document_reading import read_here
from tests.support.documents import (
    cells,
    docx,
    ods,
    ods_row,
    paragraph,
    pdf,
    pptx,
    slide,
    xlsx,
)


def markdown(name: str, data: bytes, **limits: Any) -> str:
    reading = read_here(name, data, **limits)
    assert reading.problem is None, reading.problem
    return reading.markdown


def test_a_pdf_is_its_pages() -> None:
    reading = read_here("a.pdf", pdf(["One\nand more", "Two (really)"]))
    assert reading.markdown == "<!-- page 1 -->\n\nOne\nand more\n\n<!-- page 2 -->\n\nTwo (really)"
    assert (reading.kind, reading.num_pages, reading.notes, reading.is_truncated) == (Kind.PDF, 2, [], False)


def test_scanned_pages_are_named() -> None:
    reading = read_here("a.pdf", pdf([None, "text", None, None]))
    assert reading.scanned == [1, 3, 4]
    assert reading.notes == ["Pages 1 and 3-4 are without text: scanned, or a picture; models that see are shown 3."]
    one = read_here("a.pdf", pdf([None]))
    assert one.notes == ["Page 1 is without text: scanned, or a picture; models that see are shown 1."]
    assert read_here("a.pdf", pdf(["", "x"])).scanned == [], "an empty page is no picture"


def test_the_first_pages_without_text_are_drawn() -> None:
    reading = read_here("a.pdf", pdf(["text", *[None] * (MAX_PICTURES + 2)]))
    assert len(reading.scanned) == MAX_PICTURES + 2
    assert len(reading.pictures) == MAX_PICTURES
    picture = Image.open(io.BytesIO(reading.pictures[0]))
    assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (1039, 1344))
    assert picture.getcolors() == [(1039 * 1344, (255, 0, 0))]


@pytest.mark.parametrize("box", [b"[0 0 1e9 1]", b"[0 0 1 1e9]", b"[0 0 0 0]", b"[0 0 1e-9 1e-9]"])
def test_a_page_of_any_shape_is_drawn_small(box: bytes) -> None:
    reading = read_here("a.pdf", pdf([None]).replace(b"[0 0 612 792]", box))
    assert sum(map(len, reading.pictures)) < 1 << 20


def test_pages_and_characters_have_an_end() -> None:
    reading = read_here("a.pdf", pdf(["x"] * 5), max_pages=2)
    assert (reading.num_pages, reading.is_truncated) == (5, True)
    assert "page 3" not in reading.markdown
    assert reading.notes == ["Only 2 of 5 were read (documents.max_pages)."]
    reading = read_here("a.txt", b"x" * 5000, max_chars=1000)
    assert (len(reading.markdown), reading.is_truncated) == (1000, True)
    assert reading.notes == ["Only its first 1000 characters were taken (documents.max_chars)."]


def test_a_word_document_has_headings_lists_tables_and_links() -> None:
    space = '<w:t xml:space="preserve">'
    runs = f"<w:r>{space}A </w:t></w:r><w:r><w:rPr><w:b/></w:rPr>{space}bold </w:t></w:r><w:r><w:t>one</w:t></w:r>"
    bold = f"<w:p>{runs}</w:p>"
    row = "".join(f"<w:tc>{paragraph(text)}</w:tc>" for text in ("a", "b|c"))
    body = paragraph("Title", "Heading1") + paragraph("Part", "Heading2") + bold
    body += f"<w:tbl><w:tr>{row}</w:tr><w:tr>{row}</w:tr></w:tbl>"
    deleted = (
        "<w:p><w:del><w:r><w:delText>gone</w:delText></w:r></w:del><w:ins><w:r><w:t>kept</w:t></w:r></w:ins></w:p>"
    )
    text = markdown("a.docx", docx(body + deleted))
    assert text == "# Title\n\n## Part\n\nA **bold** one\n\n| a | b\\|c |\n| --- | --- |\n| a | b\\|c |\n\nkept"


def test_slides_have_titles_texts_tables_and_notes() -> None:
    def cell(text: str) -> str:
        return f"<a:tc><a:txBody><a:p><a:r><a:t>{text}</a:t></a:r></a:p></a:txBody></a:tc>"

    table = "".join(f"<a:tr>{cell(left)}{cell(right)}</a:tr>" for left, right in (("x", "y"), ("1", "2")))
    frame = (
        f"<p:graphicFrame><a:graphic><a:graphicData><a:tbl>{table}</a:tbl></a:graphicData></a:graphic></p:graphicFrame>"
    )
    hidden = slide("Hidden", attributes='show="0"')
    reading = read_here("a.pptx", pptx([slide("One", ["first", "second"], frame), hidden]))
    expected = "## Slide 1: One\n\n- first\n- second\n\n| x | y |\n| --- | --- |\n| 1 | 2 |\n\n## Slide 2: Hidden"
    assert reading.markdown == expected
    assert (reading.num_pages, reading.notes) == (2, ["1 slide is hidden when it is shown."])


def test_sheets_are_tables_with_the_values_that_were_saved() -> None:
    rows = cells([["name", "n"], ["a|b", 1.0], ["c", 2.5]])
    reading = read_here("a.xlsx", xlsx({"First": rows, "Other": cells([[7]])}, state={"Other": "hidden"}))
    first = "## Sheet: First\n\n| name | n |\n| --- | --- |\n| a\\|b | 1 |\n| c | 2.5 |"
    assert reading.markdown == f"{first}\n\n## Sheet: Other\n\n| 7 |\n| --- |"
    assert (reading.num_pages, reading.notes) == (2, ["1 sheet is hidden when it is shown."])
    assert markdown("a.ods", ods(ods_row("a", "b") + ods_row("c", "d"))) == (
        "## Sheet: One\n\n| a | b |\n| --- | --- |\n| c | d |"
    )


HTML = """<html><head><title>T</title><style>x{}</style></head><body><h1>Hi <b>you</b></h1><p>One
<a href='https://x.y/z'>link</a> and <a href='#a'>anchor</a><ul><li>a<li>b<ul><li>c</ul></ul><ol><li>x</li>
<li>y</li></ol>
<table><caption>Cap</caption><tr><th>A</th><th>B</th></tr><tr><td></td><td>2<p>3</p></td></tr></table>
<pre>x
  y</pre><blockquote>q</blockquote><script>alert(1)</script><img alt='cat' src=x></p></div>&lt;end&gt;</body>"""


def test_a_page_is_what_a_reader_sees() -> None:
    expected = (
        "# Hi **you**\n\nOne [link](https://x.y/z) and anchor\n\n- a\n- b\n  - c\n\n1. x\n2. y\n\nCap\n\n"
        "| A | B |\n| --- | --- |\n|  | 2 3 |\n\n```\nx\n  y\n```\n\n> q\n\n[picture: cat]\n\n<end>"
    )
    assert markdown("a.html", HTML.encode()) == expected


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.txt", b"\xef\xbb\xbfone\r\ntwo", "one\ntwo"),
        ("a.txt", "ä€".encode("utf-16"), "ä€"),
        ("a.txt", "ä€".encode("cp1252"), "ä€"),
        ("a.md", b"# T\n\ntext", "# T\n\ntext"),
        ("a.py", b"x = 1\n", "```python\nx = 1\n```"),
        ("a.py", b"'''\n```\n'''", "````python\n'''\n```\n'''\n````"),
        ("a.csv", b"a,b\n1,2\n", "| a | b |\n| --- | --- |\n| 1 | 2 |"),
        ("a.csv", b'a;b\n"x\ny";2\n;\n', "| a | b |\n| --- | --- |\n| x y | 2 |"),
        ("a.tsv", b"a\tb\n1\t2\t3\n", "| a | b |  |\n| --- | --- | --- |\n| 1 | 2 | 3 |"),
        ("a.html", '<meta charset="iso-8859-1"><p>ä'.encode("latin-1"), "ä"),
        ("a.json", b'{"a": 1}', '```json\n{"a": 1}\n```'),
    ],
)
def test_texts_are_read_in_their_encodings(name: str, data: bytes, expected: str) -> None:
    assert markdown(name, data) == expected


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (docx(), Kind.DOCX),
        (pptx([slide("One")]), Kind.PPTX),
        (xlsx({"One": cells([[1]])}), Kind.XLSX),
        (ods(ods_row("a")), Kind.ODS),
    ],
)
def test_an_archive_without_a_suffix_is_known_by_its_files(data: bytes, kind: Kind) -> None:
    assert read_here("attachment", data).kind is kind


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.xlsx", docx(), "is called .xlsx, but is a docx document"),
        ("a.pdf", pdf(["x"], password="secret"), "is encrypted with a password"),
        ("a.pdf", b"%PDF-1.7\nnothing", "is damaged or cut off"),
        ("a.docx", docx()[:-40], "is damaged or cut off"),
    ],
)
def test_what_cannot_be_read_says_why(name: str, data: bytes, words: str) -> None:
    reading: Reading = read_here(name, data)
    assert reading.problem is not None
    assert words in reading.problem
    assert reading.markdown == ""


def test_elements_are_counted_over_all_of_a_document() -> None:
    watch = XMLWatch(max_elements=3)
    watch.feed(b"<a><b/><c/>")
    with pytest.raises(UnreadableError, match="too many elements"):
        watch.feed(b"<d/>")


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        ("<p>a<b> b </b>c<i></i>", "a **b** c"),
        ("<p><b>a<i>b</b>c</i>", "**ab**c"),
        ("<b><p>a</p>b</b>", "a\n\nb"),
        ("<a href='http://x.y/'><h3>a</h3></a>", "### a"),
        (
            "<table><tr><td colspan=2>a<td>b<tr><td>1<td>2<td>3</table>",
            "| a |  | b |\n| --- | --- | --- |\n| 1 | 2 | 3 |",
        ),
        ("<table><tr><td colspan=999999999>a</table>", "| a |\n| --- |"),
        ("<table><tr><td>a<table><tr><td>b</table><td>c</table>d", "| a b | c |\n| --- | --- |\n\nd"),
        ("<p>a<svg><text>no</text></svg>b", "ab"),
        ("<ol><li>a<ol><li>b</ol><li>c</ol>d", "1. a\n   1. b\n2. c\n\nd"),
        ("<p>&lt;b&gt; &amp; &#8364;", "<b> & \u20ac"),
        ("</p></b></table></ul>a", "a"),
        ("<html><head><title>T</title><meta charset=utf-8><body><p>a", "a"),
        ("<head><style>x{}</style><p>a", "a"),
    ],
)
def test_markup_that_people_write(html: str, expected: str) -> None:
    assert markdown("a.html", html.encode()) == expected
