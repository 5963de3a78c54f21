"""What the supervisor's inbox takes: one Struct per message, and nothing that decides."""

import asyncio
import dataclasses

from backends.wire.request import Priority
from router.status import Swap
from router.workers.residency import StopReport
from router.workers.waiting import Ticket


@dataclasses.dataclass(frozen=True, slots=True)
class Submit:
    """A request wants a worker."""

    ticket: Ticket


@dataclasses.dataclass(frozen=True, slots=True)
class Withdraw:
    """Its client went away."""

    ticket_id: int


@dataclasses.dataclass(frozen=True, slots=True)
class Release:
    """A lease came back."""

    worker_id: int
    priority: Priority
    num_sequences: int


@dataclasses.dataclass(frozen=True, slots=True)
class WorkerChanged:
    """A worker said hello, has loaded, or could not."""

    worker_id: int


@dataclasses.dataclass(frozen=True, slots=True)
class WorkerGone:
    """A worker process was reaped, and its memory looked for."""

    worker_id: int
    swap: Swap | None
    error: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class StopModel:
    """Unload a model."""

    model: str
    done: asyncio.Future[StopReport]


@dataclasses.dataclass(frozen=True, slots=True)
class SettingsChanged:
    """Settings of the config or the registry changed."""


@dataclasses.dataclass(frozen=True, slots=True)
class Close:
    """End everything."""


Message = Submit | Withdraw | Release | WorkerChanged | WorkerGone | StopModel | SettingsChanged | Close
