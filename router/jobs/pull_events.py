"""A pull as its list shows it, over HTTP and on the command line."""

from typing import Final, Literal

import msgspec

from registry.engines import PullEngines
from registry.pull.plan import Wishes
from registry.store.pulls import PullRecord

PullState = Literal["queued", "running", "interrupted", "paused", "failed", "done", "cancelled"]

ENDED_STATES: Final = frozenset({"done", "cancelled"})
"""Nothing is left to go on with."""


class PullInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A pull in the list.

    Attributes:
        state: `interrupted`: the process that ran it is gone; resuming goes on with it.
        called: The other name that was wished for.
        total_bytes: Of all files; None before the hub was asked.
        bytes_per_s: Now; None unless this server runs it.
        eta_s: Seconds to go; None unless this server runs it.
        step: What is done after the transfer: a step of a conversion; None unless this server is at it.
        step_share: Of that step, 0..1; None when unknown.
        created_at: Seconds since 1970.
        updated_at: Seconds since 1970.
    """

    id: int
    reference: str
    state: PullState
    engine: PullEngines | None = None
    vision: bool = False
    name: str | None = None
    called: str | None = None
    total_bytes: int | None = None
    done_bytes: int = 0
    bytes_per_s: float | None = None
    eta_s: float | None = None
    step: str | None = None
    step_share: float | None = None
    error_code: str | None = None
    error: str | None = None
    created_at: float
    updated_at: float


class PullList(msgspec.Struct, frozen=True):
    """Body of GET /v1/mlxr/models/pulls, oldest first."""

    pulls: tuple[PullInfo, ...]


def info_of(record: PullRecord) -> PullInfo:
    """Give what is shown of a stored pull."""
    wishes = msgspec.json.decode(record.wishes, type=Wishes)
    return PullInfo(
        id=record.id,
        reference=record.reference,
        state=record.state,
        engine=wishes.engine,
        vision=wishes.vision,
        name=wishes.name,
        called=wishes.called,
        total_bytes=record.total_bytes,
        done_bytes=record.done_bytes,
        error_code=record.error_code,
        error=record.error,
        created_at=record.created_at,
        updated_at=record.updated_at,
    )
