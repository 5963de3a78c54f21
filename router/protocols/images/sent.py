"""A picture as it stands in a body, in the same words for all protocols, and how large a model is to be shown it."""

from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta

from router.config.images import Side
from router.errors import InvalidRequestError
from router.placement.vision_need import ImageSides

Detail = Literal["auto", "low", "high", "original"]

_DETAILS: Final = get_args(Detail)
LOW_SIDE_PX: Final = 192
"""What `detail: low` comes to."""


class MlxrFields(msgspec.Struct, forbid_unknown_fields=True):
    """What only mlxr has; `image_side_px` is the longer side, in pixels, that pictures are shrunk to."""

    image_side_px: Annotated[Side | None, Meta(description="Bounded by images.high_side_px of the config.")] = None


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


def wished_side(by_header: int | None, fields: MlxrFields | None) -> int | None:
    """Return how large all pictures of a request are to be seen; the header goes before the body."""
    return by_header if by_header is not None or fields is None else fields.image_side_px


def detail_of(value: object, path: str, *, is_asked: bool) -> Detail | None:
    """Return how finely a picture is to be seen; what nobody knows is refused in a question."""
    if value is None or value in _DETAILS:
        return value  # type: ignore[return-value]
    if is_asked:
        raise InvalidRequestError(f"{path}: {value!r:.40} is not known; send {', '.join(_DETAILS)}", path)
    return None
