"""The pictures in input items: how they are kept, and where they stand in a conversation. Pure.

They are kept as they came, whoever answers: another model may see them in a later turn.

Source: OpenAI API reference, "Create a model response", `input_image`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from router.protocols.images.sent import SentImage, detail_of

IMAGE: Final = "input_image"
CONTENT_FIELDS: Final = {
    "message": "content",
    "function_call_output": "output",
    "custom_tool_call_output": "output",
}
"""Where an item has its parts, by its type."""


class InputImagePart(msgspec.Struct, forbid_unknown_fields=True):
    """A picture of models that see: a data: URI, or an address where `images.fetch` of the config allows it."""

    type: str
    image_url: str | None = None
    file_id: str | None = None
    detail: str | None = None


def kept_image(part: dict[str, Any]) -> dict[str, Any]:
    """Return a picture as it is kept; where the address should be, some clients send chats' object with it."""
    url: Any = part.get("image_url")
    file_id, detail = part.get("file_id"), part.get("detail")
    if isinstance(url, dict):
        detail = detail or url.get("detail")
        url = url.get("url")
    return {
        "type": IMAGE,
        "image_url": url if isinstance(url, str) else None,
        "file_id": file_id if isinstance(file_id, str) else None,
        "detail": detail if isinstance(detail, str) else "auto",
    }


def sent_images(items: Sequence[dict[str, Any]], paths: Sequence[str], asked: str | None) -> list[SentImage]:
    """Return all pictures of a conversation, in order.

    Args:
        items: As they are kept.
        paths: Of the items, in their order.
        asked: Path of the item that is the question; None = there is none.
    """
    return [
        _sent(part, place, is_asked=path == asked)
        for item, path in zip(items, paths, strict=True)
        for part, place in parts_in(item, path)
        if part["type"] == IMAGE
    ]


def parts_in(item: Mapping[str, Any], path: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the parts of an item, with their places; an item that has only a text has none."""
    field = CONTENT_FIELDS.get(item["type"], "")
    parts: Any = item.get(field)
    if isinstance(parts, list):
        for index, part in enumerate(parts):
            yield part, f"{path}.{field}[{index}]"


def _sent(part: dict[str, Any], place: str, *, is_asked: bool) -> SentImage:
    url, file_id = part["image_url"] or None, part["file_id"]
    return SentImage(
        place=place,
        param=f"{place}.file_id" if url is None and file_id is not None else f"{place}.image_url",
        text=url,
        file_id=file_id if url is None else None,
        detail=detail_of(part["detail"], f"{place}.detail", is_asked=is_asked),
        is_asked=is_asked,
    )
