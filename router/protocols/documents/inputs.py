"""The documents of a request: where they stand, their bytes, and what a model is shown of them.

For all protocols. Nothing is fetched: a document comes with the request, or was sent before.
"""

import base64
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

import msgspec

from registry.threads import in_thread
from router.documents.reader import Document, DocumentReader, too_large
from router.errors import DocumentError, FileNotFoundHereError
from router.http.caller import current_caller
from router.protocols.fields.base64_text import DATA_URI, NotBase64Error, TooLongError, decode_base64

ReadNamedFile = Callable[[str, int], Awaitable[tuple[str, bytes]]]
"""Reads an uploaded file by its id, with a limit of bytes: its name and its content."""

_KEPT_PREFIX: Final = "doc_"
_QUICK_CHARACTERS: Final = 1 << 18
"""What is longer is decoded on a thread."""
_SUFFIXES: Final[Mapping[str, str]] = {
    "application/pdf": ".pdf",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ".xlsx",
    "application/vnd.oasis.opendocument.spreadsheet": ".ods",
    "text/html": ".html",
    "text/csv": ".csv",
    "application/json": ".json",
}
"""Of documents without a name, by the media type of their data: URI."""


class SentDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A document as it stands in a body.

    Attributes:
        place: Path of the part of the body that it is.
        param: Path of the field that has it; None = the place's `file_data` or `file_id`.
        data: A data: URI or bare base64, or None.
        media_type: Of bare base64, or None.
        file_id: Of an uploaded file or a document that was read, or None.
    """

    place: str
    param: str | None = None
    name: str | None = None
    data: str | None = None
    media_type: str | None = None
    file_id: str | None = None


class ShownDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A document as a model is shown it.

    Attributes:
        text: Not quoted yet.
        pictures: Of pages without text, data: URIs.
    """

    name: str
    text: str
    pictures: tuple[str, ...]


class DocumentInputs:
    """Reads the documents of requests.

    Attributes:
        reader: Of all documents.
        read_file: None = there are no files.
    """

    def __init__(self, reader: DocumentReader) -> None:
        self.reader = reader
        self.read_file: ReadNamedFile | None = None

    async def read(self, sent: SentDocument, *, max_pictures: int) -> ShownDocument:
        """Return what a model is shown of a document.

        Args:
            max_pictures: How many of its pages may be shown as pictures.

        Raises:
            DocumentError: It cannot be read, or says nothing; the error names its field.
            QueueFullError: Too many wait already.
        """
        path = sent.param or f"{sent.place}.{'file_id' if sent.data is None else 'file_data'}"
        try:
            found = await self._read(sent)
            path = sent.place
            pictures = found.pictures[:max_pictures]
            text = found.shown_text(len(pictures))
        except DocumentError as exc:
            raise DocumentError(f"{path}: {exc}", path) from exc
        return ShownDocument(name=found.name, text=text, pictures=tuple(map(_picture_uri, pictures)))

    async def _read(self, sent: SentDocument) -> Document:
        owner, config = current_caller().key_id, self.reader.config
        if sent.data is not None:
            decoding = partial(_decoded, sent.data, sent.name, sent.media_type, config.max_bytes)
            is_quick = len(sent.data) <= _QUICK_CHARACTERS
            try:
                name, data = decoding() if is_quick else await in_thread(decoding)
            except TooLongError as exc:
                raise DocumentError(f"{sent.name or 'the document'}: {too_large(config)}") from exc
            return await self.reader.read(name, data, owner)
        if sent.file_id is None:
            raise DocumentError("the document is missing; send file_data, data:application/pdf;base64,..., or file_id")
        if sent.file_id.startswith(_KEPT_PREFIX):
            found = self.reader.kept(sent.file_id, owner)
            if found is None:
                raise DocumentError(f"there is no document {sent.file_id!r:.80} any more; send it again")
            return found
        if self.read_file is None:
            raise DocumentError("there are no files here; send the document's data")
        try:
            name, data = await self.read_file(sent.file_id, config.max_bytes + 1)
        except FileNotFoundHereError as exc:
            raise DocumentError(str(exc)) from exc
        return await self.reader.read(sent.name or name, data, owner)


def _picture_uri(picture: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"


def _decoded(text: str, name: str | None, media_type: str | None, max_bytes: int) -> tuple[str | None, bytes]:
    """Return the name and the bytes of what was sent as text.

    Raises:
        DocumentError: It is no base64.
        TooLongError: There are more bytes than may be.
    """
    match = DATA_URI.match(text)
    if match is not None and "base64" not in match["parameters"].lower().split(";"):
        raise DocumentError("the data: URI is not base64; send data:application/pdf;base64,...")
    media_type = media_type if match is None else match["media"]
    if media_type is not None and not name:
        name = "document" + _SUFFIXES.get(media_type.strip().lower(), "")
    try:
        return name, decode_base64(text, match.end() if match is not None else 0, max_bytes=max_bytes)
    except NotBase64Error as exc:
        raise DocumentError("it is not base64; send the file's content, encoded as base64") from exc
