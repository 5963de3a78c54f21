"""A picture as it stands in a body, in the same words for all protocols, and how large a model is to be shown it."""

from typing import Final, Literal, get_args

import msgspec

from router.errors import InvalidRequestError
from router.placement.vision_need import ImageSides

Detail = Literal["auto", "low", "high", "original"]

_DETAILS: Final = get_args(Detail)
LOW_SIDE_PX: Final = 192
"""What `detail: low` comes to."""


class SentImage(msgspec.Struct, frozen=True, kw_only=True):
    """A picture as it stands in a body.

    Attributes:
        place: Path of the part of the body that is the picture.
        param: Path of the field that has its data, for errors.
        text: A data: URI, bare base64 or an address of the web; None = it has nothing of the kind.
        file_id: Of an uploaded file, or None.
        detail: None = it does not say.
        is_asked: Whether it belongs to the question, and not to what was said and done before.
    """

    place: str
    param: str
    text: str | None = None
    file_id: str | None = None
    detail: Detail | None = None
    is_asked: bool = True


def longest_side(image: SentImage, wish: int | None, sides: ImageSides) -> int | None:
    """Return the pixels of the longer side that a model is shown of a picture at most; None = what it takes.

    Args:
        wish: Of the request for all of its pictures, or None.
        sides: Those in force.
    """
    if wish is not None:
        return min(wish, sides.high)
    if image.detail in {"high", "original"}:
        return sides.high
    if image.detail == "low":
        return LOW_SIDE_PX if sides.usual is None else min(LOW_SIDE_PX, sides.usual)
    return sides.usual


def detail_of(value: object, path: str, *, is_asked: bool) -> Detail | None:
    """Return how finely a picture is to be seen; what nobody knows is refused in a question."""
    if value is None or value in _DETAILS:
        return value  # type: ignore[return-value]
    if is_asked:
        raise InvalidRequestError(f"{path}: {value!r:.40} is not known; send {', '.join(_DETAILS)}", path)
    return None
