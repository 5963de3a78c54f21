"""The documents in a chat's messages: read, and put in their place as the text that a model is shown.

Source: OpenAI API reference, "Create chat completion": `messages[].content[].file`.
"""

from typing import Final

from router.documents.quoting import quoted_document
from router.errors import DocumentError
from router.protocols.documents.inputs import DocumentInputs, SentDocument
from router.protocols.openai.images import question_of
from router.protocols.openai.schemas import ChatFile, ChatMessage, TextPart

FILE: Final = "file"


def has_files(messages: list[ChatMessage]) -> bool:
    """Tell whether there are documents that are still to be read."""
    return any(_is_file(part) for message in messages if isinstance(message.content, list) for part in message.content)


async def read_files(documents: DocumentInputs, messages: list[ChatMessage], *, max_pictures: int) -> None:
    """Put what documents say in their places; pages without text may become pictures behind the last part.

    Args:
        messages: Changed. A document of earlier turns that cannot be read stays, to be said in words.
        max_pictures: How many pages of a message its model may be shown as pictures.

    Raises:
        DocumentError: One of the question cannot be read.
        QueueFullError: Too many wait to be read already.
    """
    question = question_of(messages)
    for index, message in enumerate(messages):
        if not isinstance(message.content, list):
            continue
        pictures: list[str] = []
        for at, part in enumerate(message.content):
            if _is_file(part):
                place = f"messages[{index}].content[{at}].file"
                room = max_pictures - len(pictures)
                pictures += await _read_file(documents, part, place, is_asked=index == question, max_pictures=room)
        message.content += map(_picture_part, pictures)


def _is_file(part: TextPart) -> bool:
    return part.type == FILE


async def _read_file(
    documents: DocumentInputs, part: TextPart, place: str, *, is_asked: bool, max_pictures: int
) -> tuple[str, ...]:
    """Read one, and return the pictures that the model is to be shown of it."""
    file = part.file or ChatFile()
    sent = SentDocument(place=place, name=file.filename, data=file.file_data, file_id=file.file_id)
    try:
        shown = await documents.read(sent, max_pictures=max_pictures)
    except DocumentError:
        if is_asked:
            raise
        return ()
    part.type, part.text, part.file = "text", quoted_document(shown.name, shown.text), None
    return shown.pictures


def _picture_part(uri: str) -> TextPart:
    return TextPart(type="image_url", image_url=uri)
