"""What is told of a server as it happens: one Struct per kind, which server-sent events, lines and documents share.

`at` is seconds since 1970. Light on purpose: the command line imports it. Not here: who keeps and sends them (`log`),
and where they come from (`sources`).
"""

from typing import Literal

import msgspec

from router.status import ModelStatus, Swap
from router.status.contexts import WoundFacts
from router.status.memory import MemoryRelief
from router.status.upstreams import UpstreamStatus


class ModelChanged(ModelStatus, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="model"):
    """Another state of a model, or a step of its load."""


class Swapped(Swap, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="swap"):
    """A load or an unload, as measured."""


class Relieved(MemoryRelief, frozen=True, kw_only=True, tag_field="type", tag="relief"):
    """A worker gave back memory, because that was short."""


class PressureChanged(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="pressure"):
    """Memory has become shorter, or less short: `normal`, `warning`, `critical` or `emergency`."""

    at: float
    level: str
    reason: str


class HeatChanged(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="heat"):
    """The machine has become hotter, or cooler: `nominal`, `fair`, `serious` or `critical`."""

    at: float
    state: str
    reason: str


class SuspendedChanged(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="suspension"):
    """The machine is given up for a while, or work is taken up again."""

    at: float
    suspended: bool
    reason: str


class JobChanged(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="job"):
    """Long work has begun, gone on or ended.

    Attributes:
        job: `pull`, `conversion`, `verification`, `bench`, `batch` or `response` (in the background).
        id: What its own endpoints call it by.
        subject: What is pulled, converted or measured; a batch's endpoint, a response's model.
        state: `running` until the last event, which has how it ended.
        share: Of it that is done, 0..1, in steps of 0.05.
        message: What is wrong.
    """

    at: float
    job: str
    id: str
    subject: str | None = None
    state: Literal["running", "done", "failed", "stopped"]
    share: float | None = None
    message: str | None = None


class UpstreamChanged(UpstreamStatus, frozen=True, kw_only=True, tag_field="type", tag="upstream"):
    """An upstream is asked again, or is not: its state, without its models."""

    at: float


class ContextWound(
    WoundFacts, frozen=True, kw_only=True, forbid_unknown_fields=False, tag_field="type", tag="context_wound"
):
    """Older turns of a conversation were told again, so that it goes on within its context.

    Attributes:
        context: Its id, `ctx_…`.
    """

    at: float
    context: str
    model: str


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="snapshot"):
    """How everything stands now; the first event for those who have seen none, and the last of what is caught up.

    Attributes:
        models: Those that were asked for since the start.
        suspended: Why nothing is kept loaded; null = the server is not suspended.
    """

    at: float
    models: list[ModelStatus]
    pressure: str
    heat: str
    jobs: list[JobChanged]
    suspended: str | None = None


class Lost(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="lost"):
    """Events that can be told no more; it has no id.

    Attributes:
        after: The last event that was seen, as the client says.
        num_events: How many are missing; null = the server was started anew since, or never told such an event.
    """

    after: str
    num_events: int | None


LoggedEvent = (
    ModelChanged
    | Swapped
    | Relieved
    | PressureChanged
    | HeatChanged
    | SuspendedChanged
    | JobChanged
    | UpstreamChanged
    | ContextWound
)
AnyEvent = LoggedEvent | Snapshot | Lost
EVENT_TYPES = (
    ModelChanged,
    Swapped,
    Relieved,
    PressureChanged,
    HeatChanged,
    SuspendedChanged,
    JobChanged,
    UpstreamChanged,
    ContextWound,
    Snapshot,
    Lost,
)
