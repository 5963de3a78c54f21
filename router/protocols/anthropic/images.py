"""The pictures in Anthropic's messages. Pure.

Source: Anthropic API reference, "Create a Message": `image` blocks, also in the content of `tool_result` blocks and of
`document` blocks that are made of blocks.
"""

from collections.abc import Iterator
from typing import Any, Final

from router.protocols.anthropic.schemas import Message
from router.protocols.images.sent import SentImage

IMAGE: Final = "image"
_FIELDS: Final = {"base64": "data", "url": "url", "file": "file_id"}


def question_of(messages: list[Message]) -> int:
    """Return the number of the user's last message that is more than results of tools; -1 where there is none."""
    asking = (index for index, message in enumerate(messages) if message.role == "user" and _asks(message))
    return max(asking, default=-1)


def sent_images(messages: list[Message]) -> list[SentImage]:
    """Return all pictures of a conversation, in order."""
    question = question_of(messages)
    return [
        image
        for index, message in enumerate(messages)
        for image in _in_blocks(message.content, f"messages[{index}].content", is_asked=index == question)
    ]


def _asks(message: Message) -> bool:
    content = message.content
    return not isinstance(content, list) or any(raw.get("type") != "tool_result" for raw in content)


def _in_blocks(content: Any, where: str, *, is_asked: bool) -> Iterator[SentImage]:
    """Yield the pictures of a list of blocks; those in results of tools belong to no question."""
    if not isinstance(content, list):
        return
    for index, block in enumerate(content):
        place = f"{where}[{index}]"
        kind = block.get("type") if isinstance(block, dict) else None
        if kind == IMAGE:
            yield _sent(block, place, is_asked=is_asked)
        elif kind == "tool_result":
            yield from _in_blocks(block.get("content"), f"{place}.content", is_asked=False)
        elif kind == "document":
            source = block.get("source")
            content = source.get("content") if isinstance(source, dict) else None
            yield from _in_blocks(content, f"{place}.source.content", is_asked=is_asked)


def _sent(block: dict[str, Any], place: str, *, is_asked: bool) -> SentImage:
    given = block.get("source")
    source = given if isinstance(given, dict) else {}
    field = _FIELDS.get(str(source.get("type")))
    value = source.get(field) if field is not None else None
    data = value if isinstance(value, str) and value else None
    return SentImage(
        place=place,
        param=f"{place}.source" if field is None else f"{place}.source.{field}",
        text=data if field != "file_id" else None,
        file_id=data if field == "file_id" else None,
        is_asked=is_asked,
    )
