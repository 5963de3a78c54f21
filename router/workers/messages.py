"""What the supervisor's inbox takes: one Struct per message, and nothing that decides."""

import asyncio
from typing import Final

import msgspec

from backends.wire.request import Priority
from router.status import Swap
from router.workers.memory_readings import MemoryReadings
from router.workers.residency import StopReport
from router.workers.waiting import Ticket

STOPPED_BY_COMMAND: Final = "stopped by command"


class Submit(msgspec.Struct, frozen=True):
    """A request wants a worker."""

    ticket: Ticket


class Checked(msgspec.Struct, frozen=True):
    """Its model is known to fit into memory."""

    ticket: Ticket


class Withdraw(msgspec.Struct, frozen=True):
    """Its client went away."""

    ticket_id: int


class Release(msgspec.Struct, frozen=True):
    """A lease came back."""

    worker_id: int
    priority: Priority
    num_sequences: int


class WorkerChanged(msgspec.Struct, frozen=True):
    """A worker said hello, has loaded, or could not."""

    worker_id: int


class WorkerGone(msgspec.Struct, frozen=True):
    """A worker process was reaped, and its memory looked for."""

    worker_id: int
    swap: Swap | None
    error: str | None


class WorkerMeasured(msgspec.Struct, frozen=True):
    """A worker's memory was read, in bytes, mapped files included."""

    worker_id: int
    memory_bytes: int


class MemoryRead(msgspec.Struct, frozen=True):
    """What the machine and the workers have was read; None = it could not be."""

    readings: MemoryReadings | None


class StopModel(msgspec.Struct, frozen=True):
    """Unload a model.

    Attributes:
        reason: Why, in words.
        is_cut: Whether its running answers are cut, instead of finishing.
        keeps_queue: Whether requests that wait for its load go on waiting, instead of failing.
    """

    model: str
    done: asyncio.Future[StopReport]
    reason: str = STOPPED_BY_COMMAND
    is_cut: bool = False
    keeps_queue: bool = False


class SettingsChanged(msgspec.Struct, frozen=True):
    """Settings of the config or the registry changed."""


class ConditionsChanged(msgspec.Struct, frozen=True):
    """Memory pressure or heat changed."""


class Close(msgspec.Struct, frozen=True):
    """End everything."""


Message = (
    Submit
    | Checked
    | Withdraw
    | Release
    | WorkerChanged
    | WorkerGone
    | WorkerMeasured
    | MemoryRead
    | StopModel
    | SettingsChanged
    | ConditionsChanged
    | Close
)
