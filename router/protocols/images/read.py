"""The pictures of one request, read: by the places where they stand, for what makes messages of a body. Pure."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Final

from backends.wire.prompts import ContentPart, ImagePart, TextPart, TextPrompt
from router.protocols.fields.unseen import in_words


class ReadImages:
    """Those of a request that its model is to see; any other is said in words where it stood.

    Args:
        parts: By their places.
        reasons: Why one is left out, by its place, where it is not the model's fault.

    Attributes:
        stand_in: Name of the model that answers in the place of one that cannot see, or None.
    """

    def __init__(
        self,
        parts: Mapping[str, ImagePart],
        reasons: Mapping[str, str] | None = None,
        *,
        stand_in: str | None = None,
    ) -> None:
        self._parts = parts
        self._reasons = reasons or {}
        self.stand_in = stand_in

    def at(self, place: str, kind: str, name: str | None = None) -> ContentPart:
        """Return what the model is given for a picture.

        Args:
            place: Path of the part of the body that is the picture.
            kind: Its `type`.
            name: Of its file, where one is known.

        Raises:
            UnsupportedFieldError: It is left out, and what has no effect is to be refused.
        """
        part = self._parts.get(place)
        if part is not None:
            return part
        reason = self._reasons.get(place)
        words = in_words(kind, place, name) if reason is None else in_words(kind, place, name, reason)
        return TextPart(words)


NO_IMAGES: Final = ReadImages({})


def joined(parts: Sequence[ContentPart]) -> str | list[ContentPart]:
    """Return a message's content: one text where there is no picture, else its parts, texts in a row as one."""
    merged: list[ContentPart] = []
    for part in parts:
        last = merged[-1] if merged else None
        if isinstance(part, TextPart) and isinstance(last, TextPart):
            merged[-1] = TextPart(f"{last.text}\n{part.text}")
        else:
            merged.append(part)
    match merged:
        case []:
            return ""
        case [TextPart(text=text)]:
            return text
    return merged


def parts_of(content: str | list[ContentPart] | None) -> list[ContentPart]:
    """Return a message's content as parts; an empty text is none."""
    if isinstance(content, list):
        return content
    return [TextPart(content)] if content else []


def text_prompt(content: str | list[ContentPart]) -> TextPrompt:
    """Return a raw prompt of texts and pictures, which stand at marks that nobody else can have written."""
    parts = parts_of(content)
    images = [part for part in parts if isinstance(part, ImagePart)]
    if not images:
        return TextPrompt(content if isinstance(content, str) else "")
    marker = f"<image {secrets.token_hex(16)}>"
    text = "\n".join(part.text if isinstance(part, TextPart) else marker for part in parts)
    return TextPrompt(text, images=images, image_marker=marker)
