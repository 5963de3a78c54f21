"""What placement is shown: requests that wait, workers that have a model, and the limits in force.

Data and the questions that one record answers by itself. Not the decisions (`placement`), not who is served by which
worker (`dispatching`).
"""

import dataclasses

from backends.sequence import Priority
from router.models.targets import Target
from router.placement.lifecycle import WorkerState


@dataclasses.dataclass(frozen=True, slots=True)
class PlacementLimits:
    """What the config says.

    Attributes:
        swap_max_wait_s: How long the resident target goes on being served while others wait.
        background_max_wait_s: A background request that has waited this long counts as urgent.
        num_workers: Workers that the resident target is to have, >= 1.
        keep_alive_s: How long an idle model stays loaded, unless it or its last request says otherwise; None = forever.
    """

    swap_max_wait_s: float
    swap_drain_timeout_s: float
    background_max_wait_s: float = 60.0
    num_workers: int = 1
    keep_alive_s: float | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class WaitingRequest:
    """One request in the queue.

    Attributes:
        num_sequences: Places in the batch it takes, >= 0.
        arrived_at: Monotonic seconds.
        session_id: The conversation it belongs to, or None.
    """

    ticket_id: int
    target: Target
    num_sequences: int
    arrived_at: float
    priority: Priority = Priority.INTERACTIVE
    session_id: str | None = None

    def urgent_at(self, limits: PlacementLimits) -> float:
        """Return when it became or becomes urgent: interactive requests are from the start, background ones age."""
        is_interactive = self.priority is Priority.INTERACTIVE
        return self.arrived_at if is_interactive else self.arrived_at + limits.background_max_wait_s

    def is_urgent(self, limits: PlacementLimits, now: float) -> bool:
        """Tell whether it is interactive, or has waited so long that it counts as such."""
        return self.priority is Priority.INTERACTIVE or now >= self.urgent_at(limits)


@dataclasses.dataclass(frozen=True, slots=True)
class PlacedWorker:
    """One worker that has, or is to have, a model.

    Attributes:
        num_background: Sequences of background requests it serves, those that it holds included.
        state_since: Monotonic seconds.
        is_unwanted: It is to go, whoever waits: by a command, or because it holds too much memory.
        interactive_at: When it last took or gave back an interactive request, monotonic; None = never.
        num_leases: Requests it serves, those without a sequence included.
        used_at: When it last took or gave back any request, monotonic.
        keep_alive_s: What its last request or that one's model said of staying loaded when idle; None = nothing.
    """

    worker_id: int
    target: Target
    state: WorkerState
    num_interactive: int
    num_background: int
    max_sequences: int
    state_since: float
    is_unwanted: bool = False
    interactive_at: float | None = None
    num_leases: int = 0
    used_at: float = 0.0
    keep_alive_s: float | None = None

    @property
    def num_running(self) -> int:
        """Sequences it serves."""
        return self.num_interactive + self.num_background
