"""Documents of every kind that is read, made by hand: small, exact, and easily spoiled."""

import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
_A = "http://schemas.openxmlformats.org/drawingml/2006/main"
_P = "http://schemas.openxmlformats.org/presentationml/2006/main"
_S = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_ODS = (
    'xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0" '
    'xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0" '
    'xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"'
)
_PAD = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")

Files = Mapping[str, str | bytes]


def zipped(files: Files, *, stored: Sequence[str] = ()) -> bytes:
    """An archive; `stored` are put in as they are."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content, zipfile.ZIP_STORED if name in stored else None)
    return made.getvalue()


def relations(targets: Mapping[str, tuple[str, str]]) -> str:
    """Of a part: by id, the kind and what is meant."""
    rows = "".join(
        f'<Relationship Id="{each}" Type="{_OFFICE}/{kind}" Target="{target}"/>'
        for each, (kind, target) in targets.items()
    )
    return f'<Relationships xmlns="{_PACKAGE}/relationships">{rows}</Relationships>'


def package(main: str, files: Files) -> dict[str, str | bytes]:
    """The files of an Office document whose main part is so called."""
    types = f'<Types xmlns="{_PACKAGE}/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>'
    return {
        "[Content_Types].xml": types,
        "_rels/.rels": relations({"r1": ("officeDocument", main)}),
        **files,
    }


def paragraph(text: str, style: str | None = None) -> str:
    about = "" if style is None else f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>'
    return f"<w:p>{about}<w:r><w:t>{escape(text)}</w:t></w:r></w:p>"


def docx(body: str = "", files: Files | None = None) -> bytes:
    """A Word document with this body."""
    body = body or paragraph("Report", "Heading1") + paragraph("The answer is 42.")
    document = f"<w:document {W}><w:body>{body}</w:body></w:document>"
    return zipped(package("word/document.xml", {"word/document.xml": document, **(files or {})}))


def slide(title: str, texts: Sequence[str] = (), more: str = "", attributes: str = "") -> str:
    """A slide's part."""
    paragraphs = "".join(f"<a:p><a:r><a:t>{escape(text)}</a:t></a:r></a:p>" for text in texts)

    def shape(kind: str, inner: str) -> str:
        about = f'<p:nvSpPr><p:nvPr><p:ph type="{kind}"/></p:nvPr></p:nvSpPr>'
        return f"<p:sp>{about}<p:txBody>{inner}</p:txBody></p:sp>"

    shapes = shape("title", f"<a:p><a:r><a:t>{escape(title)}</a:t></a:r></a:p>") + shape("body", paragraphs)
    tree = f"<p:cSld><p:spTree>{shapes}{more}</p:spTree></p:cSld>"
    return f'<p:sld xmlns:p="{_P}" xmlns:a="{_A}" {attributes}>{tree}</p:sld>'


def pptx(slides: Sequence[str], files: Files | None = None) -> bytes:
    """Slides, in order."""
    ids = "".join(f'<p:sldId id="{256 + at}" r:id="s{at}"/>' for at in range(len(slides)))
    shown = f'<p:presentation xmlns:p="{_P}" xmlns:r="{_OFFICE}"><p:sldIdLst>{ids}</p:sldIdLst></p:presentation>'
    parts: dict[str, str | bytes] = {"ppt/presentation.xml": shown}
    parts["ppt/_rels/presentation.xml.rels"] = relations(
        {f"s{at}": ("slide", f"slides/slide{at + 1}.xml") for at in range(len(slides))}
    )
    parts |= {f"ppt/slides/slide{at + 1}.xml": text for at, text in enumerate(slides)}
    return zipped(package("ppt/presentation.xml", parts | dict(files or {})))


def cells(rows: Sequence[Sequence[object]]) -> str:
    """Rows of a sheet, texts in place."""

    def cell(value: object, at: str) -> str:
        if isinstance(value, (int, float)):
            return f'<c r="{at}"><v>{value}</v></c>'
        return f'<c r="{at}" t="inlineStr"><is><t>{escape(str(value))}</t></is></c>'

    lines = []
    for number, row in enumerate(rows, 1):
        shown = "".join(cell(value, f"{chr(65 + column)}{number}") for column, value in enumerate(row))
        lines.append(f'<row r="{number}">{shown}</row>')
    return "".join(lines)


def xlsx(sheets: Mapping[str, str], files: Files | None = None, *, state: Mapping[str, str] | None = None) -> bytes:
    """A workbook: by the name of a sheet, its rows as `cells` gives them."""
    hidden = state or {}
    about = "".join(
        f'<sheet name="{escape(name)}" sheetId="{at}" r:id="s{at}" state="{hidden.get(name, "visible")}"/>'
        for at, name in enumerate(sheets, 1)
    )
    parts: dict[str, str | bytes] = {
        "xl/workbook.xml": f'<workbook xmlns="{_S}" xmlns:r="{_OFFICE}"><sheets>{about}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": relations(
            {f"s{at}": ("worksheet", f"worksheets/sheet{at}.xml") for at in range(1, len(sheets) + 1)}
        ),
    }
    for at, rows in enumerate(sheets.values(), 1):
        sheet = f'<worksheet xmlns="{_S}"><sheetData>{rows}</sheetData></worksheet>'
        parts[f"xl/worksheets/sheet{at}.xml"] = sheet
    return zipped(package("xl/workbook.xml", parts | dict(files or {})))


def ods(rows: str, name: str = "One") -> bytes:
    """A spreadsheet of one sheet, with these rows."""
    sheet = f'<table:table table:name="{name}">{rows}</table:table>'
    content = (
        f"<office:document-content {_ODS}><office:body><office:spreadsheet>{sheet}</office:spreadsheet>"
        "</office:body></office:document-content>"
    )
    manifest = '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>'
    files = {
        "mimetype": "application/vnd.oasis.opendocument.spreadsheet",
        "content.xml": content,
        "META-INF/manifest.xml": manifest,
    }
    return zipped(files, stored=["mimetype"])


def ods_row(*texts: str, attributes: str = "", cell: str = "") -> str:
    shown = "".join(
        f'<table:table-cell office:value-type="string" {cell}><text:p>{escape(text)}</text:p></table:table-cell>'
        for text in texts
    )
    return f"<table:table-row {attributes}>{shown}</table:table-row>"


# ---- PDF. Source: ISO 32000-1, 7.5 (file structure), 7.6 (encryption), 9.4 (text)


def pdf_of(objects: Sequence[bytes], trailer: bytes = b"") -> bytes:
    """A file of objects 1, 2, ..., the first of them the catalogue."""
    made = bytearray(b"%PDF-1.5\n")
    offsets = []
    for number, each in enumerate(objects, 1):
        offsets.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    start = len(made)
    made += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    made += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    made += b"trailer\n<< /Size %d /Root 1 0 R %s >>\nstartxref\n%d\n%%%%EOF\n" % (len(objects) + 1, trailer, start)
    return bytes(made)


def stream(content: bytes, about: bytes = b"", *, packed: bool = False) -> bytes:
    """A stream object."""
    if packed:
        content, about = zlib.compress(content, 9), about + b" /Filter /FlateDecode"
    return b"<< /Length %d %s >>\nstream\n%s\nendstream" % (len(content), about, content)


def text_content(text: str) -> bytes:
    """What draws lines of a page."""
    lines = [line.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)") for line in text.split("\n")]
    shown = b" ".join(b"(%s) Tj T*" % line.encode("latin-1") for line in lines)
    return b"BT /F1 12 Tf 72 720 Td 14 TL " + shown + b" ET"


def pdf(pages: Sequence[str | None], *, password: str | None = None) -> bytes:
    """Pages with a text each; None = a page that is a picture, red."""
    objects = [b"<< /Type /Catalog /Pages 2 0 R >>", b"", b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    objects.append(
        stream(
            b"\xff\0\0" * 64,
            b"/Type /XObject /Subtype /Image /Width 8 /Height 8 /BitsPerComponent 8 /ColorSpace /DeviceRGB",
        )
    )
    kids = []
    for page in pages:
        content = b"q 612 0 0 792 0 0 cm /I1 Do Q" if page is None else text_content(page)
        kids.append(len(objects) + 1)
        about = b"/Resources << /Font << /F1 3 0 R >> /XObject << /I1 4 0 R >> >> /MediaBox [0 0 612 792]"
        objects.append(b"<< /Type /Page /Parent 2 0 R %s /Contents %d 0 R >>" % (about, len(objects) + 2))
        objects.append(stream(content))
    listed = b" ".join(b"%d 0 R" % kid for kid in kids)
    objects[1] = b"<< /Type /Pages /Count %d /Kids [%s] >>" % (len(kids), listed)
    if password is None:
        return pdf_of(objects)
    # Only the trailer says that it is encrypted: nobody gets as far as the streams.
    file_id = b"\x11" * 16
    padded = (password.encode() + _PAD)[:32]
    owner = _rc4(hashlib.md5(padded).digest()[:5], padded)  # noqa: S324 - the format's
    key = hashlib.md5(padded + owner + struct.pack("<i", -4) + file_id).digest()[:5]  # noqa: S324
    user = _rc4(key, _PAD)
    encrypt = b"<< /Filter /Standard /V 1 /R 2 /O <%s> /U <%s> /P -4 >>" % (
        owner.hex().encode(),
        user.hex().encode(),
    )
    objects.append(encrypt)
    trailer = b"/Encrypt %d 0 R /ID [<%s> <%s>]" % (len(objects), file_id.hex().encode(), file_id.hex().encode())
    return pdf_of(objects, trailer)


def _rc4(key: bytes, data: bytes) -> bytes:
    state = list(range(256))
    j = 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    out = bytearray()
    i = j = 0
    for byte in data:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        out.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(out)
