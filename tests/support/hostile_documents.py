"""About two hundred documents that nobody should have to read: bombs, cuts, lies, depths, loops, disguises."""

import random
import struct
import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO

from tests.support.documents import (
    W,
    cells,
    docx,
    ods,
    ods_row,
    paragraph,
    pdf,
    pdf_of,
    pptx,
    relations,
    slide,
    stream,
    text_content,
    xlsx,
    zipped,
)

Hostile = tuple[str, str, bytes, str | None]
"""What it is, its name, its bytes, and words that its refusal must have; None = it may be read or refused."""

SOUND: dict[str, bytes] = {
    "a.pdf": pdf(["One", "Two", None]),
    "a.docx": docx(),
    "a.pptx": pptx([slide("One", ["a", "b"])]),
    "a.xlsx": xlsx({"One": cells([["a", 1], ["b", 2]])}),
    "a.ods": ods(ods_row("a", "b")),
    "a.html": b"<html><body><h1>A</h1><p>text <a href='x'>b</a><table><tr><td>1</table>",
    "a.csv": b'a,b\n"c\n",d\n' * 20,
}
_SPACES = 40_000_000


def hostile_documents() -> list[Hostile]:
    """All of them."""
    return [*_spoiled(), *_disguised(), *_archives(), *_xml(), *_sheets(), *_pdfs(), *_texts()]


def _spoiled() -> Iterator[Hostile]:
    """Sound ones, cut at many places, and with bytes changed."""
    chance = random.Random(7)
    for name, data in SOUND.items():
        for part in range(1, 8):
            yield f"{name} cut at {part}/8", name, data[: len(data) * part // 8], None
        for number in range(5):
            spoiled = bytearray(data)
            for _ in range(1 + len(data) // 100):
                spoiled[chance.randrange(16, len(data))] = chance.randrange(1, 256)
            yield f"{name} spoiled {number}", name, bytes(spoiled), None


def _disguised() -> Iterator[Hostile]:
    """Each under the names of the others."""
    for name, data in SOUND.items():
        for other in ("b.pdf", "b.docx", "b.xlsx", "b.ods", "b.txt"):
            if other[1:] != name[1:] and (name[1:] not in {".html", ".csv"} or other != "b.txt"):
                yield f"{name} called {other}", other, data, "name it as what it is"


def _renamed(data: bytes, old: bytes, new: bytes) -> bytes:
    assert len(old) == len(new)
    return data.replace(old, new)


def _patched(data: bytes, signature: bytes, offset: int, value: bytes) -> bytes:
    """Change a field of every header of an archive."""
    patched, at = bytearray(data), data.find(signature)
    while at >= 0:
        patched[at + offset : at + offset + len(value)] = value
        at = data.find(signature, at + 4)
    return bytes(patched)


def _archives() -> Iterator[Hostile]:
    sound = docx()
    directory, local = b"PK\x01\x02", b"PK\x03\x04"
    spaces = f"<w:document {W}>{' ' * _SPACES}</w:document>"
    yield "a bomb of spaces", "a.docx", docx(files={"word/document.xml": spaces}), "looks like a bomb"
    yield "a bomb among pictures", "a.docx", docx(files={"word/media/a.png": bytes(_SPACES)}), "looks like a bomb"
    many = {f"word/media/{number}.png": bytes(900_000) for number in range(250)}
    yield "a bomb of many", "a.docx", docx(files=many), "documents.max_unpacked_bytes"
    crowd = {f"word/x/{number}": "" for number in range(6000)}
    yield "a crowd", "a.docx", docx(files=crowd), "documents.max_entries"
    nested = zipped({"a.zip": zipped({"b.zip": zipped({"c": bytes(_SPACES)})})})
    yield "archives in archives", "a.docx", docx(files={"word/embeddings/a.zip": nested}), None
    yield "an archive and no document", "a.docx", zipped({"a.txt": "x"}), "no document"
    yield "an empty archive", "a.docx", zipped({}), "empty ZIP"
    yield "encrypted entries", "a.docx", _patched(sound, directory, 8, b"\x01\0"), "encrypted"
    yield "sizes that are too small", "a.docx", _patched(sound, directory, 24, struct.pack("<I", 3)), "not as large"
    yield "sizes that are too large", "a.docx", _patched(sound, directory, 24, struct.pack("<I", 10**6)), "not as large"
    yield (
        "sizes of 4 GiB",
        "a.docx",
        _patched(sound, directory, 24, b"\xfe\xff\xff\xff"),
        "documents.max_unpacked_bytes",
    )
    yield "checksums that lie", "a.docx", _patched(sound, directory, 16, b"\0\0\0\0"), "damaged"
    yield "an unknown packing", "a.docx", _patched(sound, directory, 10, b"\x63\0"), "damaged"
    yield "LZMA without its header", "a.docx", _patched(sound, directory, 10, b"\x0e\0"), "damaged"
    yield "offsets beyond the end", "a.docx", _patched(sound, directory, 42, b"\xff\xff\xff\x7f"), "damaged"
    yield "all at one offset", "a.docx", _patched(sound, directory, 42, b"\0\0\0\0"), None
    yield "local headers without a name", "a.docx", _patched(sound, local, 26, b"\0\0"), None
    yield "names that lead out", "a.docx", zipped({**_files(sound), "../../../etc/x": "x", "/etc/y": "y"}), None
    yield "the same name twice", "a.docx", _twice(sound), None
    yield "a link", "a.docx", _with_link(sound), None
    yield "an end that says more", "a.docx", _patched(sound, b"PK\x05\x06", 10, b"\xff\x7f"), None
    yield "a comment as long as it goes", "a.docx", sound[:-2] + b"\xff\xff" + bytes(65_535), None
    yield "junk before", "a.docx", bytes(100) + sound, None
    target = {"_rels/.rels": relations({"r1": ("officeDocument", "file:///etc/passwd")})}
    yield "a main part outside", "a.docx", zipped({**_files(sound), **target}), None
    target = {"_rels/.rels": relations({"r1": ("officeDocument", "../../../../etc/passwd")})}
    yield "a main part above", "a.docx", zipped({**_files(sound), **target}), None
    loop = {"ppt/_rels/presentation.xml.rels": relations({"s0": ("slide", "presentation.xml")})}
    yield "slides that are the list of slides", "a.pptx", pptx([slide("x")], loop), None
    again = relations({f"s{number}": ("slide", "slides/slide1.xml") for number in range(500)})
    slides = [slide("x", ["text " * 100]) for _ in range(500)]
    yield "one slide 500 times", "a.pptx", pptx(slides, {"ppt/_rels/presentation.xml.rels": again}), None
    yield "no slides", "a.pptx", pptx([]), "no slides"
    yield "slides that are not there", "a.pptx", zipped(_without(pptx([slide("x")]), "ppt/slides/slide1.xml")), "lacks"


def _files(data: bytes) -> dict[str, str | bytes]:
    with zipfile.ZipFile(BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _without(data: bytes, name: str) -> dict[str, str | bytes]:
    return {each: content for each, content in _files(data).items() if each != name}


def _twice(data: bytes) -> bytes:
    other = _files(docx(paragraph("other")))["word/document.xml"]
    both = zipped({**_files(data), "word/documenu.xml": other})
    return _renamed(both, b"word/documenu.xml", b"word/document.xml")


def _with_link(data: bytes) -> bytes:
    made = BytesIO(data)
    with zipfile.ZipFile(made, "a") as archive:
        link = zipfile.ZipInfo("word/media/link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    return made.getvalue()


def _xml() -> Iterator[Hostile]:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    billion = f'<!DOCTYPE x [<!ENTITY l0 "lol">{laughs}]><x>&l9;</x>'
    outside = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>'
    remote = '<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd"><x/>'
    parameter = '<!DOCTYPE x [<!ENTITY % p SYSTEM "file:///etc/passwd">%p;]><x/>'
    quadratic = f'<!DOCTYPE x [<!ENTITY e "{"x" * 50_000}">]><x>{"&e;" * 50_000}</x>'
    for what, text in (
        ("a billion laughs", billion),
        ("an outside entity", outside),
        ("a remote DTD", remote),
        ("a parameter entity", parameter),
        ("a quadratic entity", quadratic),
    ):
        yield f"{what} in a text", "a.docx", docx(files={"word/document.xml": text}), "entities of its own"
        yield f"{what} in styles", "a.docx", docx(files={"word/styles.xml": text}), "entities of its own"
        yield f"{what} in a sheet", "a.xlsx", xlsx({"x": ""}, {"xl/sharedStrings.xml": text}), "entities of its own"
        yield f"{what} on a slide", "a.pptx", pptx([text]), "entities of its own"
    wide = "<?xml version='1.0' encoding='utf-16'?>" + billion
    yield "laughs in UTF-16", "a.docx", docx(files={"word/document.xml": wide.encode("utf-16")}), "entities of its own"
    picture = {"word/media/a.svg": billion}
    yield "laughs in a picture", "a.docx", docx(files=picture), None
    rels = {"_rels/.rels": relations({"r1": ("officeDocument", "word/media/a.svg")})}
    yield "laughs in a picture that is the text", "a.docx", zipped({**_files(docx(files=picture)), **rels}), None
    deep = f"<w:document {W}><w:body>{'<w:p>' * 50_000}{'</w:p>' * 50_000}</w:body></w:document>"
    yield "depth", "a.docx", docx(files={"word/document.xml": deep}), "levels deep"
    tables = docx("<w:tbl><w:tr><w:tc>" * 60 + paragraph("x") + "</w:tc></w:tr></w:tbl>" * 60)
    yield "tables in tables", "a.docx", tables, None
    yield "many elements", "a.docx", docx("<w:p/>" * 500_000), None
    attributes = " ".join(f'a{number}="x"' for number in range(30_000))
    yield "many attributes", "a.docx", docx(f"<w:p {attributes}/>"), None
    yield "a long text", "a.docx", docx(paragraph("x" * 3_000_000)), None
    yield "no XML", "a.docx", docx(files={"word/document.xml": "<w:document"}), "damaged"
    yield "no text part", "a.docx", zipped(_without(docx(), "word/document.xml")), None
    yield "an endless style", "a.docx", docx(paragraph("x", "a"), {"word/styles.xml": _circular_styles()}), None
    yield "a style map", "a.docx", docx(files={"mammoth/style-map": "p => " + "div > " * 10_000 + "p:fresh"}), None


def _circular_styles() -> str:
    style = '<w:style w:type="paragraph" w:styleId="{}"><w:basedOn w:val="{}"/></w:style>'
    return f"<w:styles {W}>{style.format('a', 'b')}{style.format('b', 'a')}</w:styles>"


def _sheets() -> Iterator[Hostile]:
    far = '<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>2</v></c></row>'
    yield "a cell at the end of the world", "a.xlsx", xlsx({"x": far}), "documents.max_memory_bytes"
    beyond = '<row r="1"><c r="ZZZZZZZ99999999999"><v>1</v></c></row>'
    yield "a cell beyond it", "a.xlsx", xlsx({"x": beyond}), None
    yield "a range that lies", "a.xlsx", xlsx({"x": '<dimension ref="A1:XFD1048576"/>' + cells([[1]])}), None
    shared = '<row r="1"><c r="A1" t="s"><v>99999999999</v></c></row>'
    yield "a text that is not there", "a.xlsx", xlsx({"x": shared}), None
    yield "a date of no day", "a.xlsx", xlsx({"x": '<row r="1"><c r="A1" t="d"><v>9999-99-99</v></c></row>'}), None
    yield "a number of no end", "a.xlsx", xlsx({"x": '<row r="1"><c r="A1"><v>1e999999</v></c></row>'}), None
    yield "no rows", "a.xlsx", xlsx({"x": ""}), None
    yield "a sheet that is not there", "a.xlsx", zipped(_without(xlsx({"x": ""}), "xl/worksheets/sheet1.xml")), None
    yield "many sheets", "a.xlsx", xlsx({f"s{number}": cells([[number]]) for number in range(2000)}), None
    wide = cells([["x" * 100] * 20] * 5000)
    yield "much text", "a.xlsx", xlsx({"x": wide}), None
    rows, columns = 'table:number-rows-repeated="1048576"', 'table:number-columns-repeated="16384"'
    yield "cells that repeat", "a.ods", ods(ods_row("a", attributes=rows, cell=columns)), None
    yield "rows that repeat for ever", "a.ods", ods(ods_row("a", attributes=rows.replace("1048576", "9" * 18))), None
    yield "columns that repeat for ever", "a.ods", ods(ods_row("a", cell=columns.replace("16384", "9" * 18))), None
    yield "columns that repeat below zero", "a.ods", ods(ods_row("a", cell=columns.replace("16384", "-5"))), None
    old = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    yield "an old file of zeros", "a.xls", old + bytes(2048), None
    chance = random.Random(3)
    yield "an old file of noise", "a.xls", old + chance.randbytes(8192), None
    yield "an old file that loops", "a.xls", old + struct.pack("<16s4H", b"", 0x3E, 3, 0xFFFE, 9) + bytes(4096), None
    yield "an encrypted file of today", "a.xlsx", old + "EncryptedPackage".encode("utf-16-le"), "encrypted"


def _pdfs() -> Iterator[Hostile]:
    catalogue, one_page = b"<< /Type /Catalog /Pages 2 0 R >>", b"<< /Type /Pages /Count 1 /Kids [3 0 R] >>"

    def of_page(*more: bytes, about: bytes = b"/Contents 4 0 R") -> bytes:
        return pdf_of([catalogue, one_page, b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] %s >>" % about, *more])

    yield "encrypted", "a.pdf", pdf(["x"], password="secret"), "encrypted"
    yield "no pages", "a.pdf", pdf([]), "damaged"
    yield "a header and nothing", "a.pdf", b"%PDF-1.7\n", "damaged"
    yield "a header and noise", "a.pdf", b"%PDF-1.7\n" + random.Random(5).randbytes(100_000), "damaged"
    yield "pages in a circle", "a.pdf", pdf_of([catalogue, b"<< /Type /Pages /Count 9 /Kids [2 0 R 2 0 R] >>"]), None
    yield "a billion pages", "a.pdf", pdf(["x"]).replace(b"/Count 1 ", b"/Count 999999999 "), None
    yield "pages below zero", "a.pdf", pdf(["x"]).replace(b"/Count 1 ", b"/Count -1 "), None
    yield "a catalogue of itself", "a.pdf", pdf_of([b"<< /Type /Catalog /Pages 1 0 R >>"]), None
    yield "an object of itself", "a.pdf", of_page(b"4 0 R"), None
    yield "arrays in arrays", "a.pdf", of_page(b"[" * 100_000 + b"]" * 100_000), None
    yield "dictionaries in dictionaries", "a.pdf", of_page(b"<< /A " * 50_000 + b"1" + b" >>" * 50_000), None
    packed = zlib.compress(zlib.compress(bytes(80_000_000), 9), 9)
    twice = b"<< /Length %d /Filter [/FlateDecode /FlateDecode] >>\nstream\n%s\nendstream" % (len(packed), packed)
    yield "a bomb of zeros, packed twice", "a.pdf", of_page(twice), None
    operators = zlib.compress(b"0 0 m 1 1 l " * 3_000_000, 9)
    bomb = b"<< /Length %d /Filter /FlateDecode >>\nstream\n%s\nendstream" % (len(operators), operators)
    yield "a bomb of lines", "a.pdf", of_page(bomb), None
    yield (
        "a stream longer than the file",
        "a.pdf",
        of_page(stream(b"x").replace(b"/Length 1", b"/Length 9999999")),
        None,
    )
    yield "a stream below zero", "a.pdf", of_page(stream(b"x").replace(b"/Length 1", b"/Length -1")), None
    yield "a filter of no name", "a.pdf", of_page(stream(b"x", b"/Filter /Nothing")), None
    form = stream(b"/F Do", b"/Type /XObject /Subtype /Form /BBox [0 0 9 9] /Resources << /XObject << /F 4 0 R >> >>")
    resources = b"/Resources << /XObject << /F 4 0 R >> >> /Contents 5 0 R"
    yield "a form that draws itself", "a.pdf", of_page(form, stream(b"/F Do"), about=resources), None
    yield "a page as wide as the world", "a.pdf", pdf(["x"]).replace(b"[0 0 612 792]", b"[0 0 1e38 1e38]"), None
    yield "saves without end", "a.pdf", of_page(stream(b"q " * 500_000)), None
    script = b"<< /Type /Catalog /Pages 2 0 R /OpenAction << /S /JavaScript /JS (while(1);) >> >>"
    yield "a script", "a.pdf", pdf_of([script, one_page, b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>"]), None
    launch = script.replace(b"/S /JavaScript /JS (while(1);)", b"/S /Launch /F (/bin/sh)")
    yield "a launch", "a.pdf", pdf_of([launch, one_page, b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] >>"]), None
    yield "a huge text", "a.pdf", of_page(stream(text_content("x" * 2_000_000))), None
    table = pdf(["x"])
    at = table.rindex(b"startxref")
    yield "a table elsewhere", "a.pdf", table[:at] + b"startxref\n99999999999\n%%EOF", None
    yield (
        "tables in a circle",
        "a.pdf",
        table.replace(b"/Root 1 0 R", b"/Root 1 0 R /Prev %d" % table.index(b"xref")),
        None,
    )
    yield "1000 pages", "a.pdf", pdf(["x"] * 1000), None


def _texts() -> Iterator[Hostile]:
    yield "elements without end", "a.html", b"<div>" * 150_000, None
    yield "lists in lists", "a.html", b"<ul><li>" * 40_000 + b"x", None
    yield "tables in tables, on a page", "a.html", b"<table><tr><td>" * 40_000, None
    yield "quotations in quotations", "a.html", b"<blockquote>" * 3000 + b"x", None
    yield "links without end", "a.html", b"<a href='http://x'>x" * 60_000, None
    yield "half a tag", "a.html", b"<" * 1_000_000, None
    yield "half a comment", "a.html", b"<!--" * 30_000, None
    yield "half a reference", "a.html", b"&#x" * 500_000, None
    yield "a reference beyond Unicode", "a.html", b"&#99999999999999;" * 1000, None
    yield "an attribute without end", "a.html", b"<a href='" + b"x" * 3_000_000, None
    yield "declarations", "a.html", b"<![CDATA[" * 20_000, None
    yield "an encoding of no name", "a.html", b"<meta charset=rot13><p>\xff", None
    yield "an encoding that is no text", "a.html", b"<meta charset=hex><p>\xff", None
    yield "half a quotation", "a.csv", b'a,"' + b"x" * 3_000_000, None
    yield "a row without end", "a.csv", b"," * 3_000_000, None
    yield "rows without end", "a.csv", b"\n" * 1_000_000, None
    yield "columns that grow", "a.csv", b"\n".join(b"," * number for number in range(2000)), None
    yield "fences", "a.py", b"`" * 3_000_000, None
    yield "half a character", "a.txt", "€".encode()[:2] * 1000, None
    yield "surrogates", "a.txt", b"\xff\xfe" + b"\0\xd8" * 1000, "no text"
    yield "nulls", "a.txt", b"text" + bytes(1000), "no text"
    yield "controls", "a.txt", bytes(range(1, 32)) * 100, "no text"
    yield "escapes of a terminal", "a.txt", b"\x1b[2J\x1b]0;x\x07" * 2, None
    yield "nothing but marks", "a.txt", b"\xef\xbb\xbf", None
    yield "nothing", "a.txt", b"", "empty"
    yield "a long text of lines", "a.txt", b"line\n" * 4_000_000, None
