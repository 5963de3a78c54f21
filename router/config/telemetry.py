"""The config's section about metrics; part of `schema`."""

import msgspec


class TelemetryConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the server tells of itself to others' tools.

    Attributes:
        metrics: Whether GET /metrics and /v1/metrics answer.
    """

    metrics: bool = True
