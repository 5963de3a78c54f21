"""What a document is, by its first bytes; what its name says must agree with them. Pure."""

import enum
from pathlib import PurePosixPath
from typing import Final

from router.errors import DocumentError

MAX_NAME_CHARS: Final = 200
_HEAD_BYTES: Final = 8192
_PDF_HEADER_BYTES: Final = 1024
"""Source: ISO 32000-1, annex H.3, note 13: readers want the header "within the first 1024 bytes of the file"."""


class Kind(enum.StrEnum):
    """What documents are told apart by; `archive` is what turns out to be one of DOCX, PPTX, XLSX and ODS."""

    PDF = "pdf"
    DOCX = "docx"
    PPTX = "pptx"
    XLSX = "xlsx"
    ODS = "ods"
    XLS = "xls"
    HTML = "html"
    CSV = "csv"
    CODE = "code"
    TEXT = "text"
    ARCHIVE = "archive"


ARCHIVES: Final = frozenset({Kind.DOCX, Kind.PPTX, Kind.XLSX, Kind.ODS})
"""Kinds that are ZIP archives."""
_TEXTS: Final = frozenset({Kind.HTML, Kind.CSV, Kind.CODE, Kind.TEXT})

_SUFFIXES: Final = {
    ".pdf": Kind.PDF,
    **dict.fromkeys((".docx", ".docm", ".dotx"), Kind.DOCX),
    **dict.fromkeys((".pptx", ".pptm", ".ppsx"), Kind.PPTX),
    **dict.fromkeys((".xlsx", ".xlsm"), Kind.XLSX),
    ".ods": Kind.ODS,
    ".xls": Kind.XLS,
    **dict.fromkeys((".html", ".htm", ".xhtml"), Kind.HTML),
    **dict.fromkeys((".csv", ".tsv"), Kind.CSV),
    **dict.fromkeys((".txt", ".text", ".md", ".markdown", ".rst", ".org", ".log", ".srt", ".vtt", ".tex"), Kind.TEXT),
}

LANGUAGES: Final = {
    **{f".{word}": word for word in ("c", "cpp", "css", "dart", "diff", "go", "ini", "java", "json", "jsonl", "lua")},
    **{f".{word}": word for word in ("php", "r", "scala", "sql", "svg", "swift", "toml", "vue", "xml", "yaml", "zig")},
    **dict.fromkeys((".sh", ".bash", ".zsh"), "bash"),
    **dict.fromkeys((".js", ".mjs", ".cjs"), "javascript"),
    **dict.fromkeys((".cc", ".cxx", ".hpp"), "cpp"),
    ".cfg": "ini",
    ".cs": "csharp",
    ".erl": "erlang",
    ".ex": "elixir",
    ".h": "c",
    ".hs": "haskell",
    ".ipynb": "json",
    ".jl": "julia",
    ".jsx": "jsx",
    ".kt": "kotlin",
    ".m": "objectivec",
    ".patch": "diff",
    ".pl": "perl",
    ".ps1": "powershell",
    ".py": "python",
    ".rb": "ruby",
    ".rs": "rust",
    ".ts": "typescript",
    ".tsx": "tsx",
    ".yml": "yaml",
}
"""What code is called in a fence, by suffix."""

_OTHERS: Final = {
    **dict.fromkeys((".doc", ".rtf", ".odt", ".pages", ".wpd"), ".docx or PDF"),
    **dict.fromkeys((".ppt", ".odp", ".key"), ".pptx or PDF"),
    **dict.fromkeys((".numbers", ".xlsb"), ".xlsx or CSV"),
    **dict.fromkeys((".epub", ".mobi", ".djvu", ".xps", ".ps"), "PDF"),
}
"""Documents that are not read, and what to save them as."""

_PDF: Final = "a PDF"
_PLAIN: Final = "text"
_ZIP: Final = "a ZIP archive"
_PICTURE: Final = "a picture"
_OLD_OFFICE: Final = "an Office file of before 2007"
_ENCRYPTED: Final = "EncryptedPackage".encode("utf-16-le")
"""Name of the stream that has an encrypted document in it. Source: MS-OFFCRYPTO 2.3.4.4."""
_SIGNATURES: Final = (
    (b"PK\x03\x04", _ZIP),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", _OLD_OFFICE),
    (b"\x89PNG\r\n", _PICTURE),
    (b"\xff\xd8\xff", _PICTURE),
    (b"GIF8", _PICTURE),
    (b"{\\rtf", "an RTF document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"SQLite format 3\x00", "a database"),
)
_READ: Final = "send PDF, DOCX, PPTX, XLSX, ODS, HTML, CSV, text or code"
_WIDE_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


def document_name(sent: str | None) -> str:
    """Return a document's name as it is shown: without folders and whatever breaks a line."""
    bare = (sent or "").replace("\\", "/").rpartition("/")[2]
    clean = "".join(character if character.isprintable() else " " for character in bare)
    return " ".join(clean.replace('"', "'").split())[:MAX_NAME_CHARS] or "document"


def suffix_of(name: str) -> str:
    """Return what a name ends with, with its dot and in small letters."""
    return PurePosixPath(name).suffix.lower()


def kind_of(name: str, data: bytes) -> Kind:
    """Return what a document is.

    Args:
        name: As `document_name` gives it.

    Raises:
        DocumentError: It is nothing that is read here, or not what its name says.
    """
    suffix, found = suffix_of(name), _found(data)
    if not data:
        raise DocumentError(f"{name} is empty")
    if suffix in _OTHERS:
        raise DocumentError(f"{name}: {suffix} files are not read here; save it as {_OTHERS[suffix]}")
    claimed = _SUFFIXES.get(suffix, Kind.CODE if suffix in LANGUAGES else None)
    if _agrees(claimed, found):
        return _kind(claimed, found)
    if found == _OLD_OFFICE and _ENCRYPTED in data:
        raise DocumentError(f"{name} is encrypted with a password; save it without one and send that")
    if found == _PICTURE:
        raise DocumentError(f"{name} is a picture; send it as one (input_image), to a model that sees")
    if claimed is None:
        raise DocumentError(f"{name} is {found}, which is not read here; {_READ}")
    raise DocumentError(f"{name} is called {suffix}, but its first bytes are those of {found}; name it as what it is")


def _agrees(claimed: Kind | None, found: str) -> bool:
    if found == _ZIP:
        return claimed is None or claimed in ARCHIVES
    if found == _OLD_OFFICE:
        return claimed is Kind.XLS
    if found == _PDF:
        return claimed in {None, Kind.PDF}
    return found == _PLAIN and (claimed is None or claimed in _TEXTS)


def _kind(claimed: Kind | None, found: str) -> Kind:
    if claimed is not None:
        return claimed
    return {_ZIP: Kind.ARCHIVE, _PDF: Kind.PDF}.get(found, Kind.TEXT)


def _found(data: bytes) -> str:
    """Return what the first bytes are, in words."""
    head = data[:_HEAD_BYTES]
    for signature, words in _SIGNATURES:
        if head.startswith(signature) and (signature != b"MZ" or b"\0" in head):
            return words
    if b"%PDF-" in head[:_PDF_HEADER_BYTES]:
        return _PDF
    if b"\0" in head and not head.startswith(_WIDE_MARKS):
        return "a file of bytes that are no text"
    return _PLAIN
