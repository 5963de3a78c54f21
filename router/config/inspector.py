"""The config's section about keeping the last requests to look at; part of `schema`."""

from typing import Annotated

import msgspec
from msgspec import Meta


class InspectorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Whether the last requests are kept to look at them: in memory only, for their owners and administrators.

    Attributes:
        num_requests: How many are kept, as they came and as the model's template writes them; 0 = none.
        max_bytes: Of a request's body; of a longer one the beginning is kept, and its prompt is not written.
    """

    num_requests: Annotated[int, Meta(ge=0, le=100)] = 0
    max_bytes: Annotated[int, Meta(ge=1024, le=32 << 20)] = 1_048_576
