"""The config's section about metrics and traces; part of `schema`."""

from typing import Annotated

import msgspec
from msgspec import Meta

CollectorURL = Annotated[
    str,
    Meta(pattern=r"^https?://[^\s]+$", max_length=2048, description="an address like http://127.0.0.1:4318"),
]


class TelemetryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the server tells of itself to others' tools.

    Attributes:
        metrics: Whether GET /metrics and /v1/metrics answer.
        otlp_endpoint: Where the spans of requests are sent by OTLP over HTTP, or None.
    """

    metrics: bool = True
    otlp_endpoint: CollectorURL | None = None
