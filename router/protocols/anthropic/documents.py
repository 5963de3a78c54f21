"""The documents in Anthropic's messages: what is a file is read, and stands then as the text that it says.

Its pages without text become images behind the last block of their list. Not here: how a text is shown to a model
(`messages`).

Source: Anthropic API reference, "Create a Message": `document` blocks; "PDF support".
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from router.errors import DocumentError
from router.http.body import convert_part
from router.protocols.anthropic.images import IMAGE, question_of
from router.protocols.anthropic.schemas import DataSource, DocumentBlock, FileSource, Message
from router.protocols.documents.inputs import DocumentInputs, SentDocument
from router.protocols.fields.unseen import in_words

DOCUMENT: Final = "document"
_FILES: Final = frozenset({"base64", "file"})
_UNUSABLE: Final = "it cannot be read"
_PNG: Final = "image/png"


def has_documents(messages: list[Message]) -> bool:
    """Tell whether there are documents that are still to be read."""
    return any(_is_file(block) for message in messages for block in _blocks_in(message.content))


async def read_documents(documents: DocumentInputs, messages: list[Message], *, max_pictures: int) -> None:
    """Put what documents say in the place of their data.

    Args:
        messages: Changed. A document of earlier turns that cannot be read is said in words.
        max_pictures: How many pages of a list of blocks the model may be shown as pictures.

    Raises:
        DocumentError: One of the question cannot be read.
        InvalidRequestError: One is not of its form.
        QueueFullError: Too many wait to be read already.
    """
    question = question_of(messages)
    reader = _Reader(documents, max_pictures)
    for index, message in enumerate(messages):
        await reader.read(message.content, f"messages[{index}].content", is_asked=index == question)


def _blocks_in(content: Any) -> Iterator[dict[str, Any]]:
    """Yield the blocks of a list, and those in results of tools."""
    for block in content if isinstance(content, list) else ():
        if isinstance(block, dict):
            yield block
            if block.get("type") == "tool_result":
                yield from _blocks_in(block.get("content"))


def _is_file(block: dict[str, Any]) -> bool:
    source = block.get("source")
    return block.get("type") == DOCUMENT and isinstance(source, dict) and source.get("type") in _FILES


class _Reader:
    def __init__(self, documents: DocumentInputs, max_pictures: int) -> None:
        self._documents = documents
        self._max_pictures = max_pictures

    async def read(self, content: Any, where: str, *, is_asked: bool) -> None:
        """Read the documents of a list of blocks; those in results of tools belong to no question."""
        if not isinstance(content, list):
            return
        pictures: list[dict[str, Any]] = []
        for at, block in enumerate(content):
            kind = block.get("type") if isinstance(block, dict) else None
            place = f"{where}[{at}]"
            if kind == "tool_result":
                await self.read(block.get("content"), f"{place}.content", is_asked=False)
            elif kind == DOCUMENT and _is_file(block):
                room = self._max_pictures - len(pictures)
                content[at], more = await self._read(block, place, is_asked=is_asked, room=room)
                pictures += more
        content += pictures

    async def _read(
        self, raw: dict[str, Any], place: str, *, is_asked: bool, room: int
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return the block that stands for a document, and the pictures that belong to it."""
        block = convert_part(raw, DocumentBlock, place)
        source = f"{place}.source"
        if block.source["type"] == "base64":
            data = convert_part(block.source, DataSource, source)
            sent = SentDocument(place=place, param=f"{source}.data", data=data.data, media_type=data.media_type)
        else:
            file = convert_part(block.source, FileSource, source)
            sent = SentDocument(place=place, param=f"{source}.file_id", file_id=file.file_id)
        try:
            shown = await self._documents.read(sent, max_pictures=room)
        except DocumentError:
            if is_asked:
                raise
            return {"type": "text", "text": in_words(DOCUMENT, place, block.title, _UNUSABLE)}, []
        text = {"type": "text", "data": shown.text}
        read = msgspec.structs.replace(block, source=text, title=block.title or shown.name)
        return msgspec.to_builtins(read), [_picture_block(uri) for uri in shown.pictures]


def _picture_block(uri: str) -> dict[str, Any]:
    return {"type": IMAGE, "source": {"type": "base64", "media_type": _PNG, "data": uri}}
