"""The fields that only mlxr has, in the bodies of all protocols; a header that says the same goes before them."""

from typing import Annotated

import msgspec
from msgspec import Meta

from backends.wire.request import SpeculationMode
from registry.settings import ContextMode
from router.config.images import Side
from router.errors import UnsupportedFieldError
from router.http.headers import CONTEXT_HEADER
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


def wished_context(
    headers: RequestHeaders, fields: MlxrFields | None, own: ContextWish | None = None
) -> ContextWish | None:
    """Return what a request wants where its conversation fills the context.

    Args:
        own: By the protocol's own fields, which say more than these, and count where these do not contradict.
    """
    mode = headers.context
    if mode is None and fields is not None:
        mode = fields.context
    if mode is None or (own is not None and own.mode == mode):
        return own
    return ContextWish(mode=mode)


def refuse_winding(headers: RequestHeaders, fields: MlxrFields | None = None) -> None:
    """Refuse to summarise the older turns of what has none: texts, and inputs of embeddings.

    Raises:
        UnsupportedFieldError: That is what the request wants.
    """
    is_by_header = headers.context is not None
    mode = headers.context if is_by_header or fields is None else fields.context
    if mode == "wind":
        name = CONTEXT_HEADER if is_by_header else "mlxr.context"
        raise UnsupportedFieldError(
            f"{name}: only conversations have older turns that can be summarised; leave it out, or send error", name
        )
