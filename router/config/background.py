"""The config's sections about work beside requests, and what is kept of it; part of `schema`."""

from typing import Annotated

import msgspec
from msgspec import Meta

MAX_SECONDS = 86_400.0
"""Upper bound of every duration: one day."""

MAX_KEPT_S = 315_360_000.0
"""Longest time that anything is kept for: ten years."""

Seconds = Annotated[float, Meta(gt=0, le=MAX_SECONDS)]


class ConversationsConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of `/v1/responses` for `previous_response_id` and for looking answers up.

    Attributes:
        max_age_s: How long a conversation is kept after its last answer.
        max_bytes: Upper bound of what is kept; the conversations that are longest unused go first. 0 keeps nothing.
    """

    max_age_s: Annotated[float, Meta(gt=0, le=MAX_KEPT_S)] = 2_592_000.0
    max_bytes: Annotated[int, Meta(ge=0)] = 256 << 20


class ShadowConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Repeating requests on the other engine while nobody waits, to keep the figures fresh by which auto decides.

    Attributes:
        share: Share of the requests that are repeated, 0 to 1; 0 = none, and nothing of them is remembered.
        idle_s: How long no request must have come before one is repeated.
        max_per_hour: At most so many in an hour; each loads the other engine and then the first one again.
    """

    share: Annotated[float, Meta(ge=0, le=1)] = 0.0
    idle_s: Seconds = 60.0
    max_per_hour: Annotated[int, Meta(ge=1, le=1000)] = 4


class BatchesConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Files of requests that are answered as background work.

    Attributes:
        parallel: Lines of all batches that may run at a time.
        max_file_bytes: Largest file that is taken.
        max_bytes: Upper bound of all files together.
        max_age_s: How long files and batches are kept.
    """

    parallel: Annotated[int, Meta(ge=1, le=256)] = 8
    max_file_bytes: Annotated[int, Meta(ge=1)] = 200 << 20
    max_bytes: Annotated[int, Meta(ge=0)] = 4 << 30
    max_age_s: Annotated[float, Meta(gt=0, le=MAX_KEPT_S)] = 2_592_000.0
