"""The documents in input items: how they are kept, and how a model is shown them.

They are kept as what was read of them: the same text in every turn, and no file that nobody reads again.

Source: OpenAI API reference, "Create a model response", `input_file`; `text` is mlxr's own.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from router.documents.kinds import document_name
from router.documents.quoting import quoted_document
from router.errors import DocumentError, UnsupportedFieldError
from router.http.body import convert_part
from router.protocols.documents.inputs import DocumentInputs, SentDocument
from router.protocols.fields.json_types import JSONValue
from router.protocols.fields.unseen import in_words
from router.protocols.responses.images import CONTENT_FIELDS, kept_image, parts_in

FILE: Final = "input_file"
_UNUSABLE: Final = "it cannot be read"


class InputFilePart(msgspec.Struct, forbid_unknown_fields=True):
    """A document: its data, or the id of a file or of a document that was read; `text` is what was read of it."""

    type: str
    filename: str | None = None
    file_data: str | None = None
    file_id: str | None = None
    file_url: str | None = None
    text: str | None = None
    detail: JSONValue = None


def kept_file(part: dict[str, Any], where: str, *, is_question: bool) -> dict[str, Any]:
    """Return a document as it is kept; what is still to be read has no text.

    Raises:
        InvalidRequestError: It is not of its form, or named by an address, and belongs to the question.
    """
    sent = convert_part(part, InputFilePart, where)
    if sent.file_url is not None and sent.text is None:
        problem = f"{where}.file_url: nothing is fetched here; send the document as file_data or file_id"
        if is_question:
            raise UnsupportedFieldError(problem, f"{where}.file_url")
        return {"type": "input_text", "text": in_words(FILE, where, sent.filename)}
    name = None if sent.filename is None else document_name(sent.filename)
    kept: dict[str, Any] = {"type": FILE, "filename": name, "file_id": sent.file_id, "text": sent.text}
    return kept if sent.text is not None else {**kept, "file_data": sent.file_data}


def has_files(items: Sequence[dict[str, Any]]) -> bool:
    """Tell whether there are documents that are still to be read."""
    return any(part["type"] == FILE and part["text"] is None for item in items for part, _ in parts_in(item, ""))


async def read_files(
    documents: DocumentInputs,
    items: Sequence[dict[str, Any]],
    paths: Sequence[str],
    asked: str | None,
    *,
    max_pictures: int = 0,
) -> None:
    """Put what documents say in the place of their data; pages without text may become pictures behind the last part.

    Args:
        items: As they are kept; changed.
        paths: Of the items, in their order.
        asked: Path of the item that is the question; None = there is none.
        max_pictures: How many pages of a message its model may be shown as pictures.

    Raises:
        DocumentError: One of the question cannot be read.
        QueueFullError: Too many wait to be read already.
    """
    for item, path in zip(items, paths, strict=True):
        pictures: list[str] = []
        for part, place in parts_in(item, path):
            if part["type"] == FILE and part["text"] is None:
                room = max_pictures - len(pictures)
                pictures += await _read_file(documents, part, place, is_asked=path == asked, max_pictures=room)
        if pictures:
            item[CONTENT_FIELDS[item["type"]]] += map(_picture_part, pictures)


def shown_file(part: dict[str, Any]) -> str:
    """Return what a model is shown of a document that was read."""
    return quoted_document(part["filename"] or "document", part["text"])


async def _read_file(
    documents: DocumentInputs, part: dict[str, Any], place: str, *, is_asked: bool, max_pictures: int
) -> tuple[str, ...]:
    """Read one, and return the pictures that the model is to be shown of it."""
    data, name = part.pop("file_data"), part["filename"]
    sent = SentDocument(place=place, name=name, data=data, file_id=part["file_id"])
    try:
        shown = await documents.read(sent, max_pictures=max_pictures)
    except DocumentError:
        if is_asked:
            raise
        words = in_words(FILE, place, name, _UNUSABLE)
        part.clear()
        part |= {"type": "input_text", "text": words}
        return ()
    part |= {"filename": shown.name, "text": shown.text}
    return shown.pictures


def _picture_part(uri: str) -> dict[str, Any]:
    return kept_image({"image_url": uri})
