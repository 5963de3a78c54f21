"""The config's section about pictures in requests; part of `schema`."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Side = Annotated[int, Meta(ge=32, le=8192)]


class ImagesConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pictures in requests. They are only ever shrunk, by their longer side.

    Attributes:
        max_side_px: What a model is shown at most of a request that does not say otherwise, pixels; `auto` = by the
            machine's memory.
        high_side_px: What a request may ask for at most, pixels.
        max_per_request: Pictures in one request, those of earlier turns included.
        fetch: Whether pictures may be named by their address: `public` = in the public internet.
        model: Who answers a question with a picture where the model that was asked for cannot see, or None.
        in_history: What becomes of earlier pictures, also of tools, that cannot be shown: `words` stand in their place,
            or the request is refused.
    """

    max_side_px: Side | Literal["auto"] = "auto"
    high_side_px: Side = 1344
    max_per_request: Annotated[int, Meta(ge=1, le=256)] = 16
    fetch: Literal["off", "public"] = "off"
    model: Annotated[str, Meta(min_length=1, max_length=512)] | None = None
    in_history: Literal["words", "refuse"] = "words"
