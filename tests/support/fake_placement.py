"""A simulated fleet: performs what placement decides, in simulated time, and writes down what happened."""

import dataclasses
import math

from router.lifecycle import WorkerState, check_transition
from router.placement import (
    Dispatch,
    DrainWorker,
    Effect,
    KeepWorker,
    PlacedWorker,
    PlacementLimits,
    StartWorker,
    StopWorker,
    WaitingRequest,
    decide,
    next_deadline,
)
from router.targets import Target

MAX_EFFECT_ROUNDS = 100
"""Rounds of decisions at one moment; more would be a loop without end."""


@dataclasses.dataclass
class SimulatedRequest:
    """One request and its fate.

    Attributes:
        num_ahead: Requests that waited when it came.
        service_s: How long it runs.
        dispatched_at: When a worker took it.
        ended_at: When it was done, cut or withdrawn.
    """

    ticket_id: int
    target: Target
    num_sequences: int
    arrived_at: float
    num_ahead: int
    service_s: float
    dispatched_at: float | None = None
    ended_at: float | None = None
    fate: str | None = None

    def end(self, fate: str, now: float) -> None:
        assert self.fate is None, f"request {self.ticket_id} ended twice: {self.fate}, {fate}"
        self.fate, self.ended_at = fate, now


@dataclasses.dataclass
class SimulatedWorker:
    worker_id: int
    target: Target
    state_since: float
    state: WorkerState = WorkerState.LOADING
    running: list[SimulatedRequest] = dataclasses.field(default_factory=list)
    is_unwanted: bool = False

    @property
    def num_running(self) -> int:
        return sum(request.num_sequences for request in self.running)


class SimulatedFleet:
    """Time, a queue and at most one worker."""

    def __init__(
        self, *, limits: PlacementLimits, max_sequences: int = 4, load_s: float = 2.0, unload_s: float = 1.0
    ) -> None:
        self.limits = limits
        self.max_sequences = max_sequences
        self.load_s = load_s
        self.unload_s = unload_s
        self.now = 100.0
        self.requests: list[SimulatedRequest] = []
        self.waiting: list[SimulatedRequest] = []
        self.worker: SimulatedWorker | None = None
        self.loads: list[Target] = []
        self.num_lost_loads = 0

    # ---- what happens from outside ----------------------------------------------------------------------------------

    def submit(self, target: Target, *, num_sequences: int = 1, service_s: float = 1.0) -> SimulatedRequest:
        request = SimulatedRequest(len(self.requests), target, num_sequences, self.now, len(self.waiting), service_s)
        self.requests.append(request)
        self.waiting.append(request)
        self.settle()
        return request

    def withdraw(self, request: SimulatedRequest) -> None:
        if request in self.waiting:
            self.waiting.remove(request)
        elif self.worker is not None and request in self.worker.running:
            self.worker.running.remove(request)
        else:
            return
        request.end("withdrawn", self.now)
        self.num_lost_loads += 1
        self.settle()

    def crash(self) -> None:
        if self.worker is not None:
            self._end_worker("crashed")
            self.num_lost_loads += 1
            self.settle()

    def want_gone(self) -> None:
        if self.worker is not None:
            self.worker.is_unwanted = True
            self.num_lost_loads += 1
            self.settle()

    def advance(self, duration_s: float) -> None:
        """Let time pass, from one moment at which something happens to the next."""
        end = self.now + duration_s
        self.settle()
        while (moment := self._next_moment()) is not None and moment <= end:
            self.now = max(self.now, moment)
            self._let_time_act()
            self.settle()
        if math.isfinite(end):
            self.now = end

    def run_out(self) -> None:
        """Let time pass until nothing more happens."""
        self.advance(math.inf)

    # ---- what the supervisor would do -------------------------------------------------------------------------------

    def settle(self) -> None:
        for _ in range(MAX_EFFECT_ROUNDS):
            effects = decide(self._as_waiting(), self._as_placed(), self.limits, self.now)
            if not effects:
                return
            for effect in effects:
                self._perform(effect)
        raise AssertionError(f"no end of decisions at {self.now}")

    def _perform(self, effect: Effect) -> None:
        match effect:
            case Dispatch(ticket_id=ticket_id):
                self._dispatch(self.requests[ticket_id])
            case StartWorker(target=target):
                assert self.worker is None, "two workers with a model"
                self.worker = SimulatedWorker(len(self.loads), target, self.now)
                self.loads.append(target)
            case DrainWorker():
                self._set_state(WorkerState.DRAINING)
            case KeepWorker():
                self._set_state(WorkerState.READY)
            case StopWorker():
                self._set_state(WorkerState.STOPPING)
                for request in self._the_worker.running:
                    request.end("cut", self.now)
                self._the_worker.running.clear()

    def _dispatch(self, request: SimulatedRequest) -> None:
        worker = self._the_worker
        assert worker.state is WorkerState.READY
        assert worker.target == request.target
        older = [other for other in self.waiting if other.target == request.target]
        assert older[0] is request, "first come, first served"
        self.waiting.remove(request)
        worker.running.append(request)
        assert worker.num_running <= self.max_sequences or len(worker.running) == 1, "more than the batch holds"
        request.dispatched_at = self.now

    def _set_state(self, state: WorkerState) -> None:
        self._the_worker.state = check_transition(self._the_worker.state, state)
        self._the_worker.state_since = self.now

    @property
    def _the_worker(self) -> SimulatedWorker:
        assert self.worker is not None
        return self.worker

    # ---- time -------------------------------------------------------------------------------------------------------

    def _next_moment(self) -> float | None:
        moments = [next_deadline(self._as_waiting(), self._as_placed(), self.limits, self.now)]
        if self.worker is not None:
            moments += [self._done_at(request) for request in self.worker.running]
            if self.worker.state is WorkerState.LOADING:
                moments.append(self.worker.state_since + self.load_s)
            if self.worker.state is WorkerState.STOPPING:
                moments.append(self.worker.state_since + self.unload_s)
        return min((moment for moment in moments if moment is not None), default=None)

    def _let_time_act(self) -> None:
        worker = self.worker
        if worker is None:
            return
        for request in [request for request in worker.running if self._done_at(request) <= self.now]:
            worker.running.remove(request)
            request.end("served", self.now)
        if worker.state is WorkerState.LOADING and self.now >= worker.state_since + self.load_s:
            self._set_state(WorkerState.READY)
        elif worker.state is WorkerState.STOPPING and self.now >= worker.state_since + self.unload_s:
            self._end_worker("stopped")

    def _end_worker(self, fate: str) -> None:
        for request in self._the_worker.running:
            request.end(fate, self.now)
        self.worker = None

    @staticmethod
    def _done_at(request: SimulatedRequest) -> float:
        assert request.dispatched_at is not None
        return request.dispatched_at + request.service_s

    # ---- as placement sees it ---------------------------------------------------------------------------------------

    def _as_waiting(self) -> list[WaitingRequest]:
        return [
            WaitingRequest(request.ticket_id, request.target, request.num_sequences, request.arrived_at)
            for request in self.waiting
        ]

    def _as_placed(self) -> list[PlacedWorker]:
        worker = self.worker
        if worker is None:
            return []
        return [
            PlacedWorker(
                worker.worker_id,
                worker.target,
                worker.state,
                worker.num_running,
                self.max_sequences,
                worker.state_since,
                worker.is_unwanted,
            )
        ]
