"""What placement is shown: requests that wait, workers that have a model, and the limits in force.

Data and the questions that one record answers by itself. Not the decisions (`placement`), not who is served by which
worker (`dispatching`).
"""

import types
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from backends.wire.request import Priority
from router.models.targets import Target
from router.placement.lifecycle import WorkerState
from router.placement.sharing import EXCLUSIVE, Residency


class PlacementLimits(msgspec.Struct, frozen=True):
    """What the config says.

    Attributes:
        swap_max_wait_s: How long the resident target goes on being served while others wait.
        background_max_wait_s: A background request that has waited this long counts as urgent.
        num_workers: Workers that a resident target is to have, >= 1, where `num_workers_of` does not say.
        keep_alive_s: How long an idle model stays loaded, unless it or its last request says otherwise; None = forever.
        unload_idle_from: Memory is short: from then on an idle model goes, however long it was to stay, monotonic
            seconds; None = it is not.
        is_emergency: Memory is so short that the model has to go with its running answers, and none is loaded.
        holds_background: Background requests wait, whatever their age.
        holds_all: All requests wait, and nothing is loaded.
        shortage: Why, in words.
        residency: How many targets may be loaded at a time.
        num_workers_of: The same as `num_workers`, for single targets.
    """

    swap_max_wait_s: float
    swap_drain_timeout_s: float
    background_max_wait_s: float = 60.0
    num_workers: int = 1
    keep_alive_s: float | None = None
    unload_idle_from: float | None = None
    is_emergency: bool = False
    holds_background: bool = False
    holds_all: bool = False
    shortage: str = ""
    residency: Residency = EXCLUSIVE
    num_workers_of: Mapping[Target, int] = types.MappingProxyType({})


class WaitingRequest(msgspec.Struct, frozen=True):
    """One request in the queue.

    Attributes:
        num_sequences: Places in the batch it takes, >= 0.
        arrived_at: Monotonic seconds.
        session_id: The conversation it belongs to, or None.
        worker_id: The worker that is to serve it; None = whichever.
    """

    ticket_id: int
    target: Target
    num_sequences: int
    arrived_at: float
    priority: Priority = Priority.INTERACTIVE
    session_id: str | None = None
    worker_id: int | None = None

    def urgent_at(self, limits: PlacementLimits) -> float:
        """Return when it became or becomes urgent: interactive requests are from the start, background ones age."""
        is_interactive = self.priority is Priority.INTERACTIVE
        return self.arrived_at if is_interactive else self.arrived_at + limits.background_max_wait_s

    def is_urgent(self, limits: PlacementLimits, now: float) -> bool:
        """Tell whether it is interactive, or has waited so long that it counts as such."""
        return self.priority is Priority.INTERACTIVE or now >= self.urgent_at(limits)


class WorkerUse(msgspec.Struct, frozen=True):
    """What requests make of a worker.

    Attributes:
        num_interactive: Sequences of interactive requests it serves.
        num_background: Sequences of background requests it serves, those that it holds included.
        num_leases: Requests it serves, those without a sequence included.
        interactive_at: When it last took or gave back an interactive request, monotonic; None = never.
        used_at: When it last took or gave back any request, monotonic.
        keep_alive_s: What its last request or that one's model said of staying loaded when idle; None = nothing.
    """

    num_interactive: int = 0
    num_background: int = 0
    num_leases: int = 0
    interactive_at: float | None = None
    used_at: float = 0.0
    keep_alive_s: float | None = None

    @property
    def num_running(self) -> int:
        """Sequences it serves."""
        return self.num_interactive + self.num_background

    @property
    def is_idle(self) -> bool:
        """Whether no request has it, not even one that takes no place in the batch."""
        return not self.num_running and not self.num_leases

    def with_lease(self, priority: Priority, num_sequences: int, now: float, keep_alive_s: float | None) -> "WorkerUse":
        """Return the use after a lease was granted."""
        granted = self._changed(priority, num_sequences, 1, now)
        return replace(granted, keep_alive_s=keep_alive_s)

    def without_lease(self, priority: Priority, num_sequences: int, now: float) -> "WorkerUse":
        """Return the use after a lease came back."""
        return self._changed(priority, -num_sequences, -1, now)

    def _changed(self, priority: Priority, num_sequences: int, num_leases: int, now: float) -> "WorkerUse":
        changed = replace(self, num_leases=self.num_leases + num_leases, used_at=now)
        if priority is Priority.BACKGROUND:
            return replace(changed, num_background=self.num_background + num_sequences)
        return replace(changed, num_interactive=self.num_interactive + num_sequences, interactive_at=now)


class PlacedWorker(msgspec.Struct, frozen=True):
    """One worker that has, or is to have, a model.

    Attributes:
        state_since: Monotonic seconds.
        max_sequences: Places in its batch.
        is_unwanted: It is to go, whoever waits: by a command, or because it holds too much memory.
        held_bytes: What it counts for in a shared memory: what it holds by reading, or what was estimated where that is
            more, since its caches may still fill.
        is_pinned: Its model stays loaded, whoever else wants the memory.
        load_s: What its load took; 0 = not known.
    """

    worker_id: int
    target: Target
    state: WorkerState
    state_since: float
    max_sequences: int
    use: WorkerUse = WorkerUse()
    is_unwanted: bool = False
    held_bytes: int = 0
    is_pinned: bool = False
    load_s: float = 0.0
