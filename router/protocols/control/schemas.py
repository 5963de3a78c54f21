"""Requests of mlxr's own endpoints; what the gateway tells of itself is in `router.status`."""

from typing import Annotated

import msgspec
from msgspec import Meta


class StopRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of POST /v1/mlxr/models/stop."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
