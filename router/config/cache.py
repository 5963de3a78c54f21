"""The config's section about caches of sequences that have ended; part of `schema`."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from router.config.background import Seconds

Persistence = Annotated[bool | Literal["repeated"], Meta(description="repeated, true or false")]


class CacheConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of sequences that have ended, so that their beginnings need not be computed again.

    Attributes:
        slots: Sequences beyond `generation.parallel` whose cache a worker may keep; None = the engine's default.
        session_ttl_s: How long a conversation's cache is kept before others after its last use.
        checkpoint_bytes: What a worker's checkpoints may take, of models whose caches cannot be cut (windows, recurrent
            states); 0 = none are kept, None = by the machine's memory.
        persist: What is saved on disk: `repeated` = beginnings of over 2,000 tokens that came more than once, true =
            also all that is kept when a model is unloaded, false = nothing.
        max_bytes: Upper bound of what is saved; None = a tenth of the free disk, 8 GB at most.
    """

    slots: Annotated[int, Meta(ge=0, le=4096)] | None = None
    session_ttl_s: Seconds = 600.0
    checkpoint_bytes: Annotated[int, Meta(ge=0)] | None = None
    persist: Persistence = "repeated"
    max_bytes: Annotated[int, Meta(ge=0)] | None = None
