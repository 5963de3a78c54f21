"""What a document is, by its first bytes and its name."""

import pytest

from router.documents.kinds import Kind, document_name, kind_of
from router.errors import DocumentError
from tests.support.documents import docx, pdf

OLD_OFFICE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(20)


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.pdf", pdf(["x"]), Kind.PDF),
        ("A.PDF", pdf(["x"]), Kind.PDF),
        ("a", pdf(["x"]), Kind.PDF),
        ("a.pdf", b"junk\n" + pdf(["x"]), Kind.PDF),
        ("a.docx", docx(), Kind.DOCX),
        ("a", docx(), Kind.ARCHIVE),
        ("a.xls", OLD_OFFICE, Kind.XLS),
        ("a.html", b"<p>x", Kind.HTML),
        ("a.csv", b"a,b", Kind.CSV),
        ("a.py", b"x = 1", Kind.CODE),
        ("Makefile", b"all:", Kind.TEXT),
        ("a.unknown", b"text", Kind.TEXT),
        ("a.txt", b"\xff\xfea\0", Kind.TEXT),
        ("MZ.txt", b"MZ is a word", Kind.TEXT),
    ],
)
def test_first_bytes_and_name_say_what_it_is(name: str, data: bytes, kind: Kind) -> None:
    assert kind_of(name, data) is kind


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.pdf", docx(), "called .pdf, but its first bytes are those of a ZIP archive"),
        ("a.docx", pdf(["x"]), "called .docx, but its first bytes are those of a PDF"),
        ("a.txt", pdf(["x"]), "called .txt"),
        ("a.txt", bytes(100), "bytes that are no text"),
        ("a.pdf", b"just text", "those of text"),
        ("a.docx", OLD_OFFICE + "EncryptedPackage".encode("utf-16-le"), "encrypted with a password"),
        ("a.docx", OLD_OFFICE, "those of an Office file of before 2007"),
        ("a.doc", OLD_OFFICE, "save it as .docx or PDF"),
        ("a.odt", docx(), "save it as .docx or PDF"),
        ("a.epub", docx(), "save it as PDF"),
        ("a.zip", b"Rar!\x1a\x07", "a RAR archive, which is not read here"),
        ("a.png", PNG, "send it as one"),
        ("a.pdf", PNG, "send it as one"),
        ("a", b"\x7fELF\x02", "a program"),
        ("a.txt", b"", "is empty"),
        ("a.rtf", b"{\\rtf1", "save it as"),
    ],
)
def test_what_is_not_read_says_why_and_what_to_do(name: str, data: bytes, words: str) -> None:
    with pytest.raises(DocumentError) as refused:
        kind_of(name, data)
    assert words in str(refused.value)
    assert str(refused.value).startswith(name)


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ("report.pdf", "report.pdf"),
        ("/etc/passwd", "passwd"),
        ("C:\\docs\\a b.pdf", "a b.pdf"),
        ("../../x.txt", "x.txt"),
        ('a"b\n<x>.txt', "a'b <x>.txt"),
        ("", "document"),
        (None, "document"),
        ("x" * 500, "x" * 200),
    ],
)
def test_a_name_is_one_line_without_folders(sent: str | None, name: str) -> None:
    assert document_name(sent) == name
