"""The pictures in Ollama's chats and texts. Pure.

They stand before the text that they came with. Source: Ollama, server/prompt.go (`chatPrompt`).
"""

from collections.abc import Sequence
from typing import Any, Final

from router.protocols.images.sent import SentImage
from router.protocols.ollama.schemas import ChatRequest, GenerateRequest, Message

IMAGE: Final = "image"


def question_of(messages: Sequence[Message]) -> int:
    """Return the number of the user's last message; -1 where there is none."""
    return max((index for index, message in enumerate(messages) if message.role.lower() == "user"), default=-1)


def sent_images(body: ChatRequest | GenerateRequest) -> list[SentImage]:
    """Return all pictures of a request, in order."""
    if isinstance(body, GenerateRequest):
        return _sent(body.images, "images", is_asked=True)
    messages = body.messages or []
    question = question_of(messages)
    return [
        image
        for index, message in enumerate(messages)
        for image in _sent(message.images, f"messages[{index}].images", is_asked=index == question)
    ]


def _sent(images: list[Any] | None, where: str, *, is_asked: bool) -> list[SentImage]:
    paths = [f"{where}[{index}]" for index in range(len(images or []))]
    return [
        SentImage(place=path, param=path, text=image if isinstance(image, str) and image else None, is_asked=is_asked)
        for path, image in zip(paths, images or [], strict=True)
    ]
