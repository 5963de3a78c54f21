"""The fields that only mlxr has, in the bodies of all protocols; a header that says the same goes before them."""

from typing import Annotated

import msgspec
from msgspec import Meta

from backends.wire.request import SpeculationMode
from registry.settings import ContextMode
from router.config.images import Side
from router.requests.context_wish import ContextWish
from router.requests.headers import RequestHeaders


class MlxrFields(msgspec.Struct, forbid_unknown_fields=True):
    """What only mlxr has.

    `image_side_px` is the longer side, in pixels, that pictures are shrunk to. `speculation` says whether tokens are
    drafted, which changes how fast an answer comes, and not the answer. `context` says what becomes of a conversation
    that fills the context.
    """

    image_side_px: Annotated[Side | None, Meta(description="Bounded by images.high_side_px of the config.")] = None
    speculation: SpeculationMode | None = None
    context: ContextMode | None = None


def wished_side(headers: RequestHeaders, fields: MlxrFields | None) -> int | None:
    """Return how large all pictures of a request are to be seen."""
    side = headers.image_side_px
    return side if side is not None or fields is None else fields.image_side_px


def wished_speculation(headers: RequestHeaders, fields: MlxrFields | None) -> SpeculationMode | None:
    """Return whether a request wants tokens to be drafted."""
    mode = headers.speculation
    return mode if mode is not None or fields is None else fields.speculation


def wished_context(headers: RequestHeaders, fields: MlxrFields | None) -> ContextWish | None:
    """Return what a request wants where its conversation fills the context."""
    mode = headers.context
    if mode is None and fields is not None:
        mode = fields.context
    return None if mode is None else ContextWish(mode=mode)
