"""The pictures in a chat's messages. Pure.

Source: OpenAI API reference, "Create chat completion": `messages[].content[].image_url`.
"""

from typing import Any, Final

from router.protocols.images.sent import SentImage, detail_of
from router.protocols.openai.schemas import ChatMessage, TextPart

IMAGE_PARTS: Final = frozenset({"image_url", "input_image"})
"""Types of parts that are pictures; the second one is that of the Responses API, which some clients send here too."""


def question_of(messages: list[ChatMessage]) -> int:
    """Return the number of the user's last message; -1 where there is none."""
    return max((index for index, message in enumerate(messages) if message.role == "user"), default=-1)


def sent_images(messages: list[ChatMessage]) -> list[SentImage]:
    """Return all pictures of a conversation, in order."""
    question = question_of(messages)
    return [
        _sent(part, f"messages[{index}].content[{at}]", is_asked=index == question)
        for index, message in enumerate(messages)
        if isinstance(message.content, list)
        for at, part in enumerate(message.content)
        if part.type in IMAGE_PARTS
    ]


def _sent(part: TextPart, place: str, *, is_asked: bool) -> SentImage:
    given: Any = part.image_url
    param = f"{place}.image_url"
    url, detail = (given.get("url"), given.get("detail")) if isinstance(given, dict) else (given, None)
    is_file = not url and part.file_id is not None
    detail, path = (part.detail, place) if detail is None else (detail, param)
    return SentImage(
        place=place,
        param=f"{place}.file_id" if is_file else param,
        text=url if isinstance(url, str) and url else None,
        file_id=part.file_id if is_file else None,
        detail=detail_of(detail, f"{path}.detail", is_asked=is_asked),
        is_asked=is_asked,
    )
